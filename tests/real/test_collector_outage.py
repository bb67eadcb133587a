"""A receiver that is away, a Collector that is killed meanwhile, and what that leaves on the disk."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from scripts.ports import reserved_port
from tests.real.fixtures import server_program
from tests.real.otlp import FAST, Sink, eventually, send
from tests.real.servers import Collector, running
from tests.receiver.collecting import ANY, Collecting

ROUNDS = 3
COMPACTION = "yaml:extensions::file_storage/queue::compaction"


def collector_to(at_journal: str, folder: Path, *laid_over: str) -> Collector:
    """Return a Collector as for a receiver that is away for a day."""
    program = server_program("collector")
    return Collector(program, folder, "receiver-away-for-a-day.yaml", FAST, *laid_over, journal=at_journal)


def test_a_receiver_that_is_away(tmp_path: Path) -> None:
    """All that was acknowledged while it was away is in the journal, each once, although the Collector was killed."""
    at_journal = f"127.0.0.1:{reserved_port()}"
    collector = collector_to(at_journal, tmp_path)
    with running(collector):
        for number in range(ROUNDS):
            send(collector.grpc, uuid.uuid4().hex, range(number * 20 + 1, number * 20 + 21), "s1")
            collector.stop()  # a SIGKILL
            collector.start()
        assert collector.metric("otelcol_exporter_queue_size", data_type="traces") > 0
        with Collecting(tmp_path, "--grpc", at_journal, "--http", ANY) as collecting:
            eventually(lambda: len(collecting.events("s1")) >= 2 * 20 * ROUNDS)
            eventually(lambda: collector.metric("otelcol_exporter_queue_size") == 0)
            collecting.stop()
            events = collecting.events("s1")
    assert len(events) == len({event.event_id for event in events}) == 2 * 20 * ROUNDS


@pytest.mark.parametrize("compacting", [True, False])
def test_the_file_of_the_queue(tmp_path: Path, compacting: bool) -> None:
    """Once what waited has been sent, its file gives the disk back; without compaction it keeps its greatest size."""
    at_journal = f"127.0.0.1:{reserved_port()}"
    how = f"on_rebound: {str(compacting).lower()}, rebound_needed_threshold_mib: 6, rebound_trigger_threshold_mib: 1"
    collector = collector_to(at_journal, tmp_path, f"{COMPACTION}: {{{how}, check_interval: 100ms}}")
    with running(collector):
        file = collector.queue / "exporter_otlp_grpc_journal_traces"
        for number in range(4):
            spans = range(number * 20 + 1, number * 20 + 21)
            send(collector.grpc, "a" * 32, spans, change=lambda span: span.attributes.add(key="k" * 100_000))
        largest = file.stat().st_size
        assert largest > 8_000_000
        with Sink(at_journal) as sink:
            eventually(lambda: len(set(sink.span_ids())) == 80)
            eventually(lambda: collector.metric("otelcol_exporter_queue_size") == 0)
            if compacting:
                eventually(lambda: file.stat().st_size < 1_000_000)
            else:
                time.sleep(0.5)  # five times as long as it takes to look
                assert file.stat().st_size >= largest
