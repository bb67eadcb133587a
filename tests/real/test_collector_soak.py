"""Agents, a Collector, Jaeger and the journal, of which any dies or is away: nothing is lost, and nothing there twice.

Agents send through a real Collector to a real Jaeger and to `agent-journal collect`; each witnesses what was
acknowledged to it. 2,000 spans into SQLite; with AGENT_JOURNAL_SOAK=1 100,000, and stores that are away and throttled.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from otel_agent_journal.event import step_event_id
from otel_agent_journal.mapping.from_otlp import span_records
from otel_agent_journal.mapping.to_events import step_id_of
from otel_agent_journal.store.registry import open_store
from scripts.ports import reserved_port
from tests.real.backends import SERVERS, Backend
from tests.real.fault_proxy import AtRandom, FaultProxy, nothing
from tests.real.fixtures import server_program
from tests.real.jaeger import Jaeger
from tests.real.servers import ROOT, Collector, running
from tests.real.soak_agent import PARTS, SPANS, Sent, witnessed
from tests.receiver.collecting import Collecting

SOAK: Final = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
AGENTS: Final = 4
TRACES: Final = 500 if SOAK else 10  # an agent
PACE_S: Final = 0.05 if SOAK else 0.25
ROUNDS: Final = 8 if SOAK else 1  # of one fault of each kind
PATIENCE_S: Final = 1800 if SOAK else 120
FEWER: Final = {"dynamodb": 20, "s3": 4}  # DynamoDB Local takes so much longer, and MinIO


class Pipe(FaultProxy):
    """Passes on bytes, whatever they mean; all that befalls it is an outage."""

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on until either end is gone."""
        other = {client: server, server: client}
        while True:
            for ready in select.select([client, server], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)


class Agents:
    """Processes that send, each with a file of what was acknowledged to it."""

    def __init__(self, folder: Path, address: str, traces: int) -> None:
        self._folder = folder
        self._address = address
        self._traces = traces
        self._lives = [0] * AGENTS
        self._processes = [self._start(number) for number in range(AGENTS)]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        first = len({sent.turn for sent in witnessed(self._witness(number))})
        life = self._lives[number] = self._lives[number] + 1
        arguments = (self._address, self._witness(number), number, life, first, self._traces, PACE_S)
        command = [sys.executable, "-m", "tests.real.soak_agent", *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)

    def _witness(self, number: int) -> Path:
        return self._folder / f"witness-{number}"

    def acknowledged(self) -> list[Sent]:
        """Return what was acknowledged to any of them so far."""
        return [sent for number in range(AGENTS) for sent in witnessed(self._witness(number))]

    def share(self) -> float:
        """Return how much of all there is to send is acknowledged."""
        return len(self.acknowledged()) / (AGENTS * self._traces * PARTS)

    def kill(self, number: int) -> None:
        """Kill one, and start it again where its witness ends."""
        self._processes[number].kill()
        self._processes[number].wait()
        self._processes[number] = self._start(number)

    def join(self) -> None:
        """Wait until all have sent everything."""
        for process in self._processes:
            assert process.wait(PATIENCE_S) == 0

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            process.kill()
            process.wait()


class Scene:
    """All that takes part, and what can befall it. `seeded` decides whom and for how long."""

    def __init__(self, folder: Path, url: str | None, collector: Collector, at_journal: str, traces: int) -> None:
        self.seeded = random.Random(16)
        self.collector = collector
        self.befallen: Counter[str] = Counter()
        self._folder = folder
        self._options = ("--grpc", at_journal, "--http", "127.0.0.1:0", *(("--store", url) if url else ()))
        self.journal = Collecting(folder, *self._options)
        try:
            self.agents = Agents(folder, collector.grpc, traces)
        except BaseException:
            self.journal.close()
            raise

    def kill_agent(self) -> None:
        """SIGKILL an agent."""
        self.agents.kill(self.seeded.randrange(AGENTS))

    def kill_collector(self) -> None:
        """SIGKILL the Collector."""
        self.collector.stop()
        self.collector.start()

    def kill_worker(self) -> None:
        """SIGKILL what serves OTLP."""
        workers = self.journal.workers()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        wait_for(lambda: self.journal.workers() not in ([], workers))

    def kill_journal(self) -> None:
        """SIGKILL all of `agent-journal collect`."""
        self.journal.close()
        self.journal = Collecting(self._folder, *self._options)

    def away(self, proxy: FaultProxy) -> Callable[[], None]:
        """Return what makes a backend go away for a while."""

        def befall() -> None:
            with proxy.outage():
                time.sleep(self.seeded.uniform(0.2, 2))

        return befall

    def throttled(self, proxy: FaultProxy) -> Callable[[], None]:
        """Return what makes three of ten calls fail for a while."""

        def befall() -> None:
            proxy.plan = AtRandom(0.3, seed=self.seeded.randrange(1000))
            time.sleep(self.seeded.uniform(0.5, 2))
            proxy.plan = nothing

        return befall

    def play(self, faults: dict[str, Callable[[], None]]) -> None:
        """Let all of them befall in each of some rounds, evenly over what there is to send; the journal's death last.

        After it nothing else dies, so that the metrics that it begins with must come out even.
        """
        order = [name for _ in range(ROUNDS) for name in self.seeded.sample(sorted(faults), len(faults))]
        order = [*(order if SOAK else [name for name in order if name != "journal"]), "journal"]
        shares = [(place + 1) / (len(order) + 2) for place in range(len(order))]
        for name, due in zip(order, shares, strict=True):
            wait_for(lambda due=due: self.agents.share() >= due)
            time.sleep(self.seeded.uniform(0, 0.2))
            faults[name]()
            self.befallen[name] += 1
        self.agents.join()

    def close(self) -> None:
        """Kill what still runs."""
        self.agents.close()
        self.journal.close()


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until it does."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def metrics(journal: Collecting) -> dict[str, int]:
    """Return what the receiver counts."""
    with urllib.request.urlopen(f"http://{journal.http}/metrics", timeout=10) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
    prefix = "agent_journal_receiver_"
    return {name.removeprefix(prefix).removesuffix("_total"): int(value) for name, value in lines}


def check_journal(url: str, acknowledged: list[Sent]) -> int:
    """Check that each span that was acknowledged is there, start and end, and no event twice; return how many are."""
    expected = {sent.session_id: set[str]() for sent in acknowledged}
    for sent in acknowledged:
        for record in span_records(sent.request()):
            ids = (step_event_id(step_id_of(record), 1, record.start_ns, kind) for kind in ("START", "END"))
            expected[sent.session_id].update(ids)
    store = open_store(url)
    try:
        wait_for(lambda: all(_events(store, session_id) >= len(ids) for session_id, ids in expected.items()))
        count = 0
        for session_id, ids in expected.items():
            found = [event.event_id for event in store.read(session_id)]
            assert len(found) == len(set(found))
            assert ids <= set(found)
            count += len(found)
        return count
    finally:
        store.close()


def _events(store: Any, session_id: str) -> int:
    head = store.head(session_id)
    return 0 if head is None else head.events


def check_metrics(journal: Collecting) -> dict[str, int]:
    """Check that everything is delivered and each span in one place."""
    wait_for(lambda: metrics(journal)["pending"] == 0 and metrics(journal)["spool_bytes"] == 0)
    counted = metrics(journal)
    settled = sum(counted[name] for name in ("stored", "duplicate", "rejected", "left_out", "set_aside"))
    assert counted["received"] + counted["recovered"] == settled
    assert counted["rejected"] == counted["left_out"] == counted["set_aside"] == 0
    return counted


def check_jaeger(jaeger: Jaeger, acknowledged: list[Sent]) -> None:
    """Check that Jaeger has every trace whole."""
    spans: dict[str, set[str]] = {}
    for sent in acknowledged:
        spans.setdefault(sent.trace_id, set()).update(sent.span_ids)

    def whole(trace_id: str) -> bool:
        trace = jaeger.find_trace(trace_id)
        return trace is not None and spans[trace_id] <= {span["spanID"] for span in trace["spans"]}

    for trace_id in spans:
        wait_for(lambda trace_id=trace_id: whole(trace_id))


@pytest.fixture(params=["sqlite", "postgresql", "dynamodb", "s3"] if SOAK else ["sqlite"])
def backend(request: pytest.FixtureRequest, aws: None) -> Backend | None:
    """A store that can be away and throttled; None: SQLite."""
    name: str = request.param
    return None if name == "sqlite" else Backend(name, request.getfixturevalue(SERVERS[name]))


@pytest.fixture
def to_jaeger(jaeger: Jaeger) -> Iterator[Pipe]:
    """The way to Jaeger."""
    with Pipe(int(jaeger.otlp_grpc.rpartition(":")[2])) as pipe:
        yield pipe


@pytest.mark.long_form
@pytest.mark.serial
@pytest.mark.timeout(3600 if SOAK else 240)
def test_nothing_is_lost_and_nothing_twice(
    tmp_path: Path, backend: Backend | None, jaeger: Jaeger, to_jaeger: Pipe
) -> None:
    """Every span that was acknowledged to an agent is in the journal once and in Jaeger, whoever died or was away."""
    began = time.monotonic()
    at_journal = f"127.0.0.1:{reserved_port()}"
    collector = Collector(
        server_program("collector"),
        tmp_path,
        "jaeger-and-journal.yaml",
        journal=at_journal,
        jaeger=f"127.0.0.1:{to_jaeger.port}",
    )
    traces = TRACES // (1 if backend is None else FEWER.get(backend.name, 1)) or 1
    with contextlib.ExitStack() as taking_part:
        url = through = None
        store: FaultProxy | None = None
        if backend is not None:
            url = backend.fresh()
            store = taking_part.enter_context(backend.proxy(silence_s=0.1, slow_s=0.05))
            through = backend.through(url, store)
        taking_part.enter_context(running(collector))
        scene = Scene(tmp_path, through, collector, at_journal, traces)
        taking_part.callback(scene.close)
        faults: dict[str, Callable[[], None]] = {
            "agent": scene.kill_agent,
            "collector": scene.kill_collector,
            "worker": scene.kill_worker,
            "journal": scene.kill_journal,
            "Jaeger away": scene.away(to_jaeger),
        }
        if store is not None:
            faults |= {"store away": scene.away(store), "store throttled": scene.throttled(store)}
        scene.play(faults)
        sent_s = time.monotonic() - began
        acknowledged = scene.agents.acknowledged()
        assert len(acknowledged) >= AGENTS * traces * PARTS - sum(scene.befallen.values())
        events = check_journal(url or scene.journal.url, acknowledged)
        stored_s = time.monotonic() - began
        counted = check_metrics(scene.journal)
        check_jaeger(jaeger, acknowledged)
        scene.journal.stop()
    print(
        f"\n{len(acknowledged) * SPANS:,} spans acknowledged in {sent_s:.0f} s, {events:,} events in the journal after"
        f" {stored_s:.0f} s, all looked at after {time.monotonic() - began:.0f} s; {dict(scene.befallen)};"
        f" at the end {counted}"
    )
