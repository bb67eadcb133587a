"""Spans of the SDK, started and ended, as records and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_agent_journal.event import STEP_KINDS, ErrorInfo, Usage
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.facts import StepEnded, StepStarted, decode_fact, encode_fact, events_of
from otel_agent_journal.mapping.from_sdk import readable_span, span_record
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord
from otel_agent_journal.mapping.to_span import span_of_attempt

RESOURCE = Resource({"service.name": "test"})
TRACER = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).get_tracer("scope", "1.2")


def test_a_started_span_has_no_end() -> None:
    """A record of a running span says so, and has what was set at creation."""
    span: Any = TRACER.start_span("chat m", Context(), SpanKind.CLIENT, {"a": [1, 2]}, start_time=5)
    record = span_record(span)
    assert (record.name, record.kind, record.start_ns, record.end_ns) == ("chat m", "CLIENT", 5, None)
    assert record.attributes == {"a": (1, 2)}
    assert record.parent_span_id is None
    assert (record.scope_name, record.scope_version) == ("scope", "1.2")
    assert record.resource == {"service.name": "test"}
    span.end()


def test_an_ended_span_is_told_whole() -> None:
    """Parent, links, events, status and trace state are there."""
    other = SpanContext(0xA, 0xB, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")]))
    parent: Any = TRACER.start_span("parent", Context())
    span: Any = TRACER.start_span(
        "x", set_span_in_context(parent, Context()), links=[Link(other, {"l": 1})], start_time=5
    )
    span.add_event("hi", {"e": 1}, 6)
    span.set_status(Status(StatusCode.ERROR, "bad"))
    span.end(9)
    record = span_record(span)
    assert record.parent_span_id == f"{parent.get_span_context().span_id:016x}"
    assert record.trace_id == f"{parent.get_span_context().trace_id:032x}"
    assert record.events == (SpanEvent("hi", 6, {"e": 1}),)
    assert record.links == (SpanLink("a".zfill(32), "b".zfill(16), {"l": 1}),)
    assert (record.status_code, record.status_description, record.end_ns) == (2, "bad", 9)
    parent.end()


def test_a_span_without_scope_has_empty_scope_names() -> None:
    """A span that was made by hand needs no scope."""
    context = SpanContext(1, 2, is_remote=False, trace_state=TraceState([("k", "v")]))
    record = span_record(ReadableSpan("x", context, resource=RESOURCE))
    assert (record.scope_name, record.scope_version, record.start_ns, record.trace_state) == ("", "", 0, "k=v")


def test_a_span_without_context_is_refused() -> None:
    """A span that has no ids is no span."""
    with pytest.raises(ValueError, match="span 'x' has no span context"):
        span_record(ReadableSpan("x", resource=RESOURCE))


RECORDS = [
    SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="plain", start_ns=1),
    SpanRecord(
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_span_id="3" * 16,
        name="whole",
        kind="CLIENT",
        start_ns=1,
        end_ns=2,
        attributes={"a": 1, "b": ("x",)},
        events=(SpanEvent("e", 1, {"c": True}),),
        links=(SpanLink("4" * 32, "5" * 16),),
        status_code=2,
        status_description="bad",
        resource={"service.name": "r"},
        scope_name="s",
        scope_version="1",
        trace_state="k=v",
    ),
    SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="ok", start_ns=1, status_code=1),
    SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="error", start_ns=1, status_code=2),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_survives_the_way_to_the_sdk_and_back(record: SpanRecord) -> None:
    """What exporters are given is the record, whole."""
    assert span_record(readable_span(record)) == record


def test_a_resource_made_before_is_used() -> None:
    """A batch of spans shares one resource."""
    assert readable_span(RECORDS[0], RESOURCE).resource is RESOURCE


def test_an_unknown_kind_and_status_are_taken_as_the_defaults() -> None:
    """A record of a later version still gives a span."""
    span = readable_span(
        SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="x", kind="NEW", start_ns=1, status_code=9)
    )
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_value = _text | st.integers(0, 9) | st.lists(_text, max_size=2)
_extra = st.fixed_dictionaries(
    {},
    optional={
        genai.REQUEST_MODEL: _text,
        genai.TOOL_CALL_ID: _text,
        genai.OPERATION_NAME: _text | st.just("invoke_workflow"),
        "app.x": _value,
        "app.y": _value,
    },
)
_counts = st.integers(0, 3)


@given(
    kind=st.sampled_from(STEP_KINDS),
    name=_text,
    parent=st.none() | st.just("p"),
    attempt=st.integers(1, 5),
    at_start=_extra,
    at_end=_extra,
    outcome=st.sampled_from(["ok", "error", "cancelled", "interrupted"]),
    usage=st.none() | st.builds(Usage, input_tokens=_counts, cache_read_tokens=_counts, cache_write_tokens=_counts),
    error=st.none() | st.builds(ErrorInfo, type=_text, message=_text),
)
def test_a_rebuilt_span_equals_the_live_one(
    kind: str,
    name: str,
    parent: str | None,
    attempt: int,
    at_start: dict[str, Any],
    at_end: dict[str, Any],
    outcome: str,
    usage: Usage | None,
    error: ErrorInfo | None,
) -> None:
    """A step whose span the program's provider exports and one that the drain forwards cannot be told apart."""
    operation = at_start.get(genai.OPERATION_NAME)
    live: Any = TRACER.start_span(
        genai.span_name(kind, name, operation),
        Context(),
        SpanKind[genai.span_kind(kind)],
        genai.start_attributes(kind, name, "s", "id", parent, attempt, at_start),
        start_time=10,
    )
    for key, value in genai.end_attributes(outcome, usage, error, at_end).items():
        live.set_attribute(key, value)
    code, description = genai.span_status(outcome, error)
    live.set_status(Status(StatusCode(code), description))
    live.end(20)
    expected = span_record(live)

    trace_id, span_id = expected.trace_id, expected.span_id
    start = StepStarted("s", kind, name, "id", parent, attempt, 10, trace_id, span_id, {"attributes": at_start})
    end = StepEnded(
        "s", kind, name, "id", parent, attempt, 10, trace_id, span_id, 20, outcome, error, usage, {"attributes": at_end}
    )
    (started,), (ended,) = (events_of(decode_fact(encode_fact(fact)), "w") for fact in (start, end))
    rebuilt = span_of_attempt(started, ended, resource=RESOURCE.attributes, capture_content=True)

    assert rebuilt.attributes == expected.attributes
    assert (rebuilt.name, rebuilt.kind, rebuilt.start_ns, rebuilt.end_ns) == (
        expected.name,
        expected.kind,
        expected.start_ns,
        expected.end_ns,
    )
    assert (rebuilt.status_code, rebuilt.status_description) == (expected.status_code, expected.status_description)
    assert (rebuilt.trace_id, rebuilt.span_id) == (trace_id, span_id)
