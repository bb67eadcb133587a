"""The plugin: journals the agents that are given it, where not every agent of the program shall be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strands.plugins import Plugin

from otel_agent_journal.frameworks.strands.instrumentor import StrandsInstrumentor

if TYPE_CHECKING:
    from strands import Agent


class JournalPlugin(Plugin):
    """Journals one agent: `Agent(plugins=[JournalPlugin()])`, after `otel_agent_journal.configure(instrument=False)`.

    The same as the automatic instrumentation does for every agent; where both are active it changes nothing.
    """

    @property
    def name(self) -> str:
        """What Strands knows the plugin by."""
        return "agent-journal"

    def init_agent(self, agent: Agent) -> None:
        """Give the agent our hooks and middleware. Called by Strands."""
        instrumentor = StrandsInstrumentor()
        instrumentor.watch()
        instrumentor.hook_agent(agent)
