"""What leaves on a span where content stays home: what is known to be harmless, by field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from otel_agent_journal.event import IN_STEP_TYPES, STAGE_CHANGED, STEP_KINDS, JournalEvent
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.content import CONTENT_ATTRIBUTES
from otel_agent_journal.mapping.dialects.openinference import MARKS as OPENINFERENCE
from otel_agent_journal.mapping.dialects.traceloop import MARKS as TRACELOOP
from otel_agent_journal.mapping.harmless import harmless_span
from otel_agent_journal.mapping.span_record import SpanEvent, SpanRecord
from otel_agent_journal.mapping.to_span import span_of_attempt

CANARY = "078-05-1120"
FIELDS = ("input", "output", "messages", "message", "text", "sources", "metadata", "interrupts", "reason", "unheard.of")
SAYING = {**dict.fromkeys(FIELDS, CANARY), "output": {"deep": [CANARY]}}
NAMES = (
    *CONTENT_ATTRIBUTES,
    *OPENINFERENCE - {"openinference.span.kind"},
    *TRACELOOP - {"traceloop.span.kind", "traceloop.entity.name", "traceloop.workflow.name", "llm.request.type"},
    "gen_ai.prompt.0.content",
    "gen_ai.agent.tools",
    "system_prompt",
    "unheard.of",
)


def event(event_type: str, at_ns: int, **fields: Any) -> JournalEvent:
    """Return an event of a step."""
    given = {"session_id": "s", "event_id": f"{at_ns}", "name": "n", "step_id": "a", "attempt": 1, **fields}
    return JournalEvent(type=event_type, timestamp_ns=at_ns, **given)


def in_span(span: SpanRecord) -> bool:
    """Tell whether the secret is anywhere in a span."""
    return CANARY in repr(msgspec.structs.astuple(span))


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("kind", STEP_KINDS)
def test_of_a_step(kind: str, content: bool) -> None:
    """Of a step's details, and of all events within it whatever their type, no field leaves that may be content."""
    notes = [event(kind_of_note, 2, details=SAYING) for kind_of_note in (*IN_STEP_TYPES, STAGE_CHANGED, "MY_OWN")]
    framework = [{"name": name, "attributes": {"content": CANARY, "message": CANARY}} for name in ("gen_ai.choice",)]
    start = event(f"{kind}_START", 1, details=SAYING)
    end = event(f"{kind}_END", 3, details={**SAYING, "events": framework})
    assert in_span(span_of_attempt(start, end, notes=notes, capture_content=content)) is content


@pytest.mark.parametrize("content", [False, True])
def test_of_a_foreign_step(content: bool) -> None:
    """Nor of what another library has put on its span, under whatever name, or on its events."""
    said: dict[str, Any] = {"attributes": dict.fromkeys(NAMES, CANARY), "scope": {"name": "other"}}
    events = [{"name": "theirs", "attributes": {"anything": CANARY}}]
    start, end = event("MODEL_START", 1, details=said), event("MODEL_END", 3, details={**said, "events": events})
    assert in_span(span_of_attempt(start, end, capture_content=content)) is content


def test_of_other_libraries() -> None:
    """A span of an agent that is sent as it is loses what may be content, and keeps what tells what it is."""
    known = {genai.OPERATION_NAME: "chat", genai.REQUEST_MODEL: "m", genai.USAGE_INPUT_TOKENS: 3, "rows": 2, "on": True}
    events = (
        SpanEvent("gen_ai.user.message", 2, {"content": CANARY, "role": "user"}),
        SpanEvent("x", 2, {"y": CANARY}),
    )
    span = SpanRecord(
        trace_id="1" * 32,
        span_id="2" * 16,
        name="chat m",
        start_ns=1,
        attributes={**dict.fromkeys(NAMES, CANARY), **known},
        events=events,
    )
    sent = harmless_span(span)
    assert not in_span(sent)
    assert sent.attributes == known
    assert sent.events == (SpanEvent("gen_ai.user.message", 2, {"role": "user"}), SpanEvent("x", 2, {}))


def test_a_span_that_is_no_agents() -> None:
    """What a database or HTTP client says of its own requests is left as it is."""
    span = SpanRecord(
        trace_id="1" * 32,
        span_id="2" * 16,
        name="GET",
        start_ns=1,
        attributes={"http.route": "/a"},
        events=(SpanEvent("retry", 2, {"after": "1s"}),),
    )
    assert harmless_span(span) is span
