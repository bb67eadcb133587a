"""The callback handler of this package: LangChain's runs become steps.

Runs inline and sync in LangChain's callback managers, sync and async, so that a step's START is durable before its
code runs. One a process; every `on_*` method is called by LangChain and none raises.
"""

from __future__ import annotations

import sys
from typing import Any, Self

from otel_agent_journal.frameworks.langgraph.chains import ChainSteps
from otel_agent_journal.frameworks.langgraph.models import ModelSteps
from otel_agent_journal.frameworks.langgraph.tools import ToolSteps


class GraphSteps(ChainSteps, ModelSteps, ToolSteps):
    """Every callback; the instrumentor makes LangChain's own kind of handler of it once that is imported.

    It sits in the program's configurations, which are copied and pickled: a copy has the same handler, and what is
    unpickled, here or where we are not installed, one of LangChain's that does nothing.
    """

    def __copy__(self) -> Self:
        """Return itself: there is one a process."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself: there is one a process."""
        return self

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Leave no trace of this process in a pickle."""
        return sys.modules["langchain_core.callbacks.base"].BaseCallbackHandler, ()
