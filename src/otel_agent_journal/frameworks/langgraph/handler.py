"""The callback handler of this package: LangChain's runs become steps.

Runs inline and sync in LangChain's callback managers, sync and async, so that a step's START is durable before its
code runs. One a process; every `on_*` method is called by LangChain and none raises.
"""

from otel_agent_journal.frameworks.langgraph.chains import ChainSteps
from otel_agent_journal.frameworks.langgraph.models import ModelSteps
from otel_agent_journal.frameworks.langgraph.tools import ToolSteps


class GraphSteps(ChainSteps, ModelSteps, ToolSteps):
    """Every callback; the instrumentor makes LangChain's own kind of handler of it once that is imported."""
