"""Tail sampling: Jaeger has the traces that are worth a look, the journal has all of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.ports import reserved_port
from tests.real.fixtures import server_program
from tests.real.jaeger import Jaeger
from tests.real.otlp import FAST, PATIENCE_S, eventually, send
from tests.real.servers import Collector, running
from tests.receiver.collecting import ANY, Collecting

ORDINARY = 40  # of which half are to be in Jaeger: that it is none or all of them is as likely as not at 1 in 10^12
SPANS = 3


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[Collecting]:
    """A receiver."""
    with Collecting(tmp_path, "--grpc", f"127.0.0.1:{reserved_port()}", "--http", ANY) as running:
        yield running


def sampling(folder: Path, collecting: Collecting, jaeger: Jaeger, decision_wait: str) -> Collector:
    """Return a Collector that samples for Jaeger alone, to be started."""
    return Collector(
        server_program("collector"),
        folder,
        "tail-sampling.yaml",
        FAST,
        journal=collecting.grpc,
        jaeger=jaeger.otlp_grpc.removeprefix("http://"),
        decision_wait=decision_wait,
        sampled_percent="50",
    )


def failed(span: Any) -> None:
    """Make it one that ended with an error."""
    span.status.code = 2


def slow(span: Any) -> None:
    """Make it take a minute."""
    span.end_time_unix_nano = span.start_time_unix_nano + 60 * 10**9


def journaled(collecting: Collecting, traces: list[str]) -> bool:
    """Tell whether every span of every trace is in the journal; a trace's session is named as itself."""
    return all(len(collecting.events(trace_id)) == 2 * SPANS for trace_id in traces)


def test_errors_slow_ones_and_some_of_the_rest(tmp_path: Path, collecting: Collecting, jaeger: Jaeger) -> None:
    """Jaeger has each trace with an error, each slow one and a share of the others, whole; the journal has all."""
    kinds = {"failed": failed, "slow": slow}
    chosen = {uuid.uuid4().hex: change for change in (*kinds.values(), *kinds.values())}
    ordinary = [uuid.uuid4().hex for _ in range(ORDINARY)]
    with running(sampling(tmp_path, collecting, jaeger, "1s")) as collector:
        for trace_id, change in {**chosen, **dict.fromkeys(ordinary)}.items():
            send(collector.grpc, trace_id, SPANS, trace_id, change=change)
        eventually(lambda: journaled(collecting, [*chosen, *ordinary]))
        for trace_id in chosen:
            jaeger.trace(trace_id, until=lambda trace: len(trace["spans"]) == SPANS, timeout_s=PATIENCE_S)
        judged = "otelcol_processor_tail_sampling_global_count_traces_sampled"
        eventually(lambda: collector.metric(judged) == len(chosen) + ORDINARY)
        eventually(lambda: collector.metric("otelcol_exporter_queue_size") == 0)
        kept = int(collector.metric(judged, sampled="true"))
    found = [trace for trace_id in ordinary if (trace := jaeger.find_trace(trace_id))]
    assert len(found) == kept - len(chosen)
    assert 0 < len(found) < ORDINARY
    assert {len(trace["spans"]) for trace in found} == {SPANS}


def test_a_kill_before_the_verdict(tmp_path: Path, collecting: Collecting, jaeger: Jaeger) -> None:
    """What a SIGKILL finds undecided was acknowledged and never reaches Jaeger; the journal has it."""
    trace_id, later = uuid.uuid4().hex, uuid.uuid4().hex
    with running(sampling(tmp_path, collecting, jaeger, "1h")) as collector:
        send(collector.grpc, trace_id, SPANS, trace_id, change=failed)
        eventually(lambda: journaled(collecting, [trace_id]))
        collector.stop()  # a SIGKILL
    with running(sampling(tmp_path, collecting, jaeger, "1s")) as collector:
        send(collector.grpc, later, SPANS, later, change=failed)
        jaeger.trace(later, timeout_s=PATIENCE_S)
    assert jaeger.find_trace(trace_id) is None
