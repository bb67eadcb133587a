"""What a person waits for who asks a journal in SQLite of 1,000 sessions and one of 5,000 steps: whole commands.

    python tests/benchmarks/bench_show.py                  5,000 steps, 1,000 sessions
    python tests/benchmarks/bench_show.py --steps 100000   more, not judged
    python tests/benchmarks/bench_show.py --json FILE      figures for machines as well

Nodes below one agent, a model call and a tool in each; the other sessions have four steps. Seconds are what a person
waits for, the interpreter's own start among them (`nothing`); CPU seconds stand beside them, and are judged: on a busy
machine seconds say how busy it is. Exit code 5 if a command takes longer than its bound at best.
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

STEPS = 5_000
SESSIONS = 1_000
TURNS = 5
BOUNDS_S = {"ls": 0.3, "tree for people": 0.7, "tree as rows": 0.7, "one step": 0.3, "status": 0.3}
PROGRAM = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()"]
COMMANDS = {
    "nothing": ("--version",),
    "ls": ("ls", "-o", "table"),
    "tree for people": ("show", "s1", "-o", "table"),
    "tree as rows": ("show", "s1", "-o", "jsonl"),
    "errors": ("show", "s1", "--errors", "-o", "table"),
    "slowest": ("show", "s1", "--slowest", "10", "-o", "table"),
    "conversation": ("show", "s1", "--messages", "-o", "table"),
    "events": ("show", "s1", "--events", "-o", "jsonl"),
    "one step": ("show", "few-7/3", "-o", "table"),
    "one of many": ("show", "s1/4000", "-o", "table"),
    "status": ("status", "few-7", "-o", "table"),
}


def filled(path: Path, steps: int, sessions: int) -> str:
    """Return the store of a session of so many steps, in each node a model call and a tool, and of small ones."""
    store = SqliteStore(path, synchronous="normal")
    for number in range(sessions - 1):
        kept(store, a_session(JournalBuilder(f"few-{number}"), 5))
    kept(store, a_session(JournalBuilder(), steps))
    store.close()
    return url_of(path)


def a_session(journal: JournalBuilder, steps: int) -> JournalBuilder:
    """Return a session of so many steps."""
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
    return journal


def kept(store: SqliteStore, journal: JournalBuilder) -> None:
    """Keep a session as the drain would."""
    store.append(journal.events)
    head = current(store, journal.session_id)
    assert head is not None
    assert store.write_head(head) is not None


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
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="show-") as folder:
        store = filled(Path(folder, "journal.db"), options.steps, options.sessions)
        turns = [{name: taken(command, store) for name, command in COMMANDS.items()} for _ in range(TURNS)]
    figures: dict[str, dict[str, float]] = {}
    for name in COMMANDS:
        seconds, cpu = zip(*(one[name] for one in turns), strict=True)
        figures[name] = {"least": min(seconds), "median": median(seconds), "cpu": min(cpu)}
    judged = options.steps <= STEPS and options.sessions <= SESSIONS
    held = {name: figures[name]["cpu"] <= bound for name, bound in BOUNDS_S.items()} if judged else {}
    passed = all(held.values())
    if options.json:
        shape = {"steps": options.steps, "sessions": options.sessions}
        write_json(options.json, {**shape, "seconds": figures, "passed": passed})
    table = Table(f"{options.sessions:,} sessions in SQLite, one of {options.steps:,} steps, {TURNS} turns")
    table.columns("command", "least s", "median s", "CPU s", "bound s", "")
    for name, said in figures.items():
        bound = f"{BOUNDS_S[name]:.1f}" if name in held else ""
        spent = (f"{said[of]:.2f}" for of in ("least", "median", "cpu"))
        table.row(name, *spent, bound, Table.verdict(held.get(name)))
    table.print()
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
