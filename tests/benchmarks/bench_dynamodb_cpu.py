"""DynamoDB: CPU of an append, an event, at most 1.4 times a bare `batch_write_item` of the same items.

    python tests/benchmarks/bench_dynamodb_cpu.py
    python tests/benchmarks/bench_dynamodb_cpu.py --rounds 3 --json figures.json

Against a DynamoDB Local of its own. The bare loop is boto3's client as everybody has it, items made beforehand as the
API wants them, 25 a call; ours makes the items from events, looks which of them are there, writes them and logs their
arrival (docs/adr/0013). Process CPU alone counts, all threads, the turns of both alternate, and the lowest of each is
compared: what else runs on the machine only ever makes CPU time more. The table is the same, its sessions are not.
Beside it, not judged: reading a session of 10,000 events back. Exit code 5 where the bound is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from otel_agent_journal_dynamodb.items import item_of
from tests.real.servers import AWS, DynamoDB, path_of, running

BOUND = 1.4
BATCH = 25  # events of one bare call
SIZES = (25, 250, 1_000)  # events of one append
TURN = 1_000  # events between two looks at the clock
RESTORED = 10_000
DETAILS = {
    "input": {"messages": [{"role": "user", "content": "the sea level in 2050 " * 20}], "pages": 3},
    "attributes": {"gen_ai.request.model": "scripted", "gen_ai.response.id": "0123456789abcdef"},
}


def events_of(session: str, count: int) -> list[JournalEvent]:
    """Return events of about a kilobyte."""
    return [
        JournalEvent(
            session_id=session,
            event_id=derived_id(f"{session}:{number}"),
            type="MODEL_END",
            timestamp_ns=EPOCH_2026_NS + number * 1_000_000,
            name="scripted",
            writer="0123456789abcdef0123456789abcdef",
            step_id=derived_id(f"{session}:{number}:step"),
            parent_step_id=derived_id(session),
            attempt=1,
            trace_id=derived_id(session),
            span_id="0123456789abcdef",
            outcome="ok",
            duration_ns=1_000,
            usage=Usage(input_tokens=100, output_tokens=20),
            details=DETAILS,
            digest=derived_id(f"{number}:digest"),
        )
        for number in range(count)
    ]


def bare(client: Any, table: str, made: list[JournalEvent]) -> float:
    """Return the CPU of writing events as a loop over `batch_write_item`, their items made beforehand."""
    items = [{**item_of(event, f"SESSION#{event.session_id}"), "Arrival": {"N": "1"}} for event in made]
    started = time.process_time()
    for start in range(0, len(items), BATCH):
        left = [{"PutRequest": {"Item": item}} for item in items[start : start + BATCH]]
        while left:
            left = client.batch_write_item(RequestItems={table: left})["UnprocessedItems"].get(table, [])
    return time.process_time() - started


def ours(store: DynamoDBStore, made: list[JournalEvent], size: int) -> float:
    """Return the CPU of appending events, `size` a call."""
    started = time.process_time()
    for start in range(0, len(made), size):
        store.append(made[start : start + size])
    return time.process_time() - started


def restored(store: DynamoDBStore) -> dict[str, float]:
    """Return what it takes to read a long session, in seconds."""
    made = events_of("long", RESTORED)
    for start in range(0, RESTORED, 1_000):
        store.append(made[start : start + 1_000])
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in store.read("long"))
    assert count == RESTORED
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def measured(rounds: int) -> dict[str, Any]:
    """Return microseconds an event, the lowest of all rounds, and their ratios."""
    import boto3

    program = path_of("dynamodb")
    if program is None:
        sys.exit("DynamoDB Local is not there: scripts/real_servers.sh dynamodb")
    os.environ.update(AWS)
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, running(server := DynamoDB(program, Path(folder))):
        store = open_store(server.url("benchmark"))
        store.init()
        client: Any = boto3.client("dynamodb", endpoint_url=server.endpoint)
        bare(client, "benchmark", events_of("warm-1", 100))
        ours(store, events_of("warm-2", 100), BATCH)
        for turn in range(rounds):
            taken = {"bare": bare(client, "benchmark", events_of(f"bare-{turn}", TURN))}
            for size in SIZES:
                taken[f"ours, {size}"] = ours(store, events_of(f"ours-{size}-{turn}", TURN), size)
            for name, seconds in taken.items():
                best[name] = min(best.get(name, seconds), seconds)
        long = restored(store)
        store.close()
    each = {name: seconds / TURN * 1e6 for name, seconds in best.items()}
    ratios = {name: value / each["bare"] for name, value in each.items() if name != "bare"}
    return {"us_an_event": each, "ratios": ratios, "restored": long}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds: to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    figures = measured(2 if options.quick else options.rounds)
    print("CPU an event of about 1 KB, lowest of all rounds")
    for name, value in figures["us_an_event"].items():
        ratio = figures["ratios"].get(name)
        print(f"  {name:12} {value:7.1f} µs" + (f"  {ratio:5.2f} x bare" if ratio else ""))
    long = figures["restored"]
    print(f"{RESTORED:,} events read back: {long['cpu_s']:.2f} s CPU, {long['wall_s']:.2f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    worst = max(figures["ratios"].values())
    print(f"bound {BOUND} x bare: {'kept' if worst <= BOUND else 'BROKEN'}, worst {worst:.2f}")
    return 0 if worst <= BOUND else 5


if __name__ == "__main__":
    sys.exit(main())
