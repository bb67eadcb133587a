"""Listing, asking and pruning among 100,000 sessions of ten events, on each store behind 5 ms a request.

    python tests/benchmarks/bench_sessions.py                          SQLite and PostgreSQL, 100,000 sessions
    python tests/benchmarks/bench_sessions.py --stores dynamodb,s3 --sessions 10000
    python tests/benchmarks/bench_sessions.py [--quick] [--json FILE]

Each store on its real server on loopback, through a proxy that holds every request back for 5 ms and counts it; SQLite
is a file, and has no requests. The journal is written without the proxy, which runs in a process of its own. Requests
and bytes are what the store is asked and answers, the same on any machine; seconds are one machine's, and the server's
and the proxy's CPU is in them, since they share its cores: what is ours of them is told beside it. One session is asked
for while it is alone, among a thousand, and among all. Exit code 1 where a bound is broken: `ls` 1 s, a query by status
and time and counts by agent 10 s, 10,000 sessions pruned in two minutes; for `status`, `show`, `tail` and `wait_for` of
one session as many requests each time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from otel_agent_journal import wait_for
from otel_agent_journal.store.registry import open_store
from tests.benchmarks.report import Table, write_json
from tests.real.backends import NAMES, Backend
from tests.real.fault_proxy import SLOW
from tests.real.many_sessions import EACH, Asked, fill, of_all, questions, session_id_of, took
from tests.real.servers import AWS, DynamoDB, Minio, PostgreSQL, path_of, running

LATENCY_S: Final = 0.005
BOUNDS_S: Final = {"ls": 1.0, "query by status and time": 10.0, "counts by agent": 10.0}
OF_ONE: Final = ("status", "show", "tail", "wait_for")  # which cost the same however many others there are
SIZES: Final = (1, 1_000)  # sessions that there are when one of them is asked for, and then all
PRUNED_S: Final = 120.0 / 10_000  # a session
SERVERS: Final = {"dynamodb": DynamoDB, "s3": Minio, "postgresql": PostgreSQL}
PROGRAMS: Final = {"dynamodb": "dynamodb", "s3": "minio", "postgresql": "postgresql"}


class Figure(NamedTuple):
    """What one question took. `cpu_s` is this process's own: the rest of `seconds` is the server and the proxy."""

    seconds: float
    cpu_s: float
    requests: int
    kilobytes: float


class Place(NamedTuple):
    """An empty store: its URL, one of it through the proxy, and what has gone through that by now."""

    url: str
    through: str
    counted: Callable[[], tuple[int, int]]


@contextmanager
def place(name: str, folder: Path) -> Generator[Place]:
    """Yield an empty store; its server and the proxy end with the block."""
    if name == "sqlite":
        url = f"sqlite:///{folder}/journal.db"
        yield Place(f"{url}?synchronous=normal", url, lambda: (0, 0))
        return
    program = path_of(PROGRAMS[name])
    if program is None:
        sys.exit(f"{name} is not there: scripts/real_servers.sh {PROGRAMS[name]}")
    (folder / name).mkdir()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(name, program, folder / name, theirs))
    process.start()
    theirs.close()
    with closing(ours):
        url, through = ours.recv()

        def counted() -> tuple[int, int]:
            ours.send(None)
            return ours.recv()

        yield Place(url, through, counted)
    process.join(60)


def serve(name: str, program: Path, folder: Path, asked: Connection) -> None:
    """Run a server with the proxy before it; say its URLs, then what was counted whenever asked, until nobody asks."""
    kind: Any = SERVERS[name]
    with running(kind(program, folder)) as server:
        backend = Backend(name, server)
        with (
            backend.proxy(lambda call: SLOW if SLOW in call.can else None, slow_s=LATENCY_S) as proxy,
            suppress(EOFError),
        ):
            url = backend.fresh()
            asked.send((url, backend.through(url, proxy)))
            while True:
                asked.recv()
                asked.send((proxy.calls.total(), proxy.answered_bytes))


def measured(name: str, count: int, folder: Path) -> tuple[dict[int, dict[str, Figure]], dict[str, Figure]]:
    """Return what each question about one session, and then of all, took; of one session by how many there were."""
    by_size: dict[int, dict[str, Figure]] = {}
    with place(name, folder) as at:
        now_ns, filled = time.time_ns(), 0
        os.environ.update(AGENT_JOURNAL_STORE=at.through, AGENT_JOURNAL_SPOOL=str(folder / "spool"))
        for size in sorted({*SIZES, count}):
            with closing(open_store(at.url)) as store:
                seconds, _ = took(lambda: fill(store, filled, size, now_ns))  # noqa: B023 - done before the next
            filled = size
            print(f"{name}: {size:,} sessions, the last of them written in {seconds:.0f} s", flush=True)
            with closing(open_store(at.through)) as store:
                assert next(store.sessions()) is not None  # connected
                asked = questions(store, folder / "spool", session_id_of(0), _wait)
                by_size[size] = {one.name: _figure(one, at) for one in asked}
        with closing(open_store(at.through)) as store:
            assert next(store.sessions()) is not None
            return by_size, {one.name: _figure(one, at) for one in of_all(store, now_ns, count)}


def _wait(session_id: str) -> str:
    return wait_for(session_id, timeout_s=60).status


def _figure(asked: Asked, at: Place) -> Figure:
    before, cpu_s = at.counted(), time.process_time()
    seconds, answer = took(asked.ask)
    cpu_s = time.process_time() - cpu_s
    assert answer, asked.name
    after = at.counted()
    figure = Figure(seconds, cpu_s, after[0] - before[0], (after[1] - before[1]) / 1000)
    print(f"  {asked.name}: {figure}", flush=True)
    return figure


def broken(by_size: dict[int, dict[str, Figure]], of_all: dict[str, Figure]) -> list[str]:
    """Return which bounds are broken."""
    count = max(by_size)
    figures = by_size[count] | of_all
    bounds = BOUNDS_S | {"prune": PRUNED_S * (count // 10)}
    late = [name for name, bound_s in bounds.items() if figures[name].seconds > bound_s]
    return late + [name for name in OF_ONE if len({said[name].requests for said in by_size.values()}) > 1]


def main() -> int:
    """Measure and print; return 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", default="sqlite,postgresql", help=f"of sqlite,{','.join(NAMES)}")
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count = max(SIZES) if options.quick else options.sessions
    os.environ.update(AWS)
    said: dict[str, dict[str, Any]] = {}
    tables: list[Table] = []
    for name in options.stores.split(","):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # which PostgreSQL's user may enter
            Path(folder).chmod(0o755)
            by_size, of_all_there = measured(name, count, Path(folder))
        failed = broken(by_size, of_all_there)
        said[name] = {"by_size": by_size, "of_all": of_all_there, "broken": failed}
        table = Table(f"{name}: {count:,} sessions of {EACH} events, {LATENCY_S * 1000:g} ms a request")
        table.columns(
            "asked",
            f"requests among {', '.join(f'{size:,}' for size in by_size)}",
            "kB",
            "seconds",
            "of it our CPU",
            "",
        )
        for asked, figure in (by_size[count] | of_all_there).items():
            sizes = by_size.values() if asked in by_size[count] else (of_all_there,)
            requests = ", ".join(f"{figures[asked].requests:,}" for figures in sizes)
            verdict = Table.verdict(asked not in failed if asked in {*BOUNDS_S, *OF_ONE, "prune"} else None)
            table.row(
                asked, requests, f"{figure.kilobytes:,.0f}", f"{figure.seconds:.2f}", f"{figure.cpu_s:.2f}", verdict
            )
        tables.append(table)
    if options.json:
        write_json(options.json, {"sessions": count, "stores": said})
    for table in tables:
        table.print()
    return 1 if any(one["broken"] for one in said.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
