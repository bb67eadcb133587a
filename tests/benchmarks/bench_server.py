"""What the server's fold costs: an event that arrives, the first look at a long session, and what stays of it.

    python tests/benchmarks/bench_server.py [--quick] [--json FILE]

CPU of this process, in one run. Sessions of 1,000 and 20,000 steps, each below one of ten others, are folded a page of
1,000 events at a time; then steps begin and end one by one, each worked in by itself. Exit code 1 where a bound is
broken: an event at 20,000 steps may cost twice what it costs at 1,000, and 1 ms; the fold of a session five times what
`fold_steps` needs for the same tree; a step takes 4 KB.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.reading.gists import with_gist
from otel_agent_journal.server.fold import SessionFold
from otel_agent_journal.server.rooms import encode
from otel_agent_journal.server.rows import row_of
from tests.benchmarks.report import Table, write_json
from tests.projections import told

PAGE = 1000
ONE_BY_ONE = 500
FLAT = 2.0
EVENT_US = 1000.0
AGAINST_FOLD = 5.0
STEP_BYTES = 4096


def a_session(steps: int) -> Iterator[JournalEvent]:
    """A root, and below it steps that each have nine more below them."""
    yield told.start("root", 1)
    for number in range(steps):
        at, first = 10 * number + 2, number - number % 10
        under = "root" if number == first else f"{first:032x}"
        took = 95 if number == first else 5
        names = {"kind": "TOOL", "trace_id": "t" * 32, "span_id": f"{number:016x}"}
        yield told.start(f"{number:032x}", at, under=under, details={"input": {"q": "hello " * 10}}, **names)
        yield told.end(f"{number:032x}", at, at + took, under=under, details={"output": "world " * 20}, **names)


def folded(events: list[JournalEvent]) -> SessionFold:
    """A session as a room loads it."""
    fold = SessionFold(told.SESSION)
    for first in range(0, len(events), PAGE):
        for event in events[first : first + PAGE]:
            fold.apply(event)
        fold.settle()
    return fold


def arriving(fold: SessionFold, steps: int) -> None:
    """Steps that begin and end one by one, each told to who looks."""
    for number in range(ONE_BY_ONE):
        at = 10 * (steps + number) + 5
        for event in (told.start(f"x{number}", at, under="root"), told.end(f"x{number}", at, at + 1, under="root")):
            fold.apply(event)
            fold.settle()
            changed = fold.forest.since(fold.revision - 1)
            assert changed is not None
            encode([row_of(fold, place) for place in changed[0]])


def cpu_s(work: Callable[[], Any]) -> tuple[float, Any]:
    """The CPU that something takes, and what it returns."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def figures(sizes: tuple[int, ...]) -> dict[int, dict[str, float]]:
    """Measure sessions of these sizes."""
    found: dict[int, dict[str, float]] = {}
    for steps in sizes:
        events = list(a_session(steps))
        at_once, _ = cpu_s(lambda events=events: fold_steps(map(with_gist, events)))
        load, fold = cpu_s(lambda events=events: folded(events))
        rows, _ = cpu_s(lambda fold=fold: encode([row_of(fold, place) for place in fold.places]))
        arrive, _ = cpu_s(lambda fold=fold, steps=steps: arriving(fold, steps))
        del fold
        tracemalloc.start()
        kept = folded(events)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del kept
        found[steps] = {
            "load_us_an_event": load / len(events) * 1e6,
            "load_against_fold_steps": load / at_once,
            "rows_us_a_row": rows / steps * 1e6,
            "arriving_us_an_event": arrive / (2 * ONE_BY_ONE) * 1e6,
            "bytes_a_step": size / steps,
        }
    return found


def main() -> int:
    """Measure, print, and say whether a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Sessions of 1,000 and 5,000 steps.")
    parser.add_argument("--json", type=Path, help="Write the figures there.")
    options = parser.parse_args()
    sizes = (1000, 5000) if options.quick else (1000, 20_000)
    found = figures(sizes)
    table = Table("The fold of a server")
    table.columns("steps", *found[sizes[0]])
    for steps, figure in found.items():
        table.row(f"{steps:,}", *(f"{value:,.1f}" for value in figure.values()))
    table.print()
    if options.json:
        write_json(options.json, {"server": {str(steps): figure for steps, figure in found.items()}})
    small, large = (found[steps] for steps in sizes)
    broken = [
        said
        for said, is_broken in (
            (
                "an event costs more in a long session",
                large["arriving_us_an_event"] > FLAT * small["arriving_us_an_event"],
            ),
            ("an event costs over 1 ms", large["arriving_us_an_event"] > EVENT_US),
            ("a fold costs too much over fold_steps", large["load_against_fold_steps"] > AGAINST_FOLD),
            ("a step takes too much memory", large["bytes_a_step"] > STEP_BYTES),
        )
        if is_broken
    ]
    for one in broken:
        print(f"BROKEN: {one}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
