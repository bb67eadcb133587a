"""Journal events as OTLP log records, and back: how an agent's START, progress and heartbeats cross a Collector. Pure.

A record's body is the event's line of JSON, which is all that is read again; its time, severity, ids and attributes
say the same for whatever else reads logs. Two more kinds of records go beside events: what a heartbeat says, and values
that an event refers to. An event's name has no dot after the prefix, theirs have one: none is taken for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, JSON, decode_line, encode_line, sealed, valid_text
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.facts import BlobKept
from otel_agent_journal.mapping.mending import MENDED

if TYPE_CHECKING:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

PREFIX: Final = "agent_journal."
HEARTBEAT: Final = "agent_journal.writer.heartbeat"
BLOB: Final = "agent_journal.writer.blob"

EVENT_ID: Final = "agent_journal.event.id"
DIGEST: Final = "agent_journal.blob.digest"
MEDIA_TYPE: Final = "agent_journal.blob.media_type"  # where it is no JSON

_INT64_MAX: Final = 2**63 - 1
_SEVERITIES: Final[Mapping[str, int]] = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17}


class WriterHeard(msgspec.Struct, frozen=True):
    """A heartbeat as it travels: the writer was alive, and these sessions were open."""

    writer: str
    timestamp_ns: int
    sessions: tuple[str, ...]


Carried = JournalEvent | WriterHeard | BlobKept


def request_of(records: Iterable[LogRecord], resource: Mapping[str, str]) -> ExportLogsServiceRequest:
    """Return the request that carries log records."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    for key, value in resource.items():
        of_resource.resource.attributes.add(key=key).value.string_value = value
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name = genai.SCOPE_NAME
    of_scope.log_records.extend(records)
    return request


def event_record(event: JournalEvent, observed_ns: int) -> LogRecord:
    """Return the log record of an event.

    Raises:
        CodecError: its time is none that can be written.
    """
    record = _record(valid_text(f"{PREFIX}{event.type.lower()}"), event.timestamp_ns, observed_ns)
    record.severity_number = _SEVERITIES.get(event.level, 0)  # pyright: ignore[reportAttributeAccessIssue] - an enum
    record.severity_text = event.level
    record.body.string_value = encode_line(event).decode()
    _attribute(record, genai.CONVERSATION_ID, event.session_id)
    _attribute(record, EVENT_ID, event.event_id)
    if event.step_id is not None:
        _attribute(record, genai.STEP_ID, event.step_id)
    record.trace_id, record.span_id = _id(event.trace_id, 16), _id(event.span_id, 8)
    return record


def heartbeat_record(heard: WriterHeard, observed_ns: int) -> LogRecord:
    """Return the log record of a heartbeat."""
    record = _record(HEARTBEAT, heard.timestamp_ns, observed_ns)
    record.body.string_value = msgspec.json.encode(heard).decode()
    return record


def blob_record(blob: BlobKept, observed_ns: int) -> LogRecord:
    """Return the log record of a value that events refer to."""
    record = _record(BLOB, observed_ns, observed_ns)
    record.body.bytes_value = blob.data
    _attribute(record, genai.CONVERSATION_ID, blob.session_id)
    _attribute(record, DIGEST, blob.digest)
    if blob.media_type != JSON:
        _attribute(record, MEDIA_TYPE, blob.media_type)
    return record


def is_carried(record: LogRecord) -> bool:
    """Tell whether a log record is one of the journal's; all others are none of its business."""
    return record.event_name.startswith(PREFIX)


def carried(record: LogRecord) -> Carried:
    """Return what a log record of the journal carries.

    Raises:
        CodecError: it is not what its name says.
    """
    if record.event_name == HEARTBEAT:
        try:
            return msgspec.json.decode(record.body.string_value, type=WriterHeard)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CodecError(f"not a heartbeat: {error}") from error
    if record.event_name == BLOB:
        return _blob(record)
    line = record.body.string_value
    event = decode_line(line)
    if event.digest is not None and MENDED in line:
        event = sealed(event)  # its text was mended on the way: the digest is of what it says now
    if event.seq is not None:
        raise CodecError(f"event {event.event_id} is of a context: those are appended to a store, in their order")
    return event


def _blob(record: LogRecord) -> BlobKept:
    said = {pair.key: pair.value.string_value for pair in record.attributes}
    data = record.body.bytes_value
    digest = blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
    session_id = said.get(genai.CONVERSATION_ID)
    if not session_id or said.get(DIGEST) != digest:
        raise CodecError(f"not a value of a session: it names {session_id!r} and digest {said.get(DIGEST)!r}")
    return BlobKept(session_id, digest, data, said.get(MEDIA_TYPE) or JSON)


def log_records(request: ExportLogsServiceRequest) -> Sequence[LogRecord]:
    """Return the log records of a request."""
    return [
        record
        for of_resource in request.resource_logs
        for of_scope in of_resource.scope_logs
        for record in of_scope.log_records
    ]


def _record(event_name: str, timestamp_ns: int, observed_ns: int) -> LogRecord:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    return LogRecord(
        event_name=event_name,
        time_unix_nano=min(max(timestamp_ns, 0), _INT64_MAX),
        observed_time_unix_nano=observed_ns,
    )


def _attribute(record: Any, key: str, value: str) -> None:
    record.attributes.add(key=key).value.string_value = valid_text(value)


def _id(digits: str | None, size: int) -> bytes:
    """Return an id's bytes; none where it is no such id."""
    try:
        found = bytes.fromhex(digits or "")
    except ValueError:
        return b""
    return found if len(found) == size else b""
