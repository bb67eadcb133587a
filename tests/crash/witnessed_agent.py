"""A LangGraph agent that never stops, and tells on a pipe which events were durable before it went on.

Run as `witnessed_agent.py PIPE_FD [configure]`. Each line on the pipe is the id of an event whose append has returned.
"""

from __future__ import annotations

import operator
import os
import signal
import sys
from typing import Annotated, Any, TypedDict

import otel_agent_journal
from otel_agent_journal.mapping.facts import decode_fact, events_of
from otel_agent_journal.pipeline.current import get_recorder

if "configure" in sys.argv:
    otel_agent_journal.configure()

from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Send


class State(TypedDict):
    """What the agent has found."""

    found: Annotated[list[str], operator.add]


@tool
def search(query: str) -> str:
    """Search."""
    return f"about {query}"


def fan_out(state: State) -> list[Send]:
    """Send three searches out at once."""
    return [Send("search", {"found": [str(number)]}) for number in range(3)]


def run_search(state: State) -> dict[str, Any]:
    """Search for one thing."""
    return {"found": [search.invoke({"query": state["found"][-1]})]}


def graph() -> Any:
    """Return a graph of plain nodes, a fan-out and a subgraph."""
    inner = StateGraph(State)
    inner.add_node("summarize", lambda state: {"found": ["sum"]})
    inner.add_edge(START, "summarize")
    outer = StateGraph(State)
    outer.add_node("plan", lambda state: {"found": ["plan"]})
    outer.add_node("search", run_search)
    outer.add_node("report", inner.compile(name="reporter"))
    outer.add_edge(START, "plan")
    outer.add_conditional_edges("plan", fan_out, ["search"])
    outer.add_edge("search", "report")
    return outer.compile(name="witnessed")


def witness(pipe: int) -> None:
    """Tell of every append that returned."""
    recorder = get_recorder()
    if recorder is None:
        sys.exit("no recorder: run me under agent-journal run, or with configure")
    append = recorder.appender.append

    def told(payload: bytes) -> bool:
        events = events_of(decode_fact(payload), recorder.appender.writer)
        kept = append(payload)
        if kept and events:
            os.write(pipe, b"".join(f"{event.event_id}\n".encode() for event in events))
        return kept

    recorder._append = told


def main() -> None:
    """Run until killed, at the latest after ten minutes."""
    signal.alarm(600)
    pipe = int(sys.argv[1])
    agent = graph()
    witness(pipe)
    os.write(pipe, b"ready\n")
    turn = 0
    while True:
        turn += 1
        for _ in agent.stream({"found": []}, {"configurable": {"thread_id": f"thread-{turn // 5}"}}):
            pass


if __name__ == "__main__":
    main()
