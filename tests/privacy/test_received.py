"""What a receiver is sent by others: with content off it journals of it what a process would of its own."""

from __future__ import annotations

import sqlite3
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.codec import DIGEST_BYTES, encode_line, encode_value
from otel_agent_journal.delivery.reception import Reception, Taken
from otel_agent_journal.event import SESSION_INTERRUPTED, SESSION_LINKED, ErrorInfo, JournalEvent
from otel_agent_journal.mapping.facts import BlobKept, LogsReceived, SpansReceived
from otel_agent_journal.mapping.log_record import blob_record, event_record, request_of
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.pipeline.content import ContentEncoder
from tests.mapping.recordings import DIALECTS, played, request
from tests.privacy.finding import bytes_below, found_in, secret
from tests.receiver.collecting import Collecting

PLACES = (
    "attribute",
    "attribute name",
    "content",
    "event",
    "event attribute",
    "link",
    "status",
    "trace state",
    "prompt",
)
SECRETS = {place: secret(number) for number, place in enumerate(PLACES)}
CONTENT = (
    "gen_ai.input.messages",
    "input.value",
    "output.value",
    "traceloop.entity.input",
    "gen_ai.completion.0.content",
)


def reception(*, content: bool) -> Reception:
    """Return what reads what was received, and journals content or not."""
    return Reception(ReceivedSpans(), began_ns=0, content=ContentEncoder(content=content))


def journaled(taken: Taken) -> Iterator[bytes]:
    """Yield what is to be delivered."""
    assert not taken.unreadable
    yield from map(encode_line, taken.events)
    yield from (blob.data for blob in taken.blobs)


def spans_of(dialect: str) -> SpansReceived:
    """Return a request of a dialect's spans, with secrets on each."""
    received = request(played(dialect))
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    told: Any = ExportTraceServiceRequest.FromString(received.request)
    for span in [span for one in told.resource_spans for scope in one.scope_spans for span in scope.spans]:
        span.attributes.add(key="app.note").value.string_value = SECRETS["attribute"]
        span.attributes.add(key=f"app.{SECRETS['attribute name']}").value.int_value = 7
        span.attributes.add(key="gen_ai.system_instructions").value.string_value = SECRETS["prompt"]
        for name in CONTENT:
            span.attributes.add(key=name).value.string_value = SECRETS["content"]
        event = span.events.add(name=SECRETS["event"], time_unix_nano=span.start_time_unix_nano)
        event.attributes.add(key="note").value.string_value = SECRETS["event attribute"]
        link = span.links.add(trace_id=b"1" * 16, span_id=b"2" * 8)
        link.attributes.add(key="why").value.string_value = SECRETS["link"]
        span.trace_state = f"vendor={SECRETS['trace state']}"
        span.status.code, span.status.message = 2, SECRETS["status"]
    return SpansReceived(received.received_ns, told.SerializeToString())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_spans_of_others(dialect: str) -> None:
    """Whatever the dialect, and wherever on a span it is said."""
    for content in (True, False):
        taken = Taken()
        reception(content=content).take(spans_of(dialect), "w" * 32, taken)
        assert len(taken.events) > 2
        found = found_in(journaled(taken), SECRETS)
        assert found == (set(SECRETS) if content else set()), f"content={content}"


def test_events_of_others() -> None:
    """An event that another process has journaled loses its content and keeps what tells its session's story."""
    given = {"session_id": "s", "timestamp_ns": 1, "writer": "w" * 32}
    error = ErrorInfo(type="ValueError", message=SECRETS["status"])
    told = {"input": SECRETS["content"], "reason": SECRETS["prompt"], "$said": ["reason"]}
    failed = JournalEvent(event_id="1" * 32, type="CALL_FAILED", details=told, error=error, **given)
    cut = {"writer": "x" * 32, "reason": "killed", "last_seen": "2026-01-01T00:00:00.000000000Z"}
    interrupted = JournalEvent(event_id="2" * 32, type=SESSION_INTERRUPTED, details=cut, **given)
    parts = {"session": "s", "trace": "3" * 32, "other": "3" * 32}
    linked = JournalEvent(event_id="4" * 32, type=SESSION_LINKED, details=parts, **given)
    data = encode_value(SECRETS["event"])
    value = BlobKept("s", blake2b(data, digest_size=DIGEST_BYTES).hexdigest(), data)
    records = [*(event_record(event, 1) for event in (failed, interrupted, linked)), blob_record(value, 1)]
    received = LogsReceived(1, request_of(records, {}).SerializeToString())
    for content in (True, False):
        taken = Taken()
        reception(content=content).take(received, "w" * 32, taken)
        expected = {"content", "status", "prompt", "event"} if content else set[str]()
        assert found_in(journaled(taken), SECRETS) == expected
        kept = {event.type: event.details for event in taken.events}
        assert (kept[SESSION_INTERRUPTED], kept[SESSION_LINKED]) == (cut, parts)


def test_nothing_of_it_is_in_the_spool(tmp_path: Path) -> None:
    """With content off it is gone before a request is on the disk, however long the store is away."""
    told = JournalEvent(
        session_id="s",
        event_id="1" * 32,
        type="NOTE",
        timestamp_ns=1,
        writer="w" * 32,
        details={"a": SECRETS["content"]},
    )
    logs = request_of([event_record(told, 1)], {}).SerializeToString()
    for content in (True, False):
        folder = tmp_path / str(content)
        folder.mkdir()
        env = {"AGENT_JOURNAL_CONTENT": "full" if content else "metadata"}
        with Collecting(folder, env=env) as collecting, locked(folder / "journal.db"):
            for dialect in DIALECTS:
                post(collecting.http, "/v1/traces", spans_of(dialect).request)
            post(collecting.http, "/v1/logs", logs)
            found = found_in(bytes_below(folder), SECRETS)
        assert found == (set(SECRETS) if content else set()), f"content={content}"


@contextmanager
def locked(file: Path) -> Generator[None]:
    """Keep everybody else from writing to a store."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def post(address: str, path: str, body: bytes) -> None:
    """Send a request, which is acknowledged."""
    asked = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": "application/x-protobuf"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status == 200
