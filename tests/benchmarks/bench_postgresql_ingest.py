"""PostgreSQL ingest: an append takes at most 1.4 times the CPU, an event, of a bare COPY of rows made beforehand.

    python tests/benchmarks/bench_postgresql_ingest.py
    python tests/benchmarks/bench_postgresql_ingest.py --rounds 3 --json figures.json

Against a server of its own, synced to the disk as a real one is. Beside the store write, turn by turn and into a copy
of its table with the same indexes, psycopg's `executemany` of INSERT … ON CONFLICT DO NOTHING and its COPY, which can
do nothing about an event that is there already. Their rows are made beforehand, ours are made of events within the
time. CPU is this process's, all threads, the lowest of all rounds: what else runs on the machine only ever makes it
more. Events a second stand beside it, the best of all rounds, of client and server on one machine. Last, not judged, a
session of 10,000 events is read back. Exit code 5 where the bound is broken in batches of 1,000.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.codec import encode_value
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import events
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from otel_agent_journal_postgresql.rows import EVENT_COLUMNS
from tests.benchmarks.bench_sqlite_ingest import stream
from tests.real.servers import PostgreSQL, path_of, running

BOUND = 1.4  # of a bare COPY
JUDGED = "store, 1000"
SIZES = (100, 1_000)
TURN = 5_000  # events between two looks at the clock
RESTORED = 10_000
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
INSERT = (
    f"INSERT INTO beside ({EVENT_COLUMNS}) VALUES ({', '.join('%s' for _ in EVENT_COLUMNS.split(','))})"
    " ON CONFLICT (session_id, timestamp_ns, event_id) DO NOTHING"
)

Write = Callable[[list[Any]], object]


class DurablePostgreSQL(PostgreSQL):
    """A server that syncs each commit to the disk."""

    def command(self) -> list[str]:
        """Return its command."""
        return [part.replace("fsync=off", "fsync=on") for part in super().command()]


def row_of(event: JournalEvent) -> tuple[Any, ...]:
    """Return an event as a row, as whoever writes to the table by hand has it."""
    error, usage = event.error, event.usage
    return (
        event.session_id,
        event.timestamp_ns,
        event.event_id,
        event.type,
        event.level,
        event.name,
        event.writer,
        event.instance_id,
        event.seq,
        event.step_id,
        event.parent_step_id,
        event.attempt,
        event.trace_id,
        event.span_id,
        event.outcome,
        event.duration_ns,
        *((None,) * 3 if error is None else (error.type, error.message, error.code)),
        *((None,) * 5 if usage is None else (getattr(usage, name) for name in TOKENS)),
        encode_value(event.details).decode(),
        event.digest,
        event.schema_version,
        None,
    )


def executemany(connection: psycopg.Connection) -> Write:
    """Return a bare `executemany` in a transaction."""

    def write(rows: list[Any]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(INSERT, rows)

    return write


def copy(connection: psycopg.Connection) -> Write:
    """Return a bare COPY in a transaction."""

    def write(rows: list[Any]) -> None:
        statement = f"COPY beside ({EVENT_COLUMNS}) FROM STDIN"
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copying:
            for row in rows:
                copying.write_row(row)

    return write


def timed(write: Write, made: list[Any], size: int) -> tuple[float, float]:
    """Return CPU and wall seconds that writing in batches takes."""
    batches = [made[start : start + size] for start in range(0, len(made), size)]
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        write(batch)
    return time.process_time() - cpu, time.perf_counter() - wall


def restored(store: PostgreSQLStore) -> dict[str, float]:
    """Return what it takes to read a long session, in seconds, the best of five."""
    made = events(RESTORED, session_id="long")
    for start in range(0, RESTORED, 1_000):
        store.append(made[start : start + 1_000])
    taken: list[tuple[float, float]] = []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        if sum(1 for _ in store.read("long")) != RESTORED:
            sys.exit("the session was not read back whole")
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(taken)
    return {"wall_s": wall, "cpu_s": cpu}


def measured(rounds: int) -> dict[str, Any]:
    """Return CPU an event in microseconds, lowest of all rounds, events a second, the best, and the ratios."""
    program = path_of("postgresql")
    if program is None:
        sys.exit("PostgreSQL is not there: scripts/real_servers.sh postgresql")
    cpu_us: dict[str, float] = {}
    per_s: dict[str, float] = {}
    source = stream()
    with tempfile.TemporaryDirectory() as folder, running(server := DurablePostgreSQL(program, Path(folder))):
        store = open_store(server.url)
        store.init()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE beside (LIKE events INCLUDING ALL)")
            connection.execute("ALTER TABLE beside ALTER number ADD GENERATED ALWAYS AS IDENTITY")
            ways: dict[str, Write] = {
                "executemany": executemany(connection),
                "copy": copy(connection),
                "store": store.append,
            }
            for turn in range(rounds + 1):
                for size in SIZES:
                    for name, write in ways.items():
                        made: list[Any] = list(islice(source, TURN))
                        if name != "store":
                            made = [row_of(event) for event in made]
                        cpu, wall = timed(write, made, size)
                        if turn:  # the first is to warm up
                            key = f"{name}, {size}"
                            cpu_us[key] = min(cpu_us.get(key, 1e9), cpu / TURN * 1e6)
                            per_s[key] = max(per_s.get(key, 0.0), TURN / wall)
        long = restored(store)
        store.close()
    ratios = {name: value / cpu_us[f"copy, {name.split()[1]}"] for name, value in cpu_us.items()}
    return {"cpu_us_an_event": cpu_us, "events_a_second": per_s, "ratios": ratios, "restored": long}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds: to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    figures = measured(2 if options.quick else options.rounds)
    print(f"{'way, events a batch':22} {'CPU an event':>14} {'of COPY':>9} {'events/s':>10}")
    for name, value in figures["cpu_us_an_event"].items():
        print(f"{name:22} {value:11.1f} µs {figures['ratios'][name]:9.2f} {figures['events_a_second'][name]:10,.0f}")
    long = figures["restored"]
    print(f"{RESTORED:,} events read back: {long['wall_s'] * 1e3:.0f} ms, {long['cpu_s'] * 1e3:.0f} ms CPU")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    ratio = figures["ratios"][JUDGED]
    print(f"bound {BOUND} of a bare COPY: {'kept' if ratio <= BOUND else 'BROKEN'}, {ratio:.2f}")
    return 0 if ratio <= BOUND else 5


if __name__ == "__main__":
    sys.exit(main())
