"""From the events of one attempt at a step back to its span. Pure.

The same functions of `genai.py` give a live span its attributes, so a span rebuilt here equals the one that a
TracerProvider of the program would have exported. An attempt that its writer left open has a span too: ended at the
writer's last sign of life, status ERROR, outcome interrupted. Whoever calls this knows the events; how spans are sent
is `forwarding/forwarder.py`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, cast

from otel_agent_journal.codec import parse_timestamp
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import (
    CHUNK,
    EMPTY,
    FINAL_RESPONSE,
    IN_STEP_TYPES,
    REASONING,
    STAGE_CHANGED,
    ErrorInfo,
    JournalEvent,
    kind_of,
    mapping_of,
)
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.content import content_attributes
from otel_agent_journal.mapping.harmless import (
    harmless_attributes,
    harmless_error,
    harmless_events,
    harmless_links,
    harmless_note,
    harmless_trace_state,
)
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord, plain_attributes

INTERRUPTED_WITHOUT_END: Final = "interrupted: the process ended before the step did"

MAX_SPAN_EVENTS: Final = 128  # the SDK's own default for events of a span

_CONTENT_TYPES: Final = frozenset((CHUNK, REASONING, FINAL_RESPONSE))
_NOTED_TYPES: Final = (IN_STEP_TYPES | {STAGE_CHANGED}) - _CONTENT_TYPES


def span_of_attempt(
    start: JournalEvent | None,
    end: JournalEvent | None,
    *,
    interrupted_ns: int | None = None,
    reason: str = genai.NOT_KNOWN,
    parent_span_id: str | None = None,
    notes: Iterable[JournalEvent] = (),
    resource: Mapping[str, Any] = EMPTY,
    scope_version: str = "",
    capture_content: bool = False,
) -> SpanRecord:
    """Return the span of one attempt, from its START and its ending.

    One of the two may be missing: an ending knows when its attempt began, a START alone is a step left open, ended at
    `interrupted_ns` (its own start where even that is not known or earlier) for a `reason`. `parent_span_id` is the
    span of the parent step's attempt; `details.parent_span_id` wins over it. `notes` are the events within the attempt.

    Raises:
        ValueError: neither is given, or what is given is no event of a step.
    """
    first = start or end
    kind = None if first is None else kind_of(first.type)
    if first is None or kind is None:
        raise ValueError(f"a span needs the START or the ending of a step, not {None if first is None else first.type}")
    opening = EMPTY if start is None else start.details
    start_ns = first.timestamp_ns - (first.duration_ns or 0)
    name = first.name or ""
    extra = asked = mapping_of(opening.get("attributes"))
    if end is not None and (start is None or "scope" in opening):
        extra = {**extra, **mapping_of(end.details.get("attributes"))}  # of a foreign span the ending says everything
    if not capture_content:
        extra = harmless_attributes(extra)
    operation = (extra if start is None else asked).get(genai.OPERATION_NAME)
    outcome, error = ("interrupted", None) if end is None else (end.outcome or "ok", end.error)
    if not capture_content:
        error = harmless_error(error)
    ending = EMPTY if end is None else end.details
    attributes = _start_attributes(first, kind, opening, extra)
    closing = _cut_attributes(first, reason) if end is None else _end_attributes(end, outcome, error)
    attributes.update(closing if capture_content else harmless_attributes(closing))
    if capture_content:
        attributes.update(content_attributes(kind, opening))
        attributes.update(content_attributes(kind, ending))
    code, description = _status(end, outcome, error, capture_content)
    scope = mapping_of(opening.get("scope"))
    links = links_of(opening) + links_of(ending)
    trace_state = str(opening.get("trace_state") or "")
    span_name = opening.get("span_name") or genai.span_name(kind, name, None if operation is None else str(operation))
    return SpanRecord(
        trace_id=trace_id_of(first, end),
        span_id=span_id_of(first, end),
        parent_span_id=opening.get("parent_span_id") or parent_span_id,
        name=str(span_name),
        kind=str(opening.get("span_kind") or genai.span_kind(kind, asked)),
        start_ns=start_ns,
        end_ns=max(start_ns, end.timestamp_ns if end is not None else interrupted_ns or start_ns),
        attributes=plain_attributes(attributes),
        events=_events(end, notes, capture_content),
        links=links if capture_content else harmless_links(links),
        status_code=code,
        status_description=description,
        resource=resource,
        scope_name=str(scope.get("name") or genai.SCOPE_NAME),
        scope_version=str(scope.get("version", "") if scope else scope_version),
        trace_state=trace_state if capture_content else harmless_trace_state(trace_state),
    )


def _start_attributes(
    first: JournalEvent, kind: str, opening: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    attributes = genai.start_attributes(
        kind,
        first.name or "",
        first.session_id,
        first.step_id or "",
        first.parent_step_id,
        first.attempt or 1,
        extra,
    )
    if kind == "TOOL" and isinstance(opening.get("effects"), str):
        attributes[genai.TOOL_EFFECTS] = opening["effects"]
    return attributes


def _end_attributes(end: JournalEvent, outcome: str, error: ErrorInfo | None) -> dict[str, Any]:
    attributes = genai.end_attributes(outcome, end.usage, error, mapping_of(end.details.get("attributes")))
    return attributes | genai.told_attributes(end.details)


def _cut_attributes(start: JournalEvent, reason: str) -> dict[str, Any]:
    """Return what tells a reader of the span that the step did not end, and whose death that was."""
    writer = {} if start.writer is None else {genai.WRITER: start.writer}
    return {**genai.end_attributes("interrupted"), genai.LEFT_OPEN: reason, **writer}


def _status(
    end: JournalEvent | None, outcome: str, error: ErrorInfo | None, capture_content: bool
) -> tuple[int, str | None]:
    """Return what the SDK would have: OK set by user code is final, an error wins over anything else set."""
    if end is None:
        return genai.STATUS_ERROR, INTERRUPTED_WITHOUT_END
    recorded = mapping_of(end.details.get("status"))
    code = recorded.get("code")
    if code == genai.STATUS_OK:
        return genai.STATUS_OK, None
    if code == genai.STATUS_ERROR and outcome != "error":
        description = recorded.get("description") if capture_content else None
        return genai.STATUS_ERROR, None if description is None else str(description)
    return genai.span_status(outcome, error)


def span_id_of(event: JournalEvent, end: JournalEvent | None = None) -> str:
    """Return the span id of an attempt: the recorded one, else one that follows from the step's id and attempt."""
    known = _hex(event.span_id, 16) or (_hex(end.span_id, 16) if end is not None else None)
    return known or _derived(f"{event.step_id}:{event.attempt}:{event.writer}", 8)


def trace_id_of(event: JournalEvent, end: JournalEvent | None = None) -> str:
    """Return the trace id of an attempt: the recorded one, else one that all such attempts of a session share."""
    known = _hex(event.trace_id, 32) or (_hex(end.trace_id, 32) if end is not None else None)
    return known or _derived(event.session_id, 16)


def _derived(name: str, size: int) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def links_of(details: Mapping[str, Any]) -> tuple[SpanLink, ...]:
    """Return the span links that details keep; an entry without both ids is none."""
    entries: Any = details.get("links")
    if not isinstance(entries, list | tuple):
        return ()
    found: list[SpanLink] = []
    for entry in cast("list[Any]", entries):
        link = mapping_of(entry)
        trace_id, span_id = _hex(link.get("trace_id"), 32), _hex(link.get("span_id"), 16)
        if trace_id and span_id:
            found.append(SpanLink(trace_id, span_id, plain_attributes(mapping_of(link.get("attributes")))))
    return tuple(found)


def _hex(value: Any, digits: int) -> str | None:
    if not isinstance(value, str) or len(value) != digits:
        return None
    try:
        return value if int(value, 16) else None
    except ValueError:
        return None


def is_note(event: JournalEvent, *, capture_content: bool = False) -> bool:
    """Tell whether an event within a step becomes an event of its span; streamed and final text is content."""
    return event.type in _NOTED_TYPES or (capture_content and event.type in _CONTENT_TYPES)


def span_event_of(event: JournalEvent, *, capture_content: bool = False) -> SpanEvent:
    """Return the span event that an event within a step stands for, named by its type in lower case."""
    details = event.details if capture_content else harmless_note(event.details)
    return SpanEvent(event.type.lower(), event.timestamp_ns, plain_attributes(details))


def _events(end: JournalEvent | None, notes: Iterable[JournalEvent], capture_content: bool) -> tuple[SpanEvent, ...]:
    said = [note for note in notes if is_note(note, capture_content=capture_content)]
    events = [span_event_of(note, capture_content=capture_content) for note in said]
    recorded: Any = None if end is None else end.details.get("events")
    if end is not None and isinstance(recorded, list | tuple):
        for entry in map(mapping_of, cast("list[Any]", recorded)):
            when = entry.get("timestamp_ns")
            when = when if isinstance(when, int) else end.timestamp_ns
            event = SpanEvent(str(entry.get("name", "")), when, plain_attributes(mapping_of(entry.get("attributes"))))
            events += (event,) if capture_content else harmless_events((event,))
    return tuple(sorted(events, key=lambda event: event.timestamp_ns)[-MAX_SPAN_EVENTS:])


def last_seen_ns(interruption: JournalEvent) -> int:
    """Return when the writer that a SESSION_INTERRUPTED is about was last seen."""
    try:
        return parse_timestamp(str(interruption.details["last_seen"]))
    except (KeyError, CodecError):
        return interruption.timestamp_ns - 1
