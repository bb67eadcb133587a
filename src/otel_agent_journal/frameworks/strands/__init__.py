"""Strands Agents, untouched: a step for every agent, graph, swarm, node, model call and tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_agent_journal.frameworks.strands.instrumentor import StrandsInstrumentor

if TYPE_CHECKING:
    from otel_agent_journal.frameworks.strands.plugin import JournalPlugin

__all__ = ["JournalPlugin", "StrandsInstrumentor"]


def __getattr__(name: str) -> Any:
    """Import the plugin when it is asked for: it needs Strands, the instrumentor does not."""
    if name == "JournalPlugin":
        from otel_agent_journal.frameworks.strands.plugin import JournalPlugin

        return JournalPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
