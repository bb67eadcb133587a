"""S3: CPU that an event costs the writer, at most 15 µs in batches; bytes and requests of a session, linear.

    python tests/benchmarks/bench_s3_cpu.py [--quick] [--rounds N] [--json FILE]

Against a real MinIO on loopback (`scripts/real_servers.sh minio`), whose own CPU is not counted. START and END events
of about 500 bytes, made beforehand. Per event: `S3Store.append` in batches of 100 and 1,000, and beside it, in turns,
`put_object` of boto3 for bytes that are encoded already: what no store on boto3 can go below. The lowest of all rounds
is compared, since other programs only ever make CPU time more. Announcing and compacting are in it.

Then one session of 100, 1,000 and 10,000 events, flushed a hundred at a time, its head written after each flush:
requests and bytes, beside those of downloading the journal, appending and uploading it again. Exit code 1 where a batch
of 1,000 costs more than the bound an event, or a session three times its events' bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.codec import encode_line
from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_s3 import S3Store, open_store
from tests.benchmarks.report import Table, write_json
from tests.real.servers import AWS, Minio, path_of, running

BOUND_US: Final = 15.0
BATCHES: Final = (100, 1_000)
FLUSH: Final = 100
SESSIONS: Final = (100, 1_000, 10_000)
DETAILS: Final = {"input": {"query": "the sea level in 2050", "pages": 3}, "attributes": {"model": "scripted"}}


def events_of(session: str, count: int) -> list[JournalEvent]:
    """Return START and END events of one session."""
    return [
        JournalEvent(
            session_id=session,
            event_id=derived_id(f"{session}:{number}"),
            type="TOOL_END" if number % 2 else "TOOL_START",
            timestamp_ns=EPOCH_2026_NS + number * 1_000,
            name="search",
            writer="0123456789abcdef0123456789abcdef",
            step_id=derived_id(f"{session}:{number // 2}"),
            attempt=1,
            outcome="ok" if number % 2 else None,
            duration_ns=1_000 if number % 2 else None,
            usage=Usage(input_tokens=100, output_tokens=20) if number % 2 else None,
            details=DETAILS,
            digest=derived_id(f"digest:{number}"),
        )
        for number in range(count)
    ]


def body_of(events: list[JournalEvent]) -> bytes:
    """Return events as the lines of a journal."""
    return b"".join(encode_line(event) + b"\n" for event in events)


def cpu_us(work: Callable[[], object], events: int) -> float:
    """Return the CPU time of this process, all threads, for each event."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6 / events


def cost(url: str, bare: Any, bucket: str, size: int, total: int) -> tuple[float, float]:
    """Return the microseconds an event costs the store, and bare boto3."""
    made = events_of(uuid.uuid4().hex, total)
    batches = [made[start : start + size] for start in range(0, total, size)]
    bodies = [body_of(batch) for batch in batches]
    store = open_store(url)
    store.append(events_of("warm", 1))
    ours = cpu_us(lambda: [store.append(batch) for batch in batches], total)
    store.close()
    key = uuid.uuid4().hex
    plain = cpu_us(
        lambda: [bare.put_object(Bucket=bucket, Key=f"{key}/{n}", Body=body) for n, body in enumerate(bodies)], total
    )
    return ours, plain


class Counted:
    """Counts what a store's client sends."""

    def __init__(self, store: S3Store) -> None:
        self.requests: Counter[str] = Counter()
        self.put_bytes = 0
        store._bucket.client.meta.events.register("before-send.s3", self._count)

    def _count(self, request: Any, **_: object) -> None:
        listing = request.method == "GET" and "list-type" in request.url
        kind = "LIST" if listing else "DELETE" if request.url.endswith("?delete") else request.method
        self.requests[kind] += 1
        self.put_bytes += int(request.headers.get("Content-Length", 0)) if request.method == "PUT" else 0


def session_of(url: str, size: int) -> dict[str, Any]:
    """Write one session, flush by flush, to its end; return its bytes and requests, and those of the naive way."""
    store = open_store(url)
    store.tip()
    counted, session = Counted(store), uuid.uuid4().hex
    made, head = events_of(session, size), SessionHead(session_id=session, status="PROCESSING", agent="researcher")
    for start in range(0, size, FLUSH):
        arrived = store.append(made[start : start + FLUSH])[session]
        last = start + FLUSH >= size
        status = "COMPLETED" if last else "PROCESSING"
        head = msgspec.structs.replace(head, status=status, events=start, updated_ns=start, cursor=arrived.cursor)
        head = store.write_head(head) or head
    assert sum(1 for _ in store.read(session)) == size
    figures = {
        "events": size,
        "bytes_of_events": len(body_of(made)),
        "bytes_put": counted.put_bytes,
        "requests": dict(counted.requests),
        "naive_bytes_put": sum(len(body_of(made[:end])) for end in range(FLUSH, size + 1, FLUSH)),
        "naive_requests": {"GET": size // FLUSH, "PUT": size // FLUSH},
    }
    store.close()
    return figures


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    program = path_of("minio")
    if program is None:
        parser.error("MinIO is not there: scripts/real_servers.sh minio")
    os.environ.update(AWS)
    total, rounds = (2_000, 1) if options.quick else (20_000, options.rounds)
    with tempfile.TemporaryDirectory() as folder, running(Minio(program, Path(folder))) as server:
        assert isinstance(server, Minio)
        bare = boto3.client("s3", endpoint_url=server.endpoint)
        bare.create_bucket(Bucket="bench")
        bare.create_bucket(Bucket="bare")
        costs = {
            size: [cost(server.url("bench"), bare, "bare", size, total) for _ in range(rounds)] for size in BATCHES
        }
        sessions = [session_of(server.url("bench", "one"), size) for size in SESSIONS[: 2 if options.quick else None]]
    lowest = {size: tuple(min(one[way] for one in costs[size]) for way in (0, 1)) for size in BATCHES}
    passed = lowest[1_000][0] <= BOUND_US
    linear = all(one["bytes_put"] < 3 * one["bytes_of_events"] for one in sessions)
    table = Table("CPU of the writer, µs an event, lowest of the rounds")
    table.columns("batch", "store", "bare boto3", "bound", "")
    for size in BATCHES:
        bound, verdict = (f"{BOUND_US:g}", Table.verdict(passed)) if size == 1_000 else ("", "")
        table.row(f"{size:,}", f"{lowest[size][0]:.1f}", f"{lowest[size][1]:.1f}", bound, verdict)
    table.print()
    table = Table(f"one session, {FLUSH} events a flush, to its end")
    table.columns("events", "MB of events", "MB put", "ratio", "requests", "MB put naively", "")
    for one in sessions:
        requests = " ".join(f"{count} {kind}" for kind, count in sorted(one["requests"].items()))
        ratio = one["bytes_put"] / one["bytes_of_events"]
        megabytes = [f"{one[name] / 1e6:.2f}" for name in ("bytes_of_events", "bytes_put", "naive_bytes_put")]
        table.row(
            f"{one['events']:,}", *megabytes[:2], f"{ratio:.2f}", requests, megabytes[2], Table.verdict(ratio < 3)
        )
    table.print()
    if options.json:
        write_json(options.json, {"cpu_us": {str(size): costs[size] for size in BATCHES}, "sessions": sessions})
    return 0 if passed and linear else 1


if __name__ == "__main__":
    raise SystemExit(main())
