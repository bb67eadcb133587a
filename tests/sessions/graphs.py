"""Graphs that the tests of LangGraph's clients run, each in a process of its own: this module is imported there."""

from __future__ import annotations

import operator
import time
from typing import Annotated, Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

BULK = 1_500_000


class Talk(MessagesState, total=False):
    """What the graphs work on."""

    notes: Annotated[list[str], operator.add]
    agreed: str


def answer(state: Talk) -> Any:
    """Say something through the graph's own stream, and answer word by word."""
    get_stream_writer()({"thinking": len(state["messages"])})
    model = GenericFakeChatModel(messages=iter([AIMessage("The seat is free.")]))
    return {"messages": [model.invoke(state["messages"])], "notes": ["answered"]}


def ask(_state: Talk) -> Any:
    """Ask, and go on with what was answered."""
    return {"agreed": interrupt("Book it?"), "notes": ["asked"]}


def slow(_state: Talk) -> Any:
    """Take its time."""
    time.sleep(60)
    return {"notes": ["slept"]}


def bulky(_state: Talk) -> Any:
    """Stream a part and keep a note, each of 1.5 MB and of no message."""
    get_stream_writer()({"page": "x" * BULK})
    return {"notes": ["y" * BULK]}


def fail(_state: Talk) -> Any:
    """Raise."""
    raise ValueError("the seat is broken")


def built(*nodes: Any) -> Any:
    """Return a graph of nodes one after the other."""
    graph = StateGraph(Talk)
    names = [node.__name__ for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for one, other in zip((START, *names), (*names, END), strict=True):
        graph.add_edge(one, other)
    return graph.compile()


chat = built(answer)
booking = built(answer, ask)
sleeper = built(slow)
broken = built(answer, fail)
large = built(bulky, answer)
