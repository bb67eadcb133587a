"""A graph that asks before it goes on, its thread kept in the journal."""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from otel_agent_journal import JournalSaver


class Booking(TypedDict, total=False):
    """What the graph works on."""

    to: str
    agreed: str


def ask(state: Booking) -> Any:
    """Ask, and go on with what was answered."""
    return {"agreed": interrupt(f"Book a seat to {state['to']}?")}


def built() -> Any:
    """Return the graph."""
    graph = StateGraph(Booking)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph.compile(checkpointer=JournalSaver())


booking = built()
