"""SQLite ingest: at least 20,000 events a second in batches, flat as the journal grows (DESIGN §10).

    python tests/benchmarks/bench_sqlite_ingest.py                   a short run, 300,000 rows
    python tests/benchmarks/bench_sqlite_ingest.py --rows 5000000    the whole claim
    python tests/benchmarks/bench_sqlite_ingest.py --json            for machines

Fifty sessions are written interleaved, START and END events of about 300 bytes, by `SqliteStore.append` in batches of
100 and of 1000, with the store's own settings: every commit is synced. The events are made beforehand; what is timed
is the append. Beside each phase the same batches go to a new, empty journal, turn by turn, so that the flatness is a
ratio of one moment and not of a shared machine's moods. Exit code 5 if the best phase of the second half is under the
bound (what else runs on the machine only ever slows a phase), or if the last fifth of the journal takes more than 1.5
times what an empty one takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.store.sqlite_file import Synchronous
from otel_agent_journal.testing.clocks import EPOCH_2026_NS

BOUND = 20_000  # events a second
SESSIONS = 50
EVENTS_A_SESSION = 2_000  # then a new one takes its place, so that the index grows at random places
PHASES = 10
CHUNK = 5_000  # events between two looks at the clock
SIZES = (100, 1_000)
DETAILS = {"input": {"query": "the sea level in 2050", "pages": 3}, "attributes": {"gen_ai.request.model": "scripted"}}


def stream() -> Iterator[JournalEvent]:
    """Yield START and END events of interleaved sessions, for ever."""
    number = 0
    while True:
        session = derived_id(f"{number // (SESSIONS * EVENTS_A_SESSION)}:{number % SESSIONS}")
        end = (number // SESSIONS) % 2
        step_id = derived_id(f"{session}:{number // SESSIONS // 2}")
        yield JournalEvent(
            session_id=session,
            event_id=derived_id(f"{step_id}:{end}"),
            type="TOOL_END" if end else "TOOL_START",
            timestamp_ns=EPOCH_2026_NS + number * 1_000,
            name="search",
            writer="0123456789abcdef0123456789abcdef",
            step_id=step_id,
            parent_step_id=session,
            attempt=1,
            trace_id=session,
            span_id=step_id[:16],
            outcome="ok" if end else None,
            duration_ns=1_000 if end else None,
            usage=Usage(input_tokens=100, output_tokens=20) if end else None,
            details=DETAILS,
            digest=step_id,
        )
        number += 1


def measure(rows: int, folder: Path, synchronous: Synchronous) -> list[dict[str, float]]:
    """Return for each phase the rows there were, the events a second by batch size, and those of an empty journal."""
    journal = SqliteStore(folder / "journal.db", synchronous=synchronous)
    source, written, phases = stream(), 0, []
    chunks = max(4, rows // PHASES // CHUNK)
    for number in range(PHASES):
        beside = SqliteStore(folder / f"empty-{number}.db", synchronous=synchronous)
        seconds = dict.fromkeys(((store, size) for store in (journal, beside) for size in SIZES), 0.0)
        events = dict.fromkeys(seconds, 0)
        phase: dict[str, float] = {"rows": written}
        for turn in range(chunks):
            size = SIZES[turn % 2]
            chunk = list(islice(source, rows // PHASES // chunks))
            written += len(chunk)
            for store in (journal, beside) if turn < 8 else (journal,):
                seconds[store, size] += timed(store, chunk, size)
                events[store, size] += len(chunk)
        for size in SIZES:
            phase[f"batch_{size}"] = events[journal, size] / seconds[journal, size]
            phase[f"empty_{size}"] = events[beside, size] / seconds[beside, size]
        phases.append(phase)
        beside.close()
        for part in folder.glob("empty-*"):
            part.unlink()
    journal.close()
    return phases


def timed(store: SqliteStore, chunk: list[JournalEvent], size: int) -> float:
    """Return the seconds that appending a chunk in batches takes."""
    batches = [chunk[start : start + size] for start in range(0, len(chunk), size)]
    began = time.perf_counter()
    for batch in batches:
        store.append(batch)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--synchronous", choices=("full", "normal"), default="full")
    parser.add_argument("--folder", type=Path, help="where the journal is made; a temporary folder by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ingest-", dir=options.folder))
    try:
        phases = measure(options.rows, folder, options.synchronous)
        size = sum(path.stat().st_size for path in folder.iterdir())
    finally:
        shutil.rmtree(folder)
    names = [f"batch_{size}" for size in SIZES]
    best = min(max(phase[name] for phase in phases[PHASES // 2 :]) for name in names)
    slowdown = max(
        median(phase[name.replace("batch", "empty")] / phase[name] for phase in phases[-PHASES // 5 :])
        for name in names
    )
    passed = best >= BOUND and slowdown <= 1.5
    result = {"phases": phases, "bytes_a_row": size / options.rows, "slowdown": slowdown, "passed": passed}
    if options.json:
        print(json.dumps(result))
        return 0 if passed else 5
    print(f"events/s, synchronous={options.synchronous}; in brackets an empty journal beside it")
    print(f"{'rows before':>12} {'batches of 100':>22} {'batches of 1000':>22}")
    for phase in phases:
        cells = [f"{phase[name]:>12,.0f} ({phase[name.replace('batch', 'empty')]:>7,.0f})" for name in names]
        print(f"{phase['rows']:>12,.0f} {cells[0]:>22} {cells[1]:>22}")
    print(
        f"{size / options.rows:.0f} bytes a row; best late phase {best:,.0f}, bound {BOUND:,};"
        f" at the end {slowdown:.2f} times an empty journal | {'passed' if passed else 'FAILED'}"
    )
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
