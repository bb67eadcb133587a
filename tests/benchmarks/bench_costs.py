"""What a million events, a million sessions and a day of following cost at DynamoDB and S3: requests, units, dollars.

    python tests/benchmarks/bench_costs.py [--quick] [--json FILE]

Counted at a DynamoDB Local and a MinIO on loopback, as the client sends them; the same on any machine. Written as
drains do it: a flush of a session's events, then its head. Events are of 900 bytes as JSON lines.

- A million events: sessions of 1,000, in flushes of 1, 10, 100 and 1,000.
- A million sessions: ten events in two flushes, the second of which ends the session.
- A day of following all: a look a second, while three sessions are at work and nothing is new.

DynamoDB Local counts nothing for what is asked for and not there, AWS a unit (half of one where the read need not be
consistent): these are added. Prices are list prices of us-east-1, which change: `PRICES` below. Nothing is
judged but that small flushes cost more than large ones; `docs/stores.md` has the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.codec import encode_line
from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.projections.status import StatusState, fold
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.rules import Folded
from tests.benchmarks.report import Table, write_json
from tests.real.servers import AWS, DynamoDB, Minio, path_of, running

MILLION: Final = 1_000_000
DAY_S: Final = 86_400
SESSION: Final = 1_000  # events of a long session
SHORT: Final = 10  # of a short one, in two flushes
FLUSHES: Final = (1, 10, 100, 1_000)
AT_WORK: Final = 3
PRICES: Final = {"write": 0.625 / MILLION, "read": 0.125 / MILLION, "PUT": 5e-6, "LIST": 5e-6, "GET": 0.4e-6}
_READS: Final = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})


class Cost(NamedTuple):
    """How often a thing is asked for, on average: requests of S3 by their kind, units of DynamoDB."""

    counts: Mapping[str, float]

    @property
    def dollars(self) -> float:
        """What that costs."""
        return sum(PRICES.get(kind, 0.0) * count for kind, count in self.counts.items())

    def times(self, count: float) -> Cost:
        """Return what it is so many times."""
        return Cost({kind: number * count for kind, number in self.counts.items()})

    def text(self) -> str:
        """Return it for a table."""
        return ", ".join(f"{number:,.0f} {kind}" for kind, number in sorted(self.counts.items()))


class S3Counter:
    """Counts the requests that a store sends."""

    def __init__(self, store: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        store._bucket.client.meta.events.register("before-send.s3", self._count)

    def _count(self, request: Any, **_: object) -> None:
        listing = request.method == "GET" and "list-type" in request.url
        kind = "LIST" if listing else "DELETE" if request.url.endswith("?delete") else request.method
        with self._lock:
            self.counts[kind] += 1


class DynamoDBCounter:
    """Counts the units that what a store asks for consumes, those of its indexes too."""

    def __init__(self, store: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._call = store._connection.call
        store._connection.call = self._counted

    def _counted(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._call(operation, {**body, "ReturnConsumedCapacity": "TOTAL"})
        consumed = answer.get("ConsumedCapacity") or []
        units = sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))
        with self._lock:
            if operation in _READS:
                self.counts["read"] += units + _of_nothing(operation, body, answer, units)
            else:
                self.counts["write"] += units
        return answer


def _of_nothing(operation: str, body: Mapping[str, Any], answer: Mapping[str, Any], counted: float) -> float:
    """Return the units of what was asked for and is not there: an item by its key, a query that finds nothing."""
    if operation != "BatchGetItem":
        return 0.0 if counted else _least(body)
    units = 0.0
    for table, wanted in body["RequestItems"].items():
        later = len(answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ()))
        missing = len(wanted["Keys"]) - later - len(answer["Responses"].get(table, ()))
        units += missing * _least(wanted)
    return units


def _least(asked: Mapping[str, Any]) -> float:
    return 1.0 if asked.get("ConsistentRead") else 0.5


STORES: Final[Mapping[str, tuple[type[Any], type[Any]]]] = {
    "dynamodb": (DynamoDB, DynamoDBCounter),
    "minio": (Minio, S3Counter),
}


def events_of(session_id: str, count: int, *, ends: bool = True) -> list[JournalEvent]:
    """Return the events of a session, one a second until now: an agent and its tools."""
    now_ns, root = time.time_ns(), derived_id(f"{session_id}:root")
    made: list[JournalEvent] = []
    for place in range(count):
        at_ends = place in (0, count - 1)
        begins = place == 0 or (place % 2 == 1 and not at_ends)
        step = root if at_ends else derived_id(f"{session_id}:{(place + 1) // 2}")
        if at_ends and place and not ends:
            begins, step = True, derived_id(f"{session_id}:{place}")
        kind = "AGENT" if step == root else "TOOL"
        made.append(
            JournalEvent(
                session_id=session_id,
                event_id=derived_id(f"{session_id}:event {place}"),
                type=f"{kind}_{'START' if begins else 'END'}",
                timestamp_ns=now_ns - (count - place) * 10**9,
                name="researcher" if kind == "AGENT" else "search",
                writer="0123456789abcdef0123456789abcdef",
                step_id=step,
                parent_step_id=None if step == root else root,
                attempt=1,
                trace_id=derived_id(session_id),
                span_id="0123456789abcdef",
                outcome=None if begins else "ok",
                duration_ns=None if begins else 10**9 if kind == "TOOL" else (count - 1) * 10**9,
                usage=None if begins else Usage(input_tokens=100, output_tokens=20),
                details={"input" if begins else "output": "the sea level in 2050 " * (19 if begins else 15)},
                digest=derived_id(f"{session_id}:digest {place}"),
            )
        )
    return made


def write(store: JournalStore, session_id: str, events: list[JournalEvent], flush: int) -> None:
    """Write a session, flush by flush, its head after each."""
    state, head = StatusState(), None
    for start in range(0, len(events), flush):
        batch = events[start : start + flush]
        arrived = (store.append(batch) or {})[session_id]
        folded = Folded(fold(batch, state), arrived.cursor)
        head = store.write_head(folded.head(session_id, version=0 if head is None else head.version))
        assert head is not None


def counted(url: str, counter: type[Any], sessions: int, size: int, flush: int) -> Cost:
    """Return what a session of a size costs, written in flushes of a size, by a writer that is at work already."""
    with closing(open_store(url)) as store:
        first = f"first of {size}-{flush}"
        write(store, first, events_of(first, 2), 2)  # connected
        counts = counter(store)
        for number in range(sessions):
            session_id = f"{size}-{flush}-{number}"
            write(store, session_id, events_of(session_id, size), flush)
        return Cost({kind: count / sessions for kind, count in counts.counts.items()})


def look_of_a_follower(url: str, counter: type[Any], looks: int) -> Cost:
    """Return what a look of who follows all costs, a second after the one before, while nothing is new."""
    with closing(open_store(url)) as writer, closing(open_store(url)) as store:
        for number in range(AT_WORK):
            session_id = f"at work {number}"
            write(writer, session_id, events_of(session_id, SHORT, ends=False), 1)
        cursor = store.tip()
        while (page := store.follow(cursor)).events:
            cursor = page.cursor
        counts = counter(store)
        for _ in range(looks):
            time.sleep(1)
            page = store.follow(page.cursor)
        return Cost({kind: count / looks for kind, count in counts.counts.items()})


def main() -> int:
    """Count, print; return 1 where a small flush costs less than a large one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few looks, and no flushes of one: to see that it works")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    os.environ.update(AWS)
    flushes = FLUSHES[2:] if options.quick else FLUSHES
    said: dict[str, dict[str, Cost]] = {}
    for name, (server_of, counter) in STORES.items():
        program = path_of(name)
        if program is None:
            parser.error(f"{name} is not there: scripts/real_servers.sh {name}")
        with tempfile.TemporaryDirectory() as folder, running(server_of(program, Path(folder))) as server:
            url = server.url("costs")
            with closing(open_store(url)) as store:
                store.init()
            found = said[name] = {}
            for flush in flushes:
                one = counted(url, counter, 1 if flush < 100 else 4, SESSION, flush)
                found[f"a million events, {flush:,} a flush"] = one.times(MILLION / SESSION)
            one = counted(url, counter, 4 if options.quick else 100, SHORT, SHORT // 2)
            found[f"a million sessions of {SHORT}, two flushes each"] = one.times(MILLION)
            look = look_of_a_follower(url, counter, 3 if options.quick else 60)
            found[f"a day of looks at {AT_WORK} sessions at work"] = look.times(DAY_S)
    made = events_of("size", SESSION)
    size = sum(len(encode_line(event)) + 1 for event in made) / SESSION
    for name, found in said.items():
        table = Table(f"{name}, events of {size:,.0f} bytes")
        table.columns("what", "units, requests", "dollars")
        for what, cost in found.items():
            table.row(what, cost.text(), f"{cost.dollars:,.2f}")
        table.print()
    if options.json:
        write_json(
            options.json, {name: {what: cost.counts for what, cost in one.items()} for name, one in said.items()}
        )
    dollars = [[cost.dollars for what, cost in one.items() if "a flush" in what] for one in said.values()]
    return 0 if all(one == sorted(one, reverse=True) for one in dollars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
