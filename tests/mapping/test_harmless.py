"""What leaves on a span where content stays home: what is known to be harmless, by field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from otel_agent_journal.event import IN_STEP_TYPES, PROCESS, STAGE_CHANGED, STEP_KINDS, ErrorInfo, JournalEvent
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.content import CONTENT_ATTRIBUTES
from otel_agent_journal.mapping.dialects.openinference import MARKS as OPENINFERENCE
from otel_agent_journal.mapping.dialects.traceloop import MARKS as TRACELOOP
from otel_agent_journal.mapping.facts import FailureNoted, Heartbeat, StepEnded, StepStarted
from otel_agent_journal.mapping.harmless import (
    CUT,
    METADATA,
    REDACTED,
    SAID,
    WITHHELD,
    by_hand,
    harmless_details,
    harmless_error,
    harmless_fact,
    harmless_note,
    harmless_span,
)
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord
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
    known = {genai.OPERATION_NAME: "chat", genai.REQUEST_MODEL: "m", genai.USAGE_INPUT_TOKENS: 3, "gen_ai.x": True}
    events = (
        SpanEvent("gen_ai.user.message", 2, {"content": CANARY, "role": "user"}),
        SpanEvent(CANARY, 2, {"y": CANARY, CANARY: 7}),
    )
    span = SpanRecord(
        trace_id="1" * 32,
        span_id="2" * 16,
        name="chat m",
        start_ns=1,
        attributes={**dict.fromkeys(NAMES, CANARY), CANARY: 7, **known},
        events=events,
        links=(SpanLink("3" * 32, "4" * 16, {"why": CANARY}),),
        resource={"service.name": "agents", "process.command_args": (CANARY,)},
        status_code=genai.STATUS_ERROR,
        status_description=CANARY,
        trace_state=f"vendor={CANARY},ot=th:8",
    )
    sent = harmless_span(span)
    assert not in_span(sent)
    assert sent.attributes == known
    assert sent.events == (SpanEvent("gen_ai.user.message", 2, {"role": "user"}), SpanEvent("event", 2, {}))
    assert sent.links == (SpanLink("3" * 32, "4" * 16),)
    assert (sent.resource, sent.status_description, sent.trace_state) == ({"service.name": "agents"}, None, "ot=th:8")


def test_a_span_that_is_no_agents() -> None:
    """A client of a database or of HTTP says what is asked of whom and how it went: no URL, no statement, no header."""
    span = SpanRecord(
        trace_id="1" * 32,
        span_id="2" * 16,
        name="GET",
        start_ns=1,
        attributes={
            "http.route": "/a/{id}",
            "http.request.method": "GET",
            "http.response.status_code": 500,
            "http.response.body.size": 12,
            "error.type": "500",
            "url.full": f"https://example.org/a/7?token={CANARY}",
            "http.request.header.authorization": (CANARY,),
            "db.query.text": f"SELECT '{CANARY}'",
        },
        events=(SpanEvent("exception", 2, {"exception.type": "Timeout", "exception.message": CANARY}),),
        status_code=genai.STATUS_ERROR,
        status_description=CANARY,
    )
    sent = harmless_span(span)
    assert not in_span(sent)
    assert set(sent.attributes) == set(span.attributes) - {
        "url.full",
        "http.request.header.authorization",
        "db.query.text",
    }
    assert sent.events == (SpanEvent("exception", 2, {"exception.type": "Timeout"}),)
    assert sent.status_description == "500"


# Of each field of an event's details that holds more than one value: what it says, and what of that is journaled.
PARTS: dict[str, tuple[Any, Any]] = {
    "attributes": ({genai.REQUEST_MODEL: "m", "app.note": CANARY}, {genai.REQUEST_MODEL: "m"}),
    "causes": (
        [{"type": "E", "message": CANARY, "raised_at": "a.py:1 in f"}],
        [{"type": "E", "raised_at": "a.py:1 in f"}],
    ),
    "context": ({"instance": "i", "seq": 3, "more": CANARY}, {"instance": "i", "seq": 3}),
    "links": ([{"trace_id": "1", "span_id": "2", "attributes": {"why": CANARY}}], [{"trace_id": "1", "span_id": "2"}]),
    "place": ({"step": 1, "path": ["n"]}, {"step": 1, "path": ["n"]}),
    "request": ({"model": "m", "tools": "5f1c"}, {"model": "m", "tools": "5f1c"}),
    "scope": ({"name": "theirs", "version": "1"}, {"name": "theirs", "version": "1"}),
    "service": ({"duration_ms": 7}, {"duration_ms": 7}),
    "status": ({"code": 2, "description": CANARY}, {"code": 2}),
    "tags": (["beta", {"deep": CANARY}], ["beta"]),
    "trace_state": (f"vendor={CANARY},ot=th:8", "ot=th:8"),
    CUT: (["place", CANARY], ["place"]),
    REDACTED: (["place", CANARY], ["place"]),
    "replay": ({"of": "a", "verdict": "NEW", "why": CANARY}, {"of": "a", "verdict": "NEW"}),
    PROCESS: (
        {"pid": 7, "argv": [CANARY], "resource": {"team": CANARY, "service.name": "s"}},
        {"pid": 7, "resource": {"service.name": "s"}},
    ),
}


@pytest.mark.parametrize("name", sorted(METADATA - {SAID}))
def test_what_is_journaled_of_details(name: str) -> None:
    """With content off a field is journaled where it is known, and of it what is known."""
    said, kept = PARTS.get(name, ("word", "word"))
    assert harmless_details({name: said, "input": CANARY, "unheard.of": CANARY}) == {name: kept}


@pytest.mark.parametrize("name", sorted(METADATA - {SAID}))
def test_a_field_of_another_shape(name: str) -> None:
    """What is in the place of a field and is none of its kind is not journaled."""
    odd: Any = [{"deep": CANARY}] if name not in ("links", "causes") else {"deep": CANARY}
    kept = harmless_details({name: odd})
    assert kept == ({name: odd} if name in ("place", "request", "service") else {})


def test_what_a_program_says_by_hand() -> None:
    """Under a name of ours it is still the program's, but for names, ids and numbers, and a call that was given up."""
    given = {"reason": CANARY, "code": CANARY, "place": {"path": CANARY}, "agent": "a", "progress": 4, "more": CANARY}
    details = by_hand(given)
    assert details == {**given, SAID: ["reason", "code", "place"]}
    assert harmless_details(details) == {"agent": "a", "progress": 4}
    assert harmless_note(details) == {"progress": 4}
    for fine in ({"more": CANARY}, {"reason": "cancelled", "agent": "a"}, {}):
        assert by_hand(fine) is fine
    odd: Any = [1]
    assert by_hand(odd) is odd
    assert harmless_details({SAID: "reason", "reason": "timeout"}) == {"reason": "timeout"}


def test_errors() -> None:
    """An error is known by its type and code; of its message it is said that there was one."""
    assert harmless_error(None) is None
    error = ErrorInfo(type="pkg.Outer.<locals>.Broken", message=CANARY, code="ThrottlingException")
    assert harmless_error(error) == ErrorInfo(type=error.type, code=error.code)
    assert harmless_error(error, WITHHELD) == ErrorInfo(type=error.type, message=WITHHELD, code=error.code)
    assert harmless_error(ErrorInfo(type="E"), WITHHELD) == ErrorInfo(type="E")
    assert harmless_error(ErrorInfo(type=f"no {CANARY}", code=f"no {CANARY}")) == ErrorInfo(type="Error")


def test_facts() -> None:
    """Of a fact its details and its error are as they may be; one that has neither is as it was."""
    error, saying = ErrorInfo(type="E", message=CANARY), {"input": CANARY, "place": {"step": 1}}
    step = ("s", "TOOL", "n", "i", None, 1, 1, None, None)
    started, ended = StepStarted(*step, saying), StepEnded(*step, 2, "error", error, None, saying)
    noted = FailureNoted("s", "e", "X", "ERROR", 1, details=saying, error=error)
    for fact in (started, ended, noted, event("TOOL_ERROR", 3, details=saying, error=error)):
        told: Any = harmless_fact(fact)
        assert CANARY not in repr(msgspec.structs.astuple(told))
        assert told.details == {"place": {"step": 1}}
        assert harmless_fact(told) is told
    for fact in (
        Heartbeat(1, ("s",)),
        StepStarted(*step),
        StepStarted(*step, {"sampled": False, "place": {"step": 1}}),
    ):
        assert harmless_fact(fact) is fact
