"""A gateway before two receivers of one journal, and agents' own Collectors before the gateway."""

from __future__ import annotations

import contextlib
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal import open_store
from scripts.ports import reserved_port
from tests.real.fixtures import server_program
from tests.real.otlp import Sink, eventually, send
from tests.real.servers import Collector, running
from tests.receiver.collecting import ANY, Collecting

RETRY = "retry_on_failure: {initial_interval: 100ms, max_interval: 300ms}"
FAST = {
    "gateway.yaml": [f"yaml:exporters::load_balancing/journal::{RETRY}"],
    "gateway-two-queues.yaml": [f"yaml:exporters::otlp_grpc/journal_{number}::{RETRY}" for number in (1, 2)],
    "agent.yaml": [f"yaml:exporters::otlp_grpc/gateway::{RETRY}"],
}
TRACES = 12


class Receivers:
    """Two receivers, each with its own spool, that deliver into one store."""

    def __init__(self, folder: Path) -> None:
        self.addresses = [f"127.0.0.1:{reserved_port()}" for _ in range(2)]
        self._folder = folder
        self._url = f"sqlite:///{folder}/journal.db"
        self._running: dict[int, Collecting] = {}
        self._writers: dict[int, set[str | None]] = {0: set(), 1: set()}

    def start(self, number: int) -> None:
        """Start one, and learn by what name it writes."""
        folder = self._folder / f"receiver-{number}"
        folder.mkdir(exist_ok=True)
        address = self.addresses[number]
        started = Collecting(folder, "--grpc", address, "--http", ANY, url=self._url)
        self._running[number] = started
        session_id = uuid.uuid4().hex
        send(address, uuid.uuid4().hex, 1, session_id)
        eventually(lambda: started.events(session_id))
        self._writers[number] |= {event.writer for event in started.events(session_id)}

    def kill(self, number: int) -> None:
        """Kill one with all its processes."""
        self._running.pop(number).close()

    def received(self, number: int) -> int:
        """Return how many spans one has acknowledged."""
        with urllib.request.urlopen(f"http://{self._running[number].http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("agent_journal_receiver_received_total"))

    def took(self, trace_id: str) -> list[int]:
        """Return which of the receivers wrote what is in the store of a trace's session, which has its id."""
        writers = {event.writer for event in self.events(trace_id)}
        return [number for number, own in self._writers.items() if writers & own]

    def events(self, session_id: str) -> list:
        """Return what is in the store of a session."""
        store = open_store(self._url)
        try:
            return list(store.read(session_id))
        finally:
            store.close()

    def has(self, trace_ids: list[str], spans: int) -> bool:
        """Tell whether so many spans of each trace are in the store: two events a span."""
        return all(len(self.events(trace_id)) == 2 * spans for trace_id in trace_ids)


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    """Both running."""
    both = Receivers(tmp_path)
    with contextlib.ExitStack() as ending:
        for number in range(2):
            both.start(number)
            ending.callback(lambda number=number: both.kill(number) if number in both._running else None)
        yield both


def gateway_to(first: str, second: str, folder: Path, config: str) -> Collector:
    """Return a gateway before two backends, to be started."""
    folder.mkdir()
    return Collector(server_program("collector"), folder, config, *FAST[config], journal_1=first, journal_2=second)


@pytest.mark.parametrize("config", ["gateway.yaml", "gateway-two-queues.yaml"])
def test_a_trace_stays_with_one_receiver(receivers: Receivers, tmp_path: Path, config: str) -> None:
    """Each trace goes to one of the two, also after that one was killed, and the gateway too; all spans arrive."""
    traces = [uuid.uuid4().hex for _ in range(TRACES)]
    gateway = gateway_to(*receivers.addresses, tmp_path / "gateway", config)
    with running(gateway):
        for trace_id in traces:
            send(gateway.grpc, trace_id, [1, 2], trace_id)
        eventually(lambda: receivers.has(traces, 2))
        assert all(receivers.received(number) > 1 for number in range(2)), "both have some"
        before = {trace_id: receivers.took(trace_id) for trace_id in traces}
        receivers.kill(0)
        for trace_id in traces:
            send(gateway.grpc, trace_id, [3, 4], trace_id)  # acknowledged: it is in the queue
        gateway.stop()  # a SIGKILL
        gateway.start()
        receivers.start(0)
        eventually(lambda: receivers.has(traces, 4))
        assert {trace_id: receivers.took(trace_id) for trace_id in traces} == before
    assert sorted({number for (number,) in before.values()}) == [0, 1], "one for each trace, and both were used"


def test_one_receiver_that_is_away_for_long(tmp_path: Path) -> None:
    """With a queue for each receiver, one that is away holds up its own traces alone, however many batches wait."""
    away = f"127.0.0.1:{reserved_port()}"
    with Sink() as there:
        gateway = gateway_to(there.address, away, tmp_path / "gateway", "gateway-two-queues.yaml")
        with running(gateway):
            for number in range(3):
                for digit in range(16):
                    send(gateway.grpc, f"{number + 1:031x}{digit:x}", [number * 16 + digit + 1])
                eventually(lambda number=number: len(set(there.span_ids())) == (number + 1) * 8)
            with Sink(away) as back:
                eventually(lambda: len(set(back.span_ids())) == 3 * 8)
    assert not set(there.span_ids()) & set(back.span_ids())


def test_agents_own_collectors(tmp_path: Path) -> None:
    """While the gateway is away an agent's spans are on its own machine's disk, killed Collector or not."""
    with Sink() as one, Sink() as other:
        program = server_program("collector")
        gateway = gateway_to(one.address, other.address, tmp_path / "gateway", "gateway.yaml")
        agent = Collector(program, tmp_path, "agent.yaml", *FAST["agent.yaml"], gateway=gateway.grpc)
        with running(agent):
            for number in range(TRACES):
                send(agent.grpc, f"{number + 1:032x}", [number + 1])
            agent.stop()  # a SIGKILL
            agent.start()
            with running(gateway):
                eventually(lambda: len({*one.span_ids(), *other.span_ids()}) == TRACES)
    assert one.span_ids()
    assert other.span_ids()
