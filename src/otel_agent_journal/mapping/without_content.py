"""Requests of OTLP as a receiver may keep them where content is off: before they are on its disk. Pure.

A span is kept in GenAI terms, whatever dialect it came in, with what is on the lists of `harmless.py` alone; a log
record of the journal with its event reduced, a value that events refer to not at all. What the drain reads of it
amounts to what it would have made of the request as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.codec import encode_line, sealed
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.dialects import in_genai_terms
from otel_agent_journal.mapping.from_otlp import attributes_of, span_record
from otel_agent_journal.mapping.harmless import WITHHELD, harmless_fact, harmless_span
from otel_agent_journal.mapping.log_record import BLOB, carried
from otel_agent_journal.mapping.processes import harmless_resource
from otel_agent_journal.mapping.to_events import raised_at_of, session_named_in

if TYPE_CHECKING:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    from otel_agent_journal.mapping.span_record import SpanRecord

_VALUES: Final = (str, bool, int, float, bytes, tuple)  # of what is harmless nothing is a mapping
_WHOSE: Final = (genai.USER_ID, genai.STEP_TENANT, genai.STEP_TAGS)  # at rest, sessions are found by these


def spans_without_content(request: ExportTraceServiceRequest) -> None:
    """Take the content out of a request's spans, in place. All of them can be journaled."""
    for of_resource in request.resource_spans:
        resource = attributes_of(of_resource.resource.attributes)
        _put(of_resource.resource.attributes, _resource(resource))
        for of_scope in of_resource.scope_spans:
            del of_scope.scope.attributes[:]
            for span in of_scope.spans:
                _reduce(span, span_record(span, {}, of_scope.scope.name, of_scope.scope.version))


def logs_without_content(request: ExportLogsServiceRequest) -> tuple[list[str], int]:
    """Take the content out of a request's log records, in place. All of them are the journal's.

    Returns what was wrong with those that were taken out because they cannot be read, and so may hold anything; and how
    many were values that events refer to.
    """
    problems, values = list[str](), 0
    for of_resource in request.resource_logs:
        _put(of_resource.resource.attributes, harmless_resource(attributes_of(of_resource.resource.attributes)))
        for of_scope in of_resource.scope_logs:
            del of_scope.scope.attributes[:]
            for index in reversed(range(len(of_scope.log_records))):
                record = of_scope.log_records[index]
                problem = None if record.event_name == BLOB else _reduce_log(record)
                if record.event_name == BLOB or problem is not None:
                    del of_scope.log_records[index]
                    problems += [] if problem is None else [problem]
                    values += problem is None
    return problems, values


def _resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    kept, session = harmless_resource(resource), session_named_in(resource)
    return kept if session is None else {**kept, genai.CONVERSATION_ID: session}


def _reduce(span: Any, came: SpanRecord) -> None:
    record = in_genai_terms(came)
    kept, raised_at = harmless_span(record), raised_at_of(record)
    whose = {key: value for key, value in record.attributes.items() if key in _WHOSE and type(value) in (str, tuple)}
    attributes = {**kept.attributes, **whose}
    session = session_named_in(record.attributes)
    if session != session_named_in(attributes):  # named by an attribute of another dialect
        attributes[genai.CONVERSATION_ID] = session
    if raised_at is not None:
        attributes[genai.RAISED_AT] = raised_at
    _put(span.attributes, attributes)
    del span.events[:]
    for event in kept.events:
        _put(span.events.add(name=event.name, time_unix_nano=event.timestamp_ns).attributes, event.attributes)
    for link in span.links:
        del link.attributes[:]
        link.trace_state = ""
    span.status.message = WITHHELD if record.status_description else ""
    span.trace_state = kept.trace_state


def _reduce_log(record: Any) -> str | None:
    """Take the content out of a log record; return why it cannot be kept, if it cannot be read."""
    try:
        found = carried(record)
    except CodecError as error:
        return str(error)
    if isinstance(found, JournalEvent):
        kept = harmless_fact(found)
        record.body.string_value = encode_line(found if kept is found else sealed(kept)).decode()
        _put(record.attributes, {})  # they say again what the event says
    return None


def _put(pairs: Any, attributes: Mapping[str, Any]) -> None:
    del pairs[:]
    for key, value in attributes.items():
        if isinstance(value, _VALUES):
            _set(pairs.add(key=key).value, value)


def _set(said: AnyValue, value: Any) -> None:
    match value:
        case bool():
            said.bool_value = value
        case str():
            said.string_value = value
        case int():
            said.int_value = value
        case float():
            said.double_value = value
        case bytes():
            said.bytes_value = value
        case _:
            for item in value:
                _set(said.array_value.values.add(), item)
