"""DynamoDB: 16 writers that append an event at a time, each to a session of its own, meet nowhere.

    python tests/benchmarks/bench_dynamodb_appends.py
    python tests/benchmarks/bench_dynamodb_appends.py --json figures.json

Against a DynamoDB Local of its own, 16 clients in threads. Judged is what does not depend on the machine: the requests
of an append, which are four where nobody is in the way (what is there already, the event, its record, its announcement)
and more where a number was taken. Beside it, not judged: how many appends a second that are, and the same of 16 writers
of one session, who do share a log. Exit code 5 where the bound is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.testing.builders import an_event
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from tests.real.servers import AWS, DynamoDB, path_of, running

WRITERS = 16
BOUND = 4.2  # requests an append; four, and what a session costs once


def counted(store: DynamoDBStore, counts: list[int]) -> None:
    """Count the requests of a store."""
    connection: Any = store._connection
    real = connection.call

    def call(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        counts.append(1)
        return real(operation, body)

    connection.call = call


def measured(url: str, sessions: int, appends: int, first: int) -> dict[str, float]:
    """Return what it takes when all writers append at once, to so many sessions."""
    stores = [open_store(url) for _ in range(WRITERS)]
    counts: list[int] = []

    def write(writer: int) -> None:
        for number in range(appends):
            place = first + writer * appends + number
            stores[writer].append([an_event(place, session_id=f"{first}-{writer % sessions}")])

    for writer, store in enumerate(stores):  # a connection, a mark and the last number are had once
        store.append([an_event(first + 10**6 + writer, session_id=f"{first}-{writer % sessions}")])
        counted(store, counts)
    started = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    wall_s = time.perf_counter() - started
    for store in stores:
        store.close()
    total = WRITERS * appends
    return {"appends_a_second": total / wall_s, "requests_an_append": len(counts) / total}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--appends", type=int, default=40, help="of each writer")
    parser.add_argument("--quick", action="store_true", help="ten appends of each: to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    program = path_of("dynamodb")
    if program is None:
        sys.exit("DynamoDB Local is not there: scripts/real_servers.sh dynamodb")
    os.environ.update(AWS)
    appends = 10 if options.quick else options.appends
    with tempfile.TemporaryDirectory() as folder, running(server := DynamoDB(program, Path(folder))):
        store = open_store(server.url("benchmark"))
        store.init()
        store.close()
        figures = {
            name: measured(server.url("benchmark"), sessions, appends, first)
            for name, sessions, first in (("own sessions", WRITERS, 0), ("one session", 1, 10**7))
        }
    for name, one in figures.items():
        print(
            f"{WRITERS} writers, {name:12}: {one['appends_a_second']:6.0f} appends a second,"
            f" {one['requests_an_append']:5.2f} requests each"
        )
    ratio = figures["own sessions"]["appends_a_second"] / figures["one session"]["appends_a_second"]
    print(f"own sessions: {ratio:.1f} times as many")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    requests = figures["own sessions"]["requests_an_append"]
    print(f"bound {BOUND} requests: {'kept' if requests <= BOUND else 'BROKEN'}, {requests:.2f}")
    return 0 if requests <= BOUND else 5


if __name__ == "__main__":
    sys.exit(main())
