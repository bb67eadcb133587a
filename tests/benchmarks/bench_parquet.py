"""A journal to Parquet: events a second, memory as it grows, and that a second run writes nothing; of SQLite.

    python tests/benchmarks/bench_parquet.py                   1,000,000 events
    python tests/benchmarks/bench_parquet.py --events 100000   fewer
    python tests/benchmarks/bench_parquet.py --json FILE       figures for machines as well

The journal is sessions of 200 events: model calls and tool calls in turn, each of which is two events, a step and an
attempt. All five tables are written. Beside it the same events are read of the store in plain Python and dropped. Exit
code 5 if less than 30,000 events a second are written (of CPU with --cpu, on a busy machine), if memory rises by more
than 200 MB beyond that of a tenth of the sessions, or if the second run writes a file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from report import Table, write_json

from otel_agent_journal.cli.export_parquet import seldom_collected
from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.lake.exporting import Export, Exported
from otel_agent_journal.lake.place import open_place
from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.clocks import EPOCH_2026_NS

EACH = 200  # events of a session
BOUND_RATE = 30_000
DETAILS = {"input": {"query": "the sea level in 2050", "pages": 3}, "attributes": {"gen_ai.request.model": "scripted"}}
ANSWER = {"output": {"pages": ["The sea level rises by about four millimetres a year." * 4], "found": 3}}
BOUND_RISE_MB = 200


def session(number: int, count: int) -> list[JournalEvent]:
    """Return a session's events: a model call, a tool call, and so on."""
    session_id, made = derived_id(f"bench:{number}"), list[JournalEvent]()
    for place in range(count):
        end, step_id = place % 2, derived_id(f"{session_id}:{place // 2}")
        kind = "TOOL" if place // 2 % 2 else "MODEL"
        made.append(
            JournalEvent(
                session_id=session_id,
                event_id=derived_id(f"{step_id}:{end}"),
                type=f"{kind}_END" if end else f"{kind}_START",
                timestamp_ns=EPOCH_2026_NS + number * 10**9 + place * 1_000,
                name="search" if kind == "TOOL" else "scripted-1",
                writer="0123456789abcdef0123456789abcdef",
                step_id=step_id,
                attempt=1,
                outcome="ok" if end else None,
                duration_ns=1_000 if end else None,
                usage=Usage(input_tokens=100, output_tokens=20) if end and kind == "MODEL" else None,
                details=ANSWER if end else DETAILS,
                digest=step_id,
            )
        )
    return made


def filled(path: Path, first: int, count: int) -> SqliteStore:
    """Return a journal with so many sessions more."""
    store = SqliteStore(path, synchronous="normal")
    for number in range(first, first + count):
        made = session(number, EACH)
        store.append(made)
        head = current(store, made[0].session_id)
        assert head is not None
        store.write_head(head)
    return store


def resident_mb(name: str = "VmRSS") -> float:
    """Return what this process has in memory, or had at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def export(store: SqliteStore, folder: Path) -> tuple[Exported, float, float]:
    """Return what an export did, its seconds, and those of CPU."""
    began, began_cpu = time.perf_counter(), time.process_time()
    with seldom_collected():  # as the command has it
        said = Export(store, open_place(str(folder)), now_ns=time.time_ns()).run()
    return said, time.perf_counter() - began, time.process_time() - began_cpu


def read_plainly(store: SqliteStore) -> float:
    """Return the seconds of CPU that reading every event takes."""
    began = time.process_time()
    for head in store.sessions():
        for _ in store.read(head.session_id):
            pass
    return time.process_time() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 events")
    parser.add_argument("--cpu", action="store_true", help="judge by CPU, not by the clock")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sessions = max(10, (20_000 if options.quick else options.events) // EACH)
    with tempfile.TemporaryDirectory(prefix="parquet-") as folder:
        path = Path(folder) / "journal.db"
        small = filled(path, 0, sessions // 10)
        export(small, Path(folder) / "small")
        small.close()
        before_mb = resident_mb("VmHWM")
        store = filled(path, sessions // 10, sessions - sessions // 10)
        said, seconds, cpu = export(store, Path(folder) / "lake")
        rise_mb = resident_mb("VmHWM") - before_mb
        again, again_s, _ = export(store, Path(folder) / "lake")
        plain = read_plainly(store)
        store.close()
    rate = said.events / (cpu if options.cpu else seconds)
    passed = rate >= BOUND_RATE and rise_mb <= BOUND_RISE_MB and again.files == 0
    figures = {
        "events": said.events,
        "rows": said.rows,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "times_reading": cpu / plain,
        "bytes_an_event": said.size_bytes / said.events,
        "rise_mb": rise_mb,
        "again_files": again.files,
        "again_seconds": again_s,
    }
    if options.json:
        write_json(options.json, {**figures, "passed": passed})
    table = Table(f"{said.events:,} events of SQLite to Parquet, {said.rows:,} rows of five tables")
    table.columns("events/s", "a CPU-second", "times reading them", "bytes an event", "memory", "second run")
    table.row(
        f"{said.events / seconds:,.0f}",
        f"{said.events / cpu:,.0f}",
        Table.ratio(cpu / plain),
        f"{figures['bytes_an_event']:.0f}",
        f"+{rise_mb:.0f} MB",
        f"{again.files} files, {again_s:.2f} s",
    )
    table.print()
    print("passed" if passed else "FAILED")
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
