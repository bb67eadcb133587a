"""What was set aside is tried again: what passes goes, the rest stays, and nothing is lost between."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.codec import sealed
from otel_agent_journal.delivery.reception import new_reception
from otel_agent_journal.delivery.redelivery import Redelivered, redeliver
from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import BlobKept, LogsReceived, SpansReceived, encode_fact
from otel_agent_journal.mapping.log_record import event_record
from otel_agent_journal.spool.set_aside import SetAside, count, kept
from otel_agent_journal.store.memory import MemoryStore
from tests.spool.spooling import noted


def event(number: int) -> JournalEvent:
    """Return an event."""
    return sealed(
        JournalEvent(
            session_id="s1", event_id=f"{number:032x}", type="NOTED", timestamp_ns=number, details={"n": number}
        )
    )


class Refusing(MemoryStore):
    """Refuses the events with these numbers."""

    def __init__(self, *numbers: int, error: Exception | None = None) -> None:
        super().__init__()
        self.numbers, self.error = numbers, error or StoreError("not this one")

    def append(self, events):
        if any(event.details.get("n") in self.numbers for event in events):
            raise self.error
        super().append(events)


def again(root: Path, store: MemoryStore) -> Redelivered:
    """Try again, with little patience."""
    return redeliver(root, store, reception=new_reception, patience_s=0.2)


def test_every_form_is_delivered(tmp_path: Path) -> None:
    """Events, facts, values, and requests that were received; the head has what was delivered."""
    logs, spans = ExportLogsServiceRequest(), ExportTraceServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.append(event_record(event(3), 1))
    span = spans.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id = b"\x01" * 16, b"\x02" * 8
    span.name, span.start_time_unix_nano, span.end_time_unix_nano = "chat", 10, 20
    span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
    shelf = SetAside(tmp_path)
    shelf.add_event(event(1), "no", 0)
    for fact in (
        noted(2),
        encode_fact(BlobKept("s1", "digest", b"{}")),
        encode_fact(LogsReceived(1, logs.SerializeToString())),
        encode_fact(SpansReceived(1, spans.SerializeToString())),
    ):
        shelf.add_record(fact, "w", "no", 0)
    store = MemoryStore()
    assert again(tmp_path, store) == Redelivered(delivered=5)
    assert [found.details["n"] for found in store.read("s1")] == [1, 3, 2]
    assert store.get_blob("s1", "digest") == b"{}"
    assert [found.type for found in store.read("01" * 16)] == ["MODEL_START", "MODEL_END"]
    head = store.head("s1")
    assert head is not None
    assert head.events == 3
    assert count(tmp_path) == 0


def test_what_is_refused_again_stays(tmp_path: Path) -> None:
    """As it is, and so does what nobody can read; trying again changes nothing."""
    shelf = SetAside(tmp_path)
    for number in range(4):
        shelf.add_event(event(number), "no", 0)
    shelf.add_record(b"\xffgarbage", "w", "not a fact", 0)
    shelf.add_event(event(9), "no", 0)
    list(kept(tmp_path))[-1][0].write_text("{")
    left = {path: path.read_bytes() for path, _ in [list(kept(tmp_path))[at] for at in (0, 2, 4, 5)]}
    store = Refusing(0, 2)
    done = again(tmp_path, store)
    assert (done.delivered, done.left) == (2, 4)
    assert "cannot be read" in (done.last_error or "")
    assert again(tmp_path, store).delivered == 0
    assert {path: path.read_bytes() for path, _ in kept(tmp_path)} == left
    store.numbers = ()
    assert again(tmp_path, store).delivered == 2
    assert [found.details["n"] for found in store.read("s1")] == [0, 1, 2, 3]


def test_a_store_that_is_away_loses_nothing(tmp_path: Path) -> None:
    """What was delivered before it went is gone from there, the rest is tried again."""
    shelf = SetAside(tmp_path)
    for number in range(3):
        shelf.add_event(event(number), "no", 0)
    store = Refusing(1, error=StoreUnreachable("away"))
    with pytest.raises(StoreUnreachable, match="away"):
        again(tmp_path, store)
    assert count(tmp_path) == 2
    store.numbers = ()
    assert again(tmp_path, store) == Redelivered(delivered=2)
    assert [found.details["n"] for found in store.read("s1")] == [0, 1, 2]
