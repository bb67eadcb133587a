"""From a span of the OpenTelemetry SDK, just started or ended, to a `SpanRecord`, and back for its exporters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_agent_journal.codec import valid_text
from otel_agent_journal.mapping.genai import SCHEMA_URL, SCOPE_NAME
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord, plain_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Final[Mapping[str, SpanKind]] = {kind.name: kind for kind in SpanKind}
_STATUSES: Final[Mapping[int, StatusCode]] = {code.value: code for code in StatusCode}


def span_record(span: ReadableSpan) -> SpanRecord:
    """Return a span as plain data; `end_ns` is None where it has not ended.

    Raises:
        ValueError: the span has no context, as only one made by hand can have.
    """
    context = span.get_span_context()
    if context is None:
        raise ValueError(f"span {span.name!r} has no span context")
    scope = span.instrumentation_scope
    return SpanRecord(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_span_id=None if span.parent is None else f"{span.parent.span_id:016x}",
        name=span.name,
        kind=span.kind.name,
        start_ns=span.start_time or 0,
        end_ns=span.end_time,
        attributes=plain_attributes(span.attributes),
        events=tuple(
            SpanEvent(event.name, event.timestamp, plain_attributes(event.attributes)) for event in span.events
        ),
        links=tuple(
            SpanLink(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", plain_attributes(link.attributes))
            for link in span.links
        ),
        status_code=span.status.status_code.value,
        status_description=span.status.description,
        resource=plain_attributes(span.resource.attributes),
        scope_name="" if scope is None else scope.name,
        scope_version=("" if scope is None else scope.version) or "",
        trace_flags=int(context.trace_flags),
        trace_state=context.trace_state.to_header(),
    )


def readable_span(record: SpanRecord, resource: Resource | None = None) -> ReadableSpan:
    """Return an SDK span that the official exporters and encoders take.

    `resource` saves making one of `record.resource` for each span of a batch. The parent is taken to be local.
    """
    return ReadableSpan(
        name=valid_text(record.name),
        context=_context(record.trace_id, record.span_id, record.trace_flags, record.trace_state),
        parent=None if record.parent_span_id is None else _context(record.trace_id, record.parent_span_id),
        resource=Resource(plain_attributes(record.resource)) if resource is None else resource,
        attributes=plain_attributes(record.attributes),
        events=tuple(
            Event(valid_text(event.name), plain_attributes(event.attributes), event.timestamp_ns)
            for event in record.events
        ),
        links=tuple(
            Link(_context(link.trace_id, link.span_id), plain_attributes(link.attributes)) for link in record.links
        ),
        kind=_KINDS.get(record.kind, SpanKind.INTERNAL),
        status=_status(record.status_code, record.status_description),
        start_time=record.start_ns,
        end_time=record.end_ns,
        instrumentation_scope=InstrumentationScope(
            record.scope_name, record.scope_version, _schema_of(record.scope_name)
        ),
    )


def _schema_of(scope_name: str) -> str | None:
    return SCHEMA_URL if scope_name == SCOPE_NAME else None


def _context(trace_id: str, span_id: str, flags: int = 1, state: str = "") -> SpanContext:
    trace_state: Any = TraceState.from_header([state]) if state else None
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(flags), trace_state=trace_state
    )


def _status(code: int, description: str | None) -> Status:
    status = _STATUSES.get(code, StatusCode.UNSET)
    if status is not StatusCode.ERROR:
        return Status(status)
    return Status(status, None if description is None else valid_text(description))
