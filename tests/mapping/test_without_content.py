"""What a receiver keeps where content is off: no content, and all that the journal would have had without it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.codec import DIGEST_BYTES, encode_value, intact, sealed
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import BlobKept, SpansReceived, events_of
from otel_agent_journal.mapping.harmless import harmless_fact
from otel_agent_journal.mapping.log_record import (
    WriterHeard,
    blob_record,
    carried,
    event_record,
    heartbeat_record,
    log_records,
    request_of,
)
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.mapping.without_content import logs_without_content, spans_without_content
from tests.mapping.recordings import DIALECTS, played, request

SECRET = "a secret of somebody"
WRITER = "w" * 32


def journaled(received: SpansReceived) -> list[JournalEvent]:
    """Return what is journaled of a request with content off."""
    return [
        event for fact in ReceivedSpans().facts(received) for event in events_of(harmless_fact(fact), WRITER) if event
    ]


def reduced(received: SpansReceived) -> SpansReceived:
    """Return a request as it is kept."""
    told = ExportTraceServiceRequest.FromString(received.request)
    spans_without_content(told)
    return SpansReceived(received.received_ns, told.SerializeToString(), reduced=True)


def with_secrets(received: SpansReceived) -> SpansReceived:
    """Return a request with secrets on each of its spans, and around them."""
    told: Any = ExportTraceServiceRequest.FromString(received.request)
    for of_resource in told.resource_spans:
        of_resource.resource.attributes.add(key="app.note").value.string_value = SECRET
        for of_scope in of_resource.scope_spans:
            of_scope.scope.attributes.add(key="why").value.string_value = SECRET
            for span in of_scope.spans:
                for name in ("app.note", "input.value", "traceloop.entity.input", "gen_ai.system_instructions"):
                    span.attributes.add(key=name).value.string_value = SECRET
                link = span.links.add(trace_id=b"1" * 16, span_id=b"2" * 8, trace_state=SECRET)
                link.attributes.add(key="why").value.string_value = SECRET
                span.events.add(name=SECRET, time_unix_nano=1).attributes.add(key="a").value.string_value = SECRET
                span.trace_state = f"vendor={SECRET}"
                span.status.code, span.status.message = 2, SECRET
    return SpansReceived(received.received_ns, told.SerializeToString())


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("secrets", [False, True])
def test_the_journal_is_the_same(dialect: str, secrets: bool) -> None:
    """Whether content is taken out before the request is kept or when it is read: the same events, ids and all."""
    received = request(played(dialect))
    if secrets:
        received = with_secrets(received)
        assert SECRET.encode() in received.request
    kept = reduced(received)
    assert SECRET.encode() not in kept.request
    assert journaled(kept) == journaled(received)
    assert len(kept.request) < len(received.request)


def test_values_of_each_kind() -> None:
    """Numbers, truth values, texts and lists stay what they are; what is no text of a user's is left out."""
    told: Any = ExportTraceServiceRequest()
    of_resource = told.resource_spans.add()
    for key, value in {"session.id": "s-1", "service.name": "billing"}.items():
        of_resource.resource.attributes.add(key=key).value.string_value = value
    span = of_resource.scope_spans.add().spans.add(
        trace_id=b"1" * 16, span_id=b"2" * 8, name="chat m", start_time_unix_nano=1, end_time_unix_nano=2
    )
    span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 7
    span.attributes.add(key="gen_ai.request.temperature").value.double_value = 0.5
    span.attributes.add(key="gen_ai.request.stream").value.bool_value = True
    reasons = span.attributes.add(key="gen_ai.response.finish_reasons").value.array_value
    reasons.values.add(string_value="stop")

    span.attributes.add(key="gen_ai.tool.name")  # without a value
    span.attributes.add(key="gen_ai.response.id").value.bytes_value = b"id"
    span.attributes.add(key="gen_ai.request.model").value.kvlist_value.values.add(key="a").value.string_value = "b"
    span.attributes.add(key="user.id").value.string_value = "ann"
    received = SpansReceived(1, told.SerializeToString())
    start, end = journaled(reduced(received))
    assert (start.session_id, end.session_id) == ("s-1", "s-1")
    assert end.usage is not None
    assert end.usage.input_tokens == 7
    assert end.details["user"] == "ann"
    assert end.details["attributes"] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": b"id",
    }


def test_log_records() -> None:
    """An event is reduced and sealed, a heartbeat stays, a value and what cannot be read are taken out, and told."""
    told = JournalEvent(
        session_id="s",
        event_id="1" * 32,
        type="CALL_FAILED",
        timestamp_ns=1,
        writer=WRITER,
        details={"input": SECRET, "stage": "billing"},
    )
    plain = JournalEvent(session_id="s", event_id="2" * 32, type="SESSION_ENDED", timestamp_ns=2, writer=WRITER)
    heard = WriterHeard(WRITER, 3, ("s",))
    data = encode_value(SECRET)
    value = BlobKept("s", blake2b(data, digest_size=DIGEST_BYTES).hexdigest(), data)
    torn = event_record(sealed(plain), 1)
    torn.body.string_value = f'{{"{SECRET}'
    records = [event_record(sealed(told), 1), event_record(sealed(plain), 1), heartbeat_record(heard, 1)]
    made: Any = request_of([*records, blob_record(value, 1), torn], {"service.name": "billing", "app.note": SECRET})
    made.resource_logs[0].scope_logs[0].scope.attributes.add(key="why").value.string_value = SECRET
    problems, values = logs_without_content(made)
    assert (len(problems), values) == (1, 1)
    kept = made.SerializeToString()
    assert SECRET.encode() not in kept
    first, second, third = map(carried, log_records(ExportLogsServiceRequest.FromString(kept)))
    assert isinstance(first, JournalEvent)
    assert first.details == {"stage": "billing"}
    assert intact(first)
    assert (second, third) == (sealed(plain), heard)
