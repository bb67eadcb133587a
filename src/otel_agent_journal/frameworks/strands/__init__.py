"""Strands Agents, untouched: a step for every agent, graph, swarm, node, model call and tool."""

from otel_agent_journal.frameworks.strands.instrumentor import StrandsInstrumentor

__all__ = ["StrandsInstrumentor"]
