"""LangGraph, untouched: a step for every graph, node, model call, tool and retriever."""

from otel_agent_journal.frameworks.langgraph.instrumentor import LangGraphInstrumentor

__all__ = ["LangGraphInstrumentor"]
