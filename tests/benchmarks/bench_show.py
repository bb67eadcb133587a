"""`agent-journal show` of a large session in SQLite as a whole command: for people, for programs, and one step of it.

    python tests/benchmarks/bench_show.py                 20,000 steps
    python tests/benchmarks/bench_show.py --steps 100000  more
    python tests/benchmarks/bench_show.py --json FILE     figures for machines as well

Nodes below one agent, a model call and a tool in each. Seconds are what a person waits for, the interpreter's own start
among them (`nothing`); CPU seconds stand beside them, which on a busy machine say more. Exit code 5 if the waterfall or
the rows take more than a second at best.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from report import Table, write_json

from otel_agent_journal.event import Usage
from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite import SqliteStore, url_of
from otel_agent_journal.testing.builders import JournalBuilder

STEPS = 20_000
TURNS = 5
BOUND_S = 1.0
JUDGED = ("tree for people", "tree as rows")
PROGRAM = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()"]
COMMANDS = {
    "nothing": ("--version",),
    "tree for people": ("show", "s1", "-o", "table"),
    "tree as rows": ("show", "s1", "-o", "jsonl"),
    "events": ("show", "s1", "--events", "-o", "jsonl"),
    "one step": ("show", "s1/last"),
    "status": ("status", "s1"),
}


def filled(path: Path, steps: int) -> str:
    """Return the store of a session of so many steps: in each node a model call and a tool."""
    store, journal = SqliteStore(path, synchronous="normal"), JournalBuilder()
    root = journal.start("AGENT", "helper", details={"input": "what is new?"})
    for _ in range((steps - 2) // 3):
        node = journal.start("NODE", "work", parent=root)
        call = journal.start("MODEL", "scripted", parent=node, details={"messages": [{"role": "user", "content": "?"}]})
        journal.end(call, usage=Usage(input_tokens=1000, output_tokens=20), details={"output": "let me look"})
        tool = journal.start("TOOL", "search", parent=node, details={"input": {"query": "news", "pages": 3}})
        journal.end(tool, details={"output": {"role": "tool", "content": "three pages", "tool_call_id": "c1"}})
        journal.end(node)
    journal.end(journal.start("TOOL", "last", parent=root))
    journal.end(root, details={"output": "nothing"})
    store.append(journal.events)
    head = current(store, "s1")
    assert head is not None
    assert store.write_head(head) is not None
    store.close()
    return url_of(path)


def taken(command: tuple[str, ...], store: str) -> tuple[float, float]:
    """Return the seconds that a command takes, and those of CPU."""
    environ = {**os.environ, "AGENT_JOURNAL_STORE": store}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*PROGRAM, *command], stdout=subprocess.DEVNULL, env=environ, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="show-") as folder:
        store = filled(Path(folder, "journal.db"), options.steps)
        turns = [{name: taken(command, store) for name, command in COMMANDS.items()} for _ in range(TURNS)]
    figures: dict[str, dict[str, float]] = {}
    for name in COMMANDS:
        seconds, cpu = zip(*(one[name] for one in turns), strict=True)
        figures[name] = {"least": min(seconds), "median": median(seconds), "cpu": min(cpu)}
    passed = all(figures[name]["least"] <= BOUND_S for name in JUDGED)
    if options.json:
        write_json(options.json, {"steps": options.steps, "seconds": figures, "passed": passed})
    table = Table(f"`show` of {options.steps:,} steps in SQLite, a whole command, {TURNS} turns")
    table.columns("command", "least s", "median s", "CPU s", "")
    for name, said in figures.items():
        verdict = Table.verdict(said["least"] <= BOUND_S if name in JUDGED else None)
        table.row(name, f"{said['least']:.2f}", f"{said['median']:.2f}", f"{said['cpu']:.2f}", verdict)
    table.print()
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
