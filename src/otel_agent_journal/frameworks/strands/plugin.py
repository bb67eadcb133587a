"""The plugin: journals the agents, graphs and swarms that are given it, where not every one shall be journaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strands.plugins import MultiAgentPlugin, Plugin

from otel_agent_journal.frameworks.strands.instrumentor import StrandsInstrumentor

if TYPE_CHECKING:
    from strands import Agent
    from strands.multiagent import MultiAgentBase


class JournalPlugin(Plugin, MultiAgentPlugin):
    """Journals one agent, graph or swarm: `Agent(plugins=[JournalPlugin()])`, after `configure(instrument=False)`.

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

    def init_multi_agent(self, orchestrator: MultiAgentBase) -> None:
        """Give the graph or swarm our hooks. Called by Strands."""
        instrumentor = StrandsInstrumentor()
        instrumentor.watch()
        instrumentor.hook_multi_agent(orchestrator)
