"""Reading a session of 10,000 events back from every store: time and CPU of the reader, beside SQLite.

    python tests/benchmarks/bench_restore.py [--quick] [--rounds N] [--json FILE]

Each store on a real server on loopback, whose own CPU is not counted; the same events, START and END of about 700
bytes, appended a thousand at a time. The stores take turns, and the lowest of all rounds is compared: other programs
only ever make it more. `journal.jsonl` is S3's session once it was compacted, `segments` before. Over a network its
delays come on top: a request for each megabyte of DynamoDB, for each thousand events of PostgreSQL, one for each flush
of S3 or for the journal. Exit code 1 where a store takes more CPU than the bound.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.event import JournalEvent, Usage, derived_id
from otel_agent_journal.store.protocol import JournalStore, StoreAdmin
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from tests.benchmarks.report import Table, write_json
from tests.real.servers import AWS, DynamoDB, Minio, PostgreSQL, path_of, running

EVENTS: Final = 10_000
BOUND: Final = 6.0  # times SQLite, of the reader's CPU
SESSION: Final = "long"


def events() -> list[JournalEvent]:
    """Return the session: steps of a model, each of two events."""
    common: dict[str, Any] = {"session_id": SESSION, "name": "scripted", "writer": "w" * 32, "attempt": 1}
    made: list[JournalEvent] = []
    for number in range(EVENTS // 2):
        step, at_ns = derived_id(f"step {number}"), EPOCH_2026_NS + number * 1_000_000
        ids = {"step_id": step, "parent_step_id": derived_id("root"), "trace_id": derived_id("trace")}
        asked = {"messages": [{"role": "user", "content": "the sea level in 2050 " * 20}]}
        said = {"output": "it rises by a third of a metre " * 10}
        made += [
            JournalEvent(
                event_id=derived_id(f"{step}:start"),
                type="MODEL_START",
                timestamp_ns=at_ns,
                details=asked,
                **common,
                **ids,
            ),
            JournalEvent(
                event_id=derived_id(f"{step}:end"),
                type="MODEL_END",
                timestamp_ns=at_ns + 500_000,
                outcome="ok",
                duration_ns=500_000,
                usage=Usage(input_tokens=100, output_tokens=20),
                details=said,
                **common,
                **ids,
            ),
        ]
    return made


@contextmanager
def stores() -> Iterator[dict[str, JournalStore]]:
    """Start every server, make a store on each, and fill it."""
    os.environ.update(AWS)
    made = events()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        )  # which PostgreSQL's user may enter
        folder.chmod(0o755)

        def serve(kind: Callable[[Path, Path], Any], name: str) -> Any:
            program = path_of(name)
            if program is None:
                sys.exit(f"{name} is not there: scripts/real_servers.sh {name}")
            (folder / name).mkdir()
            return stack.enter_context(running(kind(program, folder / name)))

        minio = serve(Minio, "minio")
        urls = {
            "sqlite": f"sqlite:///{folder}/journal.db",
            "postgresql": serve(PostgreSQL, "postgresql").database(),
            "dynamodb": serve(DynamoDB, "dynamodb").url("benchmark"),
            "s3, segments": minio.url("segments"),
            "s3, journal.jsonl": minio.url("journals"),
        }
        opened: dict[str, JournalStore] = {}
        for name, url in urls.items():
            store = opened[name] = open_store(url)
            stack.callback(store.close)
            cast("StoreAdmin", store).init()
            for start in range(0, EVENTS, 1_000):
                store.append(made[start : start + 1_000])
        cast("Any", opened["s3, journal.jsonl"]).compact(SESSION)
        yield opened


def measured(rounds: int) -> dict[str, dict[str, float]]:
    """Return seconds of each store, the lowest of all rounds."""
    best: dict[str, dict[str, float]] = {}
    with stores() as opened:
        for _ in range(rounds):
            for name, store in opened.items():
                wall, cpu = time.perf_counter(), time.process_time()
                found = sum(1 for _ in store.read(SESSION))
                taken = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
                if found != EVENTS:
                    sys.exit(f"{name} gave {found} of {EVENTS} events")
                before = best.setdefault(name, taken)
                best[name] = {key: min(before[key], value) for key, value in taken.items()}
    return best


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds: to see that it works")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    best = measured(2 if options.quick else options.rounds)
    table = Table(f"A session of {EVENTS:,} events read back, lowest of all rounds")
    table.columns("store", "ms", "CPU ms", "CPU x SQLite", "")
    worst = 0.0
    for name, taken in best.items():
        ratio = taken["cpu_s"] / best["sqlite"]["cpu_s"]
        worst = max(worst, ratio)
        table.row(
            name,
            f"{taken['wall_s'] * 1e3:.0f}",
            f"{taken['cpu_s'] * 1e3:.0f}",
            f"{ratio:.2f}",
            Table.verdict(ratio <= BOUND),
        )
    table.print()
    if options.json:
        write_json(options.json, {"restored": best})
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
