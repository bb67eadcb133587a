"""A session of 10,000 steps replayed: CPU of the whole and of serving a step, and that both are linear.

    python tests/benchmarks/bench_replay.py                 10,000 steps by hand and of LangGraph, beside 1,000
    python tests/benchmarks/bench_replay.py --steps 5000    fewer
    python tests/benchmarks/bench_replay.py --json FILE     figures for machines as well

The sessions are recorded first. The whole is all that a replay does: the recording is read of SQLite, each call is
looked for, served and journaled, the replay's journal is delivered and read back, the report is made. Serving is what
the program waits for beyond what it waits for as it is recorded. CPU is counted and not the clock: a busy machine
says the same. Exit code 5 if 10,000 steps take more than 10 s, if serving a step takes more than 1 ms, or if ten
times the steps take more than 13 times as long.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from report import Table, write_json

from otel_agent_journal import configure, flush, replay, session, shutdown

BOUND_WHOLE_S: Final = 10.0  # of 10,000 steps
BOUND_STEP_MS: Final = 1.0
BOUND_GROWTH: Final = 13.0  # of ten times the steps

LOOPS: Final = 4  # of an agent: a model and a tool, each in its node
STEPS_OF_AGENT: Final = 4 * LOOPS + 3

Program = Callable[[str, int], None]


class Took(NamedTuple):
    """CPU seconds: of the program as it is recorded, of the program in a replay, of the whole replay."""

    steps: int
    recorded: float
    served: float
    whole: float

    @property
    def served_ms(self) -> float:
        """What serving adds to a step."""
        return (self.served - self.recorded) / self.steps * 1000


def by_hand(name: str, steps: int) -> None:
    """A loop that asks a model and a tool in turn."""
    with session(name) as turn:
        for number in range(steps):
            kind, what = ("tool", "search") if number % 2 else ("model", "claude")
            with turn.step(kind, what, input={"text": f"question {number}", "n": number}) as step:
                step.served(lambda one: f"answer {one} " * 10, number)


def langgraph(name: str, steps: int) -> None:
    """An agent of LangGraph that is asked again and again: a model and a tool in turn, each in its node."""
    from langchain.agents import create_agent
    from langchain_core.tools import tool

    from otel_agent_journal.testing.scripted import ScriptedModel, reply

    @tool
    def search(query: str) -> str:
        """Look something up."""
        return f"found {query}"

    script = [reply("", calls=[("search", {"query": f"q{n}"})], call_ids=[str(n)]) for n in range(LOOPS)]
    agent: Any = create_agent(ScriptedModel(script=[*script, reply("done")], by_turn=True), [search])
    for number in range(max(1, steps // STEPS_OF_AGENT)):
        agent.invoke({"messages": [("user", f"question {number}")]}, {"configurable": {"thread_id": name}})


def measured(program: Program, steps: int) -> Took:
    """Return what a session of so many steps takes to record and to replay."""
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        configure(store=f"sqlite:///{folder}/journal.db", spool=Path(folder) / "spool")
        program("warm", 8)  # what is imported, is imported before
        began = time.thread_time()
        program("bench", steps)
        recorded = time.thread_time() - began
        if not flush(120):
            raise RuntimeError("the recording was not delivered")
        began = time.process_time()
        with replay("bench") as replayed:
            inner = time.thread_time()
            program("bench", steps)
            served = time.thread_time() - inner
            report = replayed.report
        whole = time.process_time() - began
        shutdown()
    if report.live or report.divergences:
        raise RuntimeError(f"{report.live} live, {report.counts}")
    return Took(len(report.steps), recorded, served, whole)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="1,000 steps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    steps = 1_000 if options.quick else options.steps
    few, many = measured(by_hand, steps // 10), measured(by_hand, steps)
    few_nodes, nodes = measured(langgraph, steps // 10), measured(langgraph, steps)
    growth = max(many.whole / few.whole, nodes.whole / few_nodes.whole)
    passed = many.whole * 10_000 / many.steps <= BOUND_WHOLE_S and growth <= BOUND_GROWTH
    passed = passed and all(one.served_ms <= BOUND_STEP_MS for one in (few, many, few_nodes, nodes))
    if options.json:
        named = {"by_hand_few": few, "by_hand": many, "langgraph_few": few_nodes, "langgraph": nodes}
        write_json(
            options.json,
            {name: one._asdict() | {"served_ms": one.served_ms} for name, one in named.items()}
            | {"growth": growth, "passed": passed},
        )
    table = Table("CPU of a replay, beside that of the same program as it is recorded")
    table.columns("program", "steps", "recorded", "replayed", "the whole replay", "more than recorded, a step")
    programs = ("by hand", few), ("by hand", many), ("agents of LangGraph", few_nodes), ("agents of LangGraph", nodes)
    for name, one in programs:
        times = (f"{one.recorded:.2f} s", f"{one.served:.2f} s", f"{one.whole:.2f} s", f"{one.served_ms:.2f} ms")
        table.row(name, f"{one.steps:,}", *times)
    table.print()
    print(f"ten times the steps take at most {growth:.1f} times as long")
    print("passed" if passed else "FAILED")
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
