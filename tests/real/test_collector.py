"""Through the stock Collector: every span in the journal and in Jaeger, whichever of them is away meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.ports import reserved_port
from tests.real.fixtures import server_program
from tests.real.jaeger import Jaeger
from tests.real.otlp import FAST, PATIENCE_S, eventually, send
from tests.real.servers import Collector, running
from tests.receiver.collecting import ANY, Collecting


@pytest.fixture
def at_journal() -> str:
    """Where the receiver is to listen."""
    return f"127.0.0.1:{reserved_port()}"


@pytest.fixture
def collector(tmp_path: Path, jaeger: Jaeger, at_journal: str) -> Iterator[Collector]:
    """A Collector before a receiver and a Jaeger."""
    program = server_program("collector")
    target = jaeger.otlp_grpc.removeprefix("http://")
    server = Collector(program, tmp_path, "jaeger-and-journal.yaml", FAST, journal=at_journal, jaeger=target)
    with running(server):
        yield server


def test_both_ways(tmp_path: Path, collector: Collector, jaeger: Jaeger, at_journal: str) -> None:
    """What is sent to the Collector is in Jaeger and in the journal."""
    trace_id = uuid.uuid4().hex
    with Collecting(tmp_path, "--grpc", at_journal, "--http", ANY) as collecting:
        send(collector.grpc, trace_id, 5, "s1")
        assert (
            len(jaeger.trace(trace_id, until=lambda trace: len(trace["spans"]) == 5, timeout_s=PATIENCE_S)["spans"])
            == 5
        )
        eventually(lambda: len(collecting.events("s1")) == 10)
        assert {event.trace_id for event in collecting.events("s1")} == {trace_id}


def test_whoever_is_away(tmp_path: Path, collector: Collector, jaeger: Jaeger, at_journal: str) -> None:
    """A receiver that comes late or is killed, a Collector that is killed: nothing that was acknowledged is lost."""
    traces = [uuid.uuid4().hex for _ in range(3)]
    send(collector.grpc, traces[0], 20, "s1")  # nobody takes it yet but the queue
    collector.stop()  # a SIGKILL
    collector.start()
    with Collecting(tmp_path, "--grpc", at_journal, "--http", ANY) as collecting:
        send(collector.grpc, traces[1], 20, "s1")
        eventually(lambda: len(collecting.events("s1")) == 80)
        collecting.kill()
        send(collector.grpc, traces[2], 20, "s1")
    with Collecting(tmp_path, "--grpc", at_journal, "--http", ANY) as collecting:
        eventually(lambda: len(collecting.events("s1")) == 120)
        collecting.stop()
        events = collecting.events("s1")
        assert len(events) == len({event.event_id for event in events}) == 120
    for trace_id in traces:
        jaeger.trace(trace_id, until=lambda trace: len(trace["spans"]) == 20, timeout_s=PATIENCE_S)
