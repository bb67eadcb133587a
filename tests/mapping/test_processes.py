"""What received spans say of the process that they are of, and of the errors that they end with."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.mapping.facts import StepEnded
from otel_agent_journal.mapping.processes import harmless_resource, kept_resource
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.mapping.span_record import SpanEvent, SpanRecord

RESOURCE = {"service.name": "reader", "service.version": "9", "host.name": "h1", "process.pid": 7, "team": "blue"}


def span(number: int, resource: dict[str, Any], session: str = "s1", **more: Any) -> SpanRecord:
    return SpanRecord(
        trace_id="a" * 32,
        span_id=f"{number:016x}",
        name="chat m",
        start_ns=number,
        end_ns=number + 1,
        attributes={"gen_ai.operation.name": "chat", "gen_ai.conversation.id": session},
        resource=resource,
        **more,
    )


def introductions(spans: ReceivedSpans, *records: SpanRecord) -> list[Any]:
    """Return what is told of processes with the steps of these spans."""
    details = [getattr(fact, "details", {}) for fact in spans.facts_of(records, 1)]
    return [said["process"] for said in details if "process" in said]


def test_with_agents_and_spans_without_a_parent() -> None:
    """The START of an agent and of a span that has no parent says whose it is, whenever it comes; others do not."""
    spans, other = ReceivedSpans(), {**RESOURCE, "process.pid": 8}
    first = introductions(spans, span(1, RESOURCE), span(2, RESOURCE, parent_span_id="a" * 16), span(3, other))
    assert [told["pid"] for told in first] == [7, 8]
    assert introductions(spans, span(1, dict(RESOURCE))) == first[:1]
    assert introductions(spans, span(1, RESOURCE), span(2, RESOURCE)) == [first[0]] * 2
    assert (first[0]["host"], first[0]["service"], first[0]["service_version"]) == ("h1", "reader", "9")
    assert first[0]["resource"]["team"] == "blue"


def test_a_resource_that_names_no_process() -> None:
    """A resource without service, host or pid says nothing."""
    assert introductions(ReceivedSpans(), span(1, {}), span(2, {"telemetry.sdk.name": "x"})) == []
    assert introductions(ReceivedSpans(), span(1, {"service.name": ""})) == []


def test_what_is_kept_of_a_resource() -> None:
    """Secrets are masked, command lines and lists left out; with content off only names of the conventions stay."""
    kept = kept_resource(
        {**RESOURCE, "db.password": "p", "url": "http://u:p@h/", "process.command_args": ("a",), "process.command": "c"}
    )
    assert kept == {**RESOURCE, "db.password": "***", "url": "http://***@h/"}
    assert set(harmless_resource(kept)) == set(RESOURCE) - {"team"}
    assert len(kept_resource({f"k{number}": number for number in range(200)})) == 64


STACK = 'Traceback (most recent call last):\n  File "/app/a.py", line 3, in deep\n    raise ValueError\nValueError: no'


def test_the_stack_of_a_span_that_failed() -> None:
    """The exception that a span tells of has its stack and raise site in the ending's details, at most so long."""
    event = SpanEvent(
        "exception", 1, {"exception.type": "ValueError", "exception.message": "no", "exception.stacktrace": STACK}
    )
    (ended,) = (
        fact
        for fact in ReceivedSpans().facts_of([span(1, {}, status_code=2, events=(event,))], 1)
        if isinstance(fact, StepEnded)
    )
    assert ended.error == ErrorInfo(type="ValueError", message="no")
    assert (ended.details["raised_at"], ended.details["stack"]) == ("/app/a.py:3 in deep", STACK)
    long = SpanEvent("exception", 1, {"exception.stacktrace": "x" * 100_000 + STACK})
    (ended,) = (
        fact
        for fact in ReceivedSpans().facts_of([span(1, {}, status_code=2, events=(long,))], 1)
        if isinstance(fact, StepEnded)
    )
    assert ended.details["stack"].endswith(STACK)
    assert len(ended.details["stack"]) < 12_100
