"""SQL over a journal: rows a second of each table, and what a filter saves, over 100,000 events in SQLite.

    python tests/benchmarks/bench_query.py                   100,000 events
    python tests/benchmarks/bench_query.py --events 1000000  more
    python tests/benchmarks/bench_query.py --json FILE       figures for machines as well

The journal is 100 sessions of tool calls. Beside each query the same events are read of the store in plain Python and
dropped, turn by turn, so that what SQL adds is a ratio of one moment. Exit code 5 if counting events takes more than
three times as long as reading them, or if asking for one session takes more than a tenth of asking for all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from report import Table, write_json

from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.query import query
from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.clocks import EPOCH_2026_NS

SESSIONS = 100
TURNS = 3
BOUND_COUNT = 3.0  # times reading the events in Python
BOUND_ONE = 0.1  # of the time for all sessions
DETAILS = {"input": {"query": "the sea level in 2050", "pages": 3}, "attributes": {"gen_ai.request.model": "scripted"}}
ONE = derived_id("bench:0")
QUERIES = {
    "count of events": "SELECT count(*) FROM events",
    "events by type": "SELECT event_type, count(*) FROM events GROUP BY event_type",
    "details of events": "SELECT count(*) FROM events WHERE (details->'input'->>'pages') = '3'",
    "all of events": "SELECT * FROM events",
    "steps": "SELECT kind, count(*), sum(duration_ms) FROM steps GROUP BY kind",
    "tools": "SELECT name, quantile_cont(duration_ms, 0.95) FROM tools GROUP BY name",
    "sessions": "SELECT status, count(*) FROM sessions GROUP BY status",
    "one session": f"SELECT count(*) FROM events WHERE session_id = '{ONE}'",
}


def session(number: int, count: int) -> list[JournalEvent]:
    """Return a session's events: tool calls one after the other."""
    session_id, made = derived_id(f"bench:{number}"), []
    for place in range(count):
        end, step_id = place % 2, derived_id(f"{session_id}:{place // 2}")
        made.append(
            JournalEvent(
                session_id=session_id,
                event_id=derived_id(f"{step_id}:{end}"),
                type="TOOL_END" if end else "TOOL_START",
                timestamp_ns=EPOCH_2026_NS + number * 10**9 + place * 1_000,
                name="search",
                writer="0123456789abcdef0123456789abcdef",
                step_id=step_id,
                attempt=1,
                outcome="ok" if end else None,
                duration_ns=1_000 if end else None,
                usage=Usage(input_tokens=100, output_tokens=20) if end else None,
                details=DETAILS,
                digest=step_id,
            )
        )
    return made


def filled(folder: Path, events: int) -> SqliteStore:
    """Return a journal of so many events."""
    store = SqliteStore(folder / "journal.db", synchronous="normal")
    for number in range(SESSIONS):
        made = session(number, events // SESSIONS)
        store.append(made)
        head = current(store, made[0].session_id)  # as the drain writes it: with where it is folded up to
        assert head is not None
        store.write_head(head)
    return store


def read_plainly(store: SqliteStore) -> float:
    """Return the seconds that reading every event takes in Python."""
    began = time.perf_counter()
    for head in store.sessions():
        for _ in store.read(head.session_id):
            pass
    return time.perf_counter() - began


def asked(store: SqliteStore, sql: str) -> tuple[float, int]:
    """Return the seconds that a query takes, and the events it read."""
    began = time.perf_counter()
    with query(store, sql, timeout_s=3600) as result:
        for _ in result.batches():
            pass
        return time.perf_counter() - began, sum(one.events for one in result.read)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="query-") as folder:
        store = filled(Path(folder), options.events)
        figures: dict[str, dict[str, float]] = {}
        for name, sql in QUERIES.items():
            turns = [(read_plainly(store), *asked(store, sql)) for _ in range(TURNS)]
            seconds = median(turn[1] for turn in turns)
            ratio = median(turn[1] / turn[0] for turn in turns)
            figures[name] = {"seconds": seconds, "events": turns[0][2], "ratio": ratio}
        store.close()
    one = figures["one session"]["seconds"] / figures["count of events"]["seconds"]
    passed = figures["count of events"]["ratio"] <= BOUND_COUNT and one <= BOUND_ONE
    if options.json:
        write_json(options.json, {"queries": figures, "one_of_all": one, "passed": passed})
    table = Table(f"SQL over {options.events:,} events in SQLite; beside it reading them in Python")
    table.columns("query", "seconds", "events read", "events/s", "times Python")
    for name, said in figures.items():
        rate = f"{said['events'] / said['seconds']:,.0f}" if said["events"] else ""
        table.row(name, f"{said['seconds']:.3f}", f"{said['events']:,.0f}", rate, Table.ratio(said["ratio"]))
    table.print()
    print(f"\none session takes {one:.3f} of all | {'passed' if passed else 'FAILED'}")
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
