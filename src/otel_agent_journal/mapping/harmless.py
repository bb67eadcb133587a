"""What may leave on a span where content stays home: by field, from lists of what is known to be harmless. Pure.

A field that is not on a list may hold anything, so it stays. What user code puts on the span of its own step, by
`attributes=` or OpenTelemetry's own calls, it has meant for the span.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.dialects import is_silent
from otel_agent_journal.mapping.span_record import SpanEvent, SpanRecord

# Of an event within a step. Messages, outputs and texts are content, whichever event they stand in.
_OF_NOTES: Final = frozenset(
    (
        "attempt",
        "backoff_s",
        "checkpoint_id",
        "code",
        "invocation",
        "max_attempts",
        "operation",
        "phase",
        "progress",
        "request_id",
        "resumes",
        "stage",
        "task_id",
    )
)
# Of a span that another library has opened for an agent, and of its events. Numbers are harmless under any name.
_OF_SPANS: Final = frozenset(
    (
        genai.OPERATION_NAME,
        genai.CONVERSATION_ID,
        genai.AGENT_ID,
        genai.AGENT_NAME,
        genai.AGENT_VERSION,
        genai.WORKFLOW_NAME,
        genai.PROVIDER_NAME,
        genai.SYSTEM,
        genai.DATA_SOURCE_ID,
        genai.OUTPUT_TYPE,
        genai.ERROR_TYPE,
        genai.SERVER_ADDRESS,
        genai.REQUEST_MODEL,
        genai.RESPONSE_ID,
        genai.RESPONSE_MODEL,
        genai.RESPONSE_FINISH_REASONS,
        genai.TOOL_NAME,
        genai.TOOL_TYPE,
        genai.TOOL_CALL_ID,
        genai.STEP_ID,
        genai.STEP_PARENT_ID,
        genai.STEP_KIND,
        genai.STEP_NAME,
        genai.OUTCOME,
        genai.NODE_NAME,
        genai.LEFT_OPEN,
        genai.WRITER,
        "event_loop.cycle_id",
        "event_loop.parent_cycle_id",
        "exception.escaped",
        "exception.type",
        "finish_reason",
        "gen_ai.event.end_time",
        "gen_ai.event.start_time",
        "gen_ai.tool.status",
        "id",
        "llm.request.type",
        "openinference.span.kind",
        "role",
        "session.id",
        "strands.cancellation.type",
        "traceloop.entity.name",
        "traceloop.span.kind",
        "traceloop.workflow.name",
    )
)


def harmless_note(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may leave of the details of an event within a step."""
    return {key: value for key, value in details.items() if key in _OF_NOTES}


def harmless_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may leave of attributes that a framework has set."""
    return {
        key: value for key, value in attributes.items() if key in _OF_SPANS or isinstance(value, bool | int | float)
    }


def harmless_events(events: tuple[SpanEvent, ...], *, all_of_them: bool) -> tuple[SpanEvent, ...]:
    """Return events as they may leave: those that speak of an agent, or `all_of_them`, without content."""
    return tuple(
        SpanEvent(event.name, event.timestamp_ns, harmless_attributes(event.attributes))
        if (all_of_them and event.name != "exception") or not is_silent((event.name,))
        else event
        for event in events
    )


def harmless_span(record: SpanRecord) -> SpanRecord:
    """Return a span of another library as it may leave: as it is, unless it speaks of an agent."""
    names = [*record.attributes, *(event.name for event in record.events)]
    if is_silent(names):
        return record
    return msgspec.structs.replace(
        record,
        attributes=harmless_attributes(record.attributes),
        events=harmless_events(record.events, all_of_them=True),
    )
