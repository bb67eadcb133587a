"""An agent that works for long and prints its memory: hand-written steps, or LangGraph with a scripted model.

Its arguments: the door (`run` or `configure`), the kind of agent (`recorder` or `langgraph`), how many sessions (`one`
or `many`), and how many steps. At tenths of the way it waits until what it recorded is delivered, then prints the
private memory of itself and, under `run`, of the parent that drains, with what the spool takes of the disk.
"""

from __future__ import annotations

import gc
import json
import operator
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, TypedDict

import otel_agent_journal
from otel_agent_journal import session


class State(TypedDict):
    """The state of the graph."""

    notes: Annotated[list[str], operator.add]


STEPS_OF_A_SESSION = 50
SPOOL = Path("spool")


def private_bytes(pid: int) -> int:
    """Return the memory of a process that no file stands behind."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this kernel does not tell RssAnon")


def by_hand(sessions: str) -> Iterator[int]:
    """Work in blocks and steps; one session is one root that stays open all the time."""
    number = 0

    def some() -> int:
        with root.step("tool", "search", input={"query": f"paper {number}"}) as step:
            step.progress("half of it")
            with root.step("model", "m1", input="what next?") as inner:
                inner.complete("the next paper" * 10)
            step.complete({"found": [number] * 10})
        return 2

    if sessions == "one":
        with session("one", agent="worker") as root:
            while True:
                number += 1
                yield some()
    while True:
        number += 1
        with session(f"s{number}", agent="worker") as root:
            yield 1 + sum(some() for _ in range(STEPS_OF_A_SESSION // 2))


def by_graph(sessions: str) -> Iterator[int]:
    """Invoke a graph of nodes, one of which asks a model, one of which fails now and then."""
    from langchain_core.messages import HumanMessage
    from langgraph.graph import START, StateGraph

    from otel_agent_journal.testing.scripted import ScriptedModel, reply

    count = [0]
    model = ScriptedModel(script=[lambda messages: reply(f"answer {count[0]}", input_tokens=5, output_tokens=3)])

    def ask(state: State) -> dict[str, list[str]]:
        return {"notes": [model.invoke([HumanMessage(f"question {count[0]}")]).content]}

    def fail(state: State) -> dict[str, list[str]]:
        if count[0] % 10 == 0:
            raise ValueError("now and then")
        return {"notes": []}

    graph = StateGraph(State)
    graph.add_node("fail", fail)
    graph.add_edge(START, "fail")
    previous = "fail"
    for name in (f"node{i}" for i in range(8)):
        graph.add_node(name, ask if name == "node4" else lambda state: {"notes": ["a note"]})
        graph.add_edge(previous, name)
        previous = name
    agent = graph.compile(name="worker")
    while True:
        count[0] += 1
        thread = "one" if sessions == "one" else f"s{count[0]}"
        try:
            agent.invoke({"notes": []}, {"configurable": {"thread_id": thread}})
            yield 11
        except ValueError:
            yield 2


def delivered(door: str) -> None:
    """Wait until everything recorded so far is in the store."""
    if door == "configure":
        assert otel_agent_journal.flush(300)
        return
    from otel_agent_journal.spool.survey import pending_bytes

    deadline = time.monotonic() + 300
    while pending_bytes(SPOOL) > 0:
        assert time.monotonic() < deadline, "the parent does not keep up"
        time.sleep(0.2)


def main(door: str, kind: str, sessions: str, steps: int) -> None:
    """Work and print."""
    if door == "configure":
        otel_agent_journal.configure()
    work: Callable[[str], Iterator[int]] = by_hand if kind == "recorder" else by_graph
    done = printed = 0
    for some in work(sessions):
        done += some
        if done - printed >= steps / 10:
            printed = done
            delivered(door)
            gc.collect()
            drain = private_bytes(os.getppid()) if door == "run" else 0
            spool = sum(file.stat().st_size for file in SPOOL.rglob("*") if file.is_file())
            print(json.dumps({"steps": done, "agent": private_bytes(os.getpid()), "drain": drain, "spool": spool}))
            sys.stdout.flush()
        if done >= steps:
            break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
