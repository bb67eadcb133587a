"""A LangGraph thread put and restored by JournalSaver, beside LangGraph's own savers on the same stores.

    python tests/benchmarks/bench_checkpoints.py [--quick] [--json FILE]

Each on a real server on loopback or in a file of its own, in one run, in processes that take turns. A message is a
kilobyte that nothing compresses. Of a thread at 100, 1,000 and 10,000 messages a put that adds one is timed (quickest
of 15), and how a process that knows nothing of the thread restores it (quickest of 7). DynamoDBSaver is as it comes,
without a bucket: an item takes 400 KB. Exit code 1 where a bound of ours is broken: a put at 10,000 messages may take
4 ms more than at 100; 2,000 messages 10 MB; 10,000 events are restored in 300 ms of CPU, in SQLite; a fork takes 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal.store.protocol import StoreAdmin
from otel_agent_journal.store.registry import open_store
from tests.benchmarks.peers import python_of
from tests.benchmarks.report import Table, write_json
from tests.real.servers import AWS, DynamoDB, PostgreSQL, path_of, running

WORKER: Final = Path(__file__).with_name("checkpoints_worker.py")
SIZES: Final = ("100", "1000", "10000")
MORE_MS: Final = 4.0
BYTES: Final = 10_000_000
RESTORE_MS: Final = 300.0
FORK_MS: Final = 50.0


def figures(sizes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Start the servers, and have each saver measured."""
    os.environ.update(AWS)
    python, found = python_of("savers"), dict[str, dict[str, Any]]()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o755)  # PostgreSQL's user enters it

        def serve(kind: Callable[[Path, Path], Any], name: str) -> Any:
            program = path_of(name)
            if program is None:
                sys.exit(f"{name} is not there: scripts/real_servers.sh {name}")
            (folder / name).mkdir()
            return stack.enter_context(running(kind(program, folder / name)))

        postgresql, dynamodb = serve(PostgreSQL, "postgresql"), serve(DynamoDB, "dynamodb")
        ours = {
            "sqlite": f"sqlite:///{folder}/ours.db",
            "postgresql": postgresql.database(),
            "dynamodb": dynamodb.url("ours"),
        }
        for url in ours.values():
            store = open_store(url)
            assert isinstance(store, StoreAdmin)
            store.init()
            store.close()
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{dynamodb.port}"
        _table("theirs")
        for name, saver, place, asked in (
            ("JournalSaver, sqlite", "JournalSaver", ours["sqlite"], sizes),
            ("SqliteSaver", "SqliteSaver", f"{folder}/theirs.db", sizes),
            ("JournalSaver, postgresql", "JournalSaver", ours["postgresql"], sizes),
            ("PostgresSaver", "PostgresSaver", postgresql.database(), sizes),
            ("JournalSaver, dynamodb", "JournalSaver", ours["dynamodb"], sizes),
            ("DynamoDBSaver", "DynamoDBSaver", "theirs", sizes),
            ("JournalSaver, sqlite, as it grows", "JournalSaver", f"sqlite:///{folder}/whole.db", ("whole",)),
        ):
            done = subprocess.run(
                [str(python), str(WORKER), saver, place, *asked], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            found[name] = json.loads(done.stdout)
    return found


def _table(name: str) -> None:
    import boto3

    key = [("PK", "HASH"), ("SK", "RANGE")]
    boto3.client("dynamodb", region_name="us-east-1").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": one, "KeyType": kind} for one, kind in key],
        AttributeDefinitions=[{"AttributeName": one, "AttributeType": "S"} for one, _ in key],
        BillingMode="PAY_PER_REQUEST",
    )


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the largest threads: to see that it works")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    sizes = SIZES[:2] if options.quick else SIZES
    found = figures(sizes)
    table = Table("A put that adds a message, and a restore, ms; bytes that a put adds")
    table.columns(
        "saver", *(f"put at {size}" for size in sizes), *(f"restore {size}" for size in sizes), "bytes", "fork"
    )
    broken: list[str] = []
    for name, one in found.items():
        if "whole" in one:
            continue
        last = one[sizes[-1]]
        table.row(
            name,
            *(_shown(one[size].get("put_ms")) for size in sizes),
            *(_shown(one[size].get("restore_ms")) for size in sizes),
            _shown(last.get("bytes")),
            _shown(last.get("fork_ms")),
        )
        if name.startswith("JournalSaver"):
            if last["put_ms"] > one[sizes[0]]["put_ms"] + MORE_MS:
                broken.append(f"{name}: a put is not flat")
            if last["fork_ms"] > max(FORK_MS, 10 * one[sizes[0]]["put_ms"]):  # ten puts, where a server is as slow
                broken.append(f"{name}: a fork takes {last['fork_ms']:.0f} ms")
    table.print()
    whole = found["JournalSaver, sqlite, as it grows"]["whole"]
    print(f"\n2,000 messages: {whole['bytes_of_2000'] / 1e6:.1f} MB")
    print(f"10,000 events restored: {whole['restore_ms']:.0f} ms, {whole['restore_cpu_ms']:.0f} of CPU")
    if whole["bytes_of_2000"] > BYTES:
        broken.append("2,000 messages take over 10 MB")
    if whole["restore_cpu_ms"] > RESTORE_MS:
        broken.append("10,000 events take over 300 ms")
    for line in broken:
        print(f"FAIL: {line}")
    if options.json is not None:
        write_json(options.json, {"savers": found})
    return 1 if broken else 0


def _shown(value: float | None) -> str:
    return "fails" if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
