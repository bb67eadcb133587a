"""From spans as OTLP has them, in protobuf, to `SpanRecord`s. Pure.

Works on messages of `opentelemetry-proto`, which the caller has parsed. What of a request can be kept is decided span
by span: one that is malformed costs itself alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_KINDS: Final = ("INTERNAL", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")  # unspecified is internal
_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)
_INT64_MAX: Final = 2**63 - 1
_FLAGS: Final = 0xFF  # W3C's; the others say whether the parent is remote
_MAX_DEPTH: Final = 32  # of a value within values; what is deeper is left out


def problem_of(span: Span) -> str | None:
    """Return why a span cannot be journaled, or None where it can."""
    trace_id, span_id, start_ns = span.trace_id, span.span_id, span.start_time_unix_nano
    if len(trace_id) != len(_NO_TRACE) or trace_id == _NO_TRACE:
        return f"trace_id has {len(trace_id)} bytes, 16 that are not all zero are expected"
    if len(span_id) != len(_NO_SPAN) or span_id == _NO_SPAN:
        return f"span_id has {len(span_id)} bytes, 8 that are not all zero are expected"
    if not start_ns:
        return "start_time_unix_nano is not set"
    if start_ns > _INT64_MAX or span.end_time_unix_nano > _INT64_MAX:
        return "a time is beyond the year 2262"
    return None


def span_records(request: ExportTraceServiceRequest) -> Iterator[SpanRecord]:
    """Yield the spans of a request that can be journaled."""
    for of_resource in request.resource_spans:
        resource = attributes_of(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            scope = of_scope.scope
            for span in of_scope.spans:
                if problem_of(span) is None:
                    yield span_record(span, resource, scope.name, scope.version)


def span_record(span: Span, resource: dict[str, Any], scope_name: str, scope_version: str) -> SpanRecord:
    """Return a span that can be journaled, under the resource and the scope that it came in."""
    parent, status = span.parent_span_id, span.status
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=parent.hex() if len(parent) == len(_NO_SPAN) and parent != _NO_SPAN else None,
        name=span.name,
        kind=_KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "INTERNAL",
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano or None,
        attributes=attributes_of(span.attributes),
        events=tuple(
            SpanEvent(event.name, min(event.time_unix_nano, _INT64_MAX), attributes_of(event.attributes))
            for event in span.events
        ),
        links=tuple(
            SpanLink(link.trace_id.hex(), link.span_id.hex(), attributes_of(link.attributes)) for link in span.links
        ),
        status_code=status.code if 0 <= status.code <= 2 else 0,
        status_description=status.message or None,
        resource=resource,
        scope_name=scope_name,
        scope_version=scope_version,
        trace_flags=span.flags & _FLAGS,
        trace_state=span.trace_state,
    )


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as plain data; of two with one key the last counts."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, value = pair.key, pair.value
        if key:
            found[key] = value.string_value or value_of(value)  # most are texts, and asking for one is cheap
    return found


def value_of(value: AnyValue, depth: int = 0) -> Any:
    """Return a value as plain data: sequences as tuples, what is not set, or too deep, as None."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return value.bytes_value
        case "array_value" if depth < _MAX_DEPTH:
            return tuple(value_of(item, depth + 1) for item in value.array_value.values)
        case "kvlist_value" if depth < _MAX_DEPTH:
            return {pair.key: value_of(pair.value, depth + 1) for pair in value.kvlist_value.values}
        case _:
            return None
