"""Spans rebuilt from the events of one attempt."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.event import SESSION_INTERRUPTED, ErrorInfo, JournalEvent
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink
from otel_agent_journal.mapping.to_span import (
    INTERRUPTED_WITHOUT_END,
    MAX_SPAN_EVENTS,
    is_note,
    last_seen_ns,
    links_of,
    span_id_of,
    span_of_attempt,
    trace_id_of,
)

TRACE, SPAN = "1" * 32, "2" * 16


def event(event_type: str, at_ns: int, **fields: Any) -> JournalEvent:
    """Return an event of one step."""
    fields = {
        "session_id": "s",
        "event_id": f"{event_type}-{at_ns}",
        "name": "search",
        "writer": "w",
        "step_id": "step",
        "parent_step_id": "parent",
        "attempt": 1,
        "trace_id": TRACE,
        "span_id": SPAN,
        **fields,
    }
    return JournalEvent(type=event_type, timestamp_ns=at_ns, **fields)


def test_a_span_is_made_of_start_and_ending() -> None:
    """Ids, times, parent, resource and scope are those of the attempt."""
    start = event("TOOL_START", 100, details={"attributes": {"app.x": [1]}})
    end = event("TOOL_END", 250, outcome="ok", duration_ns=150, details={"attributes": {"app.y": True}})
    about = {"resource": {"service.name": "r"}, "scope_version": "7", "capture_content": True}
    span = span_of_attempt(start, end, parent_span_id="3" * 16, **about)
    assert (span.trace_id, span.span_id, span.parent_span_id) == (TRACE, SPAN, "3" * 16)
    assert (span.name, span.kind, span.start_ns, span.end_ns) == ("execute_tool search", "INTERNAL", 100, 250)
    assert (span.attributes["app.x"], span.attributes["app.y"]) == ((1,), True)
    assert (span.status_code, span.status_description) == (0, None)
    assert (span.resource, span.scope_name, span.scope_version) == ({"service.name": "r"}, "otel_agent_journal", "7")


def test_details_say_what_does_not_follow_from_the_step() -> None:
    """A foreign span keeps its name, kind, parent, scope and state."""
    details = {
        "span_name": "Fake.chat",
        "span_kind": "SERVER",
        "parent_span_id": "9" * 16,
        "scope": {"name": "theirs", "version": "2"},
        "trace_state": "k=v,ot=th:8",
    }
    span = span_of_attempt(event("MODEL_START", 1, details=details), event("MODEL_END", 2), parent_span_id="3" * 16)
    assert (span.name, span.kind, span.parent_span_id) == ("Fake.chat", "SERVER", "9" * 16)
    assert (span.scope_name, span.scope_version, span.trace_state) == ("theirs", "2", "ot=th:8")
    assert span.attributes["agent_journal.outcome"] == "ok"


def test_an_ending_alone_knows_when_its_attempt_began() -> None:
    """A START that was lost costs its own attributes, not the span."""
    span = span_of_attempt(None, event("TOOL_ERROR", 250, outcome="error", duration_ns=150, error=ErrorInfo(type="E")))
    assert (span.start_ns, span.end_ns, span.status_code, span.status_description) == (100, 250, 2, "E")
    assert span.attributes["error.type"] == "E"


@pytest.mark.parametrize(("interrupted_ns", "end_ns"), [(400, 400), (None, 100), (50, 100)])
def test_a_step_left_open_ends_at_the_last_sign_of_life(interrupted_ns: int | None, end_ns: int) -> None:
    """It is an error with outcome interrupted, and never ends before it began."""
    span = span_of_attempt(event("TOOL_START", 100), None, interrupted_ns=interrupted_ns, reason="killed")
    assert span.end_ns == end_ns
    assert span.attributes["agent_journal.left_open"] == "killed"
    assert (span.status_code, span.status_description) == (2, INTERRUPTED_WITHOUT_END)
    assert span.attributes["agent_journal.outcome"] == "interrupted"


@pytest.mark.parametrize("start", [None, event("PROGRESS", 1)])
def test_a_span_needs_an_event_of_a_step(start: JournalEvent | None) -> None:
    """Nothing, or an event within a step, makes no span."""
    with pytest.raises(ValueError, match="needs the START or the ending"):
        span_of_attempt(start, None)


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        ("ok", {"code": 1, "description": None}, (1, None)),
        ("ok", {"code": 2, "description": "theirs"}, (2, "theirs")),
        ("cancelled", {"code": 2, "description": None}, (2, None)),
        ("error", {"code": 1}, (1, None)),
        ("error", {"code": 2, "description": "theirs"}, (2, "ours")),
        ("ok", {"code": "odd"}, (0, None)),
        ("ok", "odd", (0, None)),
    ],
)
def test_a_status_set_by_user_code_is_as_the_sdk_would_have_it(
    outcome: str, status: Any, expected: tuple[int, str | None]
) -> None:
    """OK is final; an error of the step wins over an earlier one."""
    end = event("TOOL_END", 2, outcome=outcome, error=ErrorInfo(type="E", message="ours"), details={"status": status})
    span = span_of_attempt(event("TOOL_START", 1), end, capture_content=True)
    assert (span.status_code, span.status_description) == expected
    span = span_of_attempt(event("TOOL_START", 1), end)
    assert (span.status_code, span.status_description) == (expected[0], "E" if expected[1] == "ours" else None)


def test_events_within_the_step_and_those_of_user_code_are_span_events() -> None:
    """In order of time; texts stay away, and so do what progress says and what user code calls its events."""
    notes = [
        event("PROGRESS", 5, details={"message": "half", "progress": 50}),
        event("CHUNK", 4, details={"text": "secret"}),
        event("STAGE_CHANGED", 3, details={"stage": "x"}),
        event("MY_OWN", 3),
    ]
    recorded = [{"name": "hi", "timestamp_ns": 4, "attributes": {"a": [1]}}, {"name": "late"}, "odd"]
    end = event("TOOL_END", 9, details={"events": recorded})
    span = span_of_attempt(event("TOOL_START", 1), end, notes=notes)
    assert span.events == (
        SpanEvent("stage_changed", 3, {"stage": "x"}),
        SpanEvent("event", 4, {}),
        SpanEvent("progress", 5, {"progress": 50}),
        SpanEvent("event", 9, {}),
        SpanEvent("event", 9, {}),
    )
    with_content = span_of_attempt(event("TOOL_START", 1), end, capture_content=True)
    assert with_content.events == (SpanEvent("hi", 4, {"a": (1,)}), SpanEvent("late", 9, {}), SpanEvent("", 9, {}))
    assert span_of_attempt(event("TOOL_START", 1), event("TOOL_END", 2, details={"events": "odd"})).events == ()


def test_a_span_has_no_more_events_than_the_sdk_would_keep() -> None:
    """The last ones stay."""
    notes = [event("PROGRESS", at) for at in range(MAX_SPAN_EVENTS + 5)]
    span = span_of_attempt(event("TOOL_START", 0), None, notes=notes)
    assert [span.events[0].timestamp_ns, len(span.events)] == [5, MAX_SPAN_EVENTS]


def test_content_is_on_the_span_only_when_asked() -> None:
    """Input and output of a tool are opt-in."""
    start = event("TOOL_START", 1, details={"input": {"q": 1}})
    end, chunk = event("TOOL_END", 2, details={"output": "r"}), event("CHUNK", 1)
    without = span_of_attempt(start, end, notes=[chunk])
    with_content = span_of_attempt(start, end, notes=[chunk], capture_content=True)
    assert set(with_content.attributes) - set(without.attributes) == {
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
    }
    assert (len(without.events), len(with_content.events)) == (0, 1)
    assert "gen_ai.tool.call.arguments" in span_of_attempt(start, None, capture_content=True).attributes


def test_which_events_are_notes() -> None:
    """Progress and warnings always, text only with content."""
    assert is_note(event("WARNING", 1))
    assert not is_note(event("REASONING", 1))
    assert is_note(event("FINAL_RESPONSE", 1), capture_content=True)
    assert not is_note(event("TOOL_START", 1), capture_content=True)


def test_links_are_read_and_what_is_none_is_left_out() -> None:
    """A link needs both ids, in hex, not all zero."""
    good = {"trace_id": TRACE, "span_id": SPAN, "attributes": {"a": [1]}}
    bad = [
        {"trace_id": "x" * 32, "span_id": SPAN},
        {"trace_id": TRACE},
        {"trace_id": TRACE, "span_id": "0" * 16},
        "odd",
    ]
    assert links_of({"links": [good, *bad]}) == (SpanLink(TRACE, SPAN, {"a": (1,)}),)
    assert links_of({"links": "odd"}) == links_of({}) == ()
    start, end = event("TOOL_START", 1, details={"links": [good]}), event("TOOL_END", 2, details={"links": [good]})
    assert len(span_of_attempt(start, end).links) == 2


def test_ids_that_a_start_lacks_are_those_of_its_ending() -> None:
    """The START of an adopted span did not know them."""
    start = event("TOOL_START", 1, trace_id=None, span_id="no hex at all ..")
    span = span_of_attempt(start, event("TOOL_END", 2))
    assert (span.trace_id, span.span_id) == (TRACE, SPAN)


def test_ids_that_nobody_knows_follow_from_the_step() -> None:
    """The same each time, another for each attempt and process, of the right length."""
    start = event("TOOL_START", 1, trace_id=None, span_id=None)
    other = event("TOOL_START", 1, trace_id=None, span_id=None, attempt=2)
    assert (len(trace_id_of(start)), len(span_id_of(start))) == (32, 16)
    assert trace_id_of(start) == trace_id_of(other)
    assert span_id_of(start) == span_id_of(start, start) != span_id_of(other)


@pytest.mark.parametrize(
    ("details", "expected"),
    [({"last_seen": "1970-01-01T00:00:00.000000005Z"}, 5), ({"last_seen": "yesterday"}, 99), ({}, 99)],
)
def test_the_last_sign_of_life_is_in_the_interruption(details: dict[str, str], expected: int) -> None:
    """Where it says nothing readable, it was the nanosecond before."""
    assert last_seen_ns(event(SESSION_INTERRUPTED, 100, details=details)) == expected
