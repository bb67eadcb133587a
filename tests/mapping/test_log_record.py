"""Events as log records and back: nothing of an event is lost, and nothing else is taken for one."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_agent_journal.codec import DIGEST_BYTES, intact, sealed
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import BlobKept
from otel_agent_journal.mapping.log_record import (
    BLOB,
    HEARTBEAT,
    WriterHeard,
    blob_record,
    carried,
    event_record,
    heartbeat_record,
    is_carried,
    log_records,
    request_of,
)
from tests.strategies import events

DATA = b'"' + b"x" * 100 + b'"'
DIGEST = blake2b(DATA, digest_size=DIGEST_BYTES).hexdigest()


def over_the_wire(record: LogRecord) -> LogRecord:
    """Return a record as a receiver has it."""
    request = request_of([record], {"service.name": "a"}).SerializeToString()
    (found,) = log_records(ExportLogsServiceRequest.FromString(request))
    return found


@given(events)
def test_an_event_comes_back_as_it_was(event: JournalEvent) -> None:
    """Every field, its digest too."""
    if event.seq is not None:
        return
    sent = sealed(event)
    record = over_the_wire(event_record(sent, 7))
    assert is_carried(record)
    found = carried(record)
    assert isinstance(found, JournalEvent)
    assert sealed(found).digest == found.digest == sent.digest
    assert intact(found)
    assert found.key == sent.key


def test_an_event_whose_text_was_mended() -> None:
    """Bytes that were no text, replaced on the way, cost neither the event nor its digest."""
    sent = sealed(JournalEvent(session_id="s", event_id="e" * 32, type="NOTE", timestamp_ns=5, details={"a": "b@@c"}))
    record = event_record(sent, 7)
    record.body.string_value = record.body.string_value.replace("@@", "\ufffd")
    found = carried(record)
    assert isinstance(found, JournalEvent)
    assert found.details == {"a": "b\ufffdc"}
    assert intact(found)


def test_what_other_readers_of_logs_see() -> None:
    """Name, time, severity, ids and session are where OTLP has them."""
    event = JournalEvent(
        session_id="s",
        event_id="e" * 32,
        type="TOOL_START",
        timestamp_ns=5,
        level="WARNING",
        step_id="f" * 32,
        trace_id="a" * 32,
        span_id="b" * 16,
    )
    record = event_record(event, 9)
    assert (record.event_name, record.time_unix_nano, record.observed_time_unix_nano) == (
        "agent_journal.tool_start",
        5,
        9,
    )
    assert (record.severity_number, record.severity_text) == (13, "WARNING")
    assert (record.trace_id.hex(), record.span_id.hex()) == ("a" * 32, "b" * 16)
    assert {pair.key: pair.value.string_value for pair in record.attributes} == {
        "gen_ai.conversation.id": "s",
        "agent_journal.event.id": "e" * 32,
        "agent_journal.step.id": "f" * 32,
    }


def test_ids_that_are_none_are_left_out_of_the_record_alone() -> None:
    """An event of another writer may have any text there."""
    event = JournalEvent(session_id="s", event_id="e", type="X", timestamp_ns=5, trace_id="no hex", span_id="ab")
    record = event_record(event, 9)
    assert (record.trace_id, record.span_id) == (b"", b"")
    found = carried(record)
    assert isinstance(found, JournalEvent)
    assert (found.trace_id, found.span_id) == ("no hex", "ab")


def test_heartbeats_and_values() -> None:
    """They come back as they were."""
    heard = WriterHeard("w", 5, ("s1", "s2"))
    assert carried(over_the_wire(heartbeat_record(heard, 9))) == heard
    blob = BlobKept("s", DIGEST, DATA)
    assert carried(over_the_wire(blob_record(blob, 9))) == blob
    picture = BlobKept("s", DIGEST, DATA, "image/png")
    assert carried(over_the_wire(blob_record(picture, 9))) == picture


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (LogRecord(event_name="agent_journal.x"), "not JSON"),
        (LogRecord(event_name=HEARTBEAT), "not a heartbeat"),
        (LogRecord(event_name=BLOB), "not a value of a session"),
    ],
)
def test_what_is_not_what_its_name_says(record: LogRecord, said: str) -> None:
    """It is refused, with why."""
    with pytest.raises(CodecError, match=said):
        carried(record)


def test_a_value_that_is_not_that_of_its_digest() -> None:
    """It is refused: whoever refers to it means another."""
    record = blob_record(BlobKept("s", DIGEST, DATA), 9)
    record.body.bytes_value = DATA + b" "
    with pytest.raises(CodecError, match="digest"):
        carried(record)


def test_context_events_do_not_travel() -> None:
    """Their order is for a store to decide."""
    event = JournalEvent(session_id="s", event_id="e", type="USER_MESSAGE", timestamp_ns=5, instance_id="i", seq=0)
    with pytest.raises(CodecError, match="of a context"):
        carried(event_record(event, 9))


def test_other_log_records_are_none_of_the_journals() -> None:
    """Only the name tells."""
    assert not is_carried(LogRecord(event_name="gen_ai.choice"))
    assert not is_carried(LogRecord())
