"""Spans that were received: in which session they are kept, what is above them, and that a repetition is one."""

from __future__ import annotations

import msgspec
import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import (
    SpansReceived,
    StepEnded,
    StepStarted,
    decode_fact,
    encode_fact,
    events_of,
    interruption,
)
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.mapping.span_join import SpanJoiner
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.mapping.trace_sessions import RecentTraces
from otel_agent_journal.pairing import is_ending, is_start
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.projections.verdict import head_of

TRACE = "a" * 32
AGENT, TOOL, MODEL, HTTP = "1" * 16, "2" * 16, "3" * 16, "4" * 16
BASE_NS = 1_700_000_000_000_000_000


def received(now_ns: int, *spans: tuple[str, str | None, dict[str, str]], trace: str = TRACE) -> SpansReceived:
    """Return a request: each span its id, its parent's, its attributes; the first begins first and ends last."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    made = ExportTraceServiceRequest()
    of_scope = made.resource_spans.add().scope_spans.add()
    for span_id, parent, attributes in spans:
        number = int(span_id[0])
        span = of_scope.spans.add(
            trace_id=bytes.fromhex(trace),
            span_id=bytes.fromhex(span_id),
            parent_span_id=bytes.fromhex(parent or ""),
            name="span",
            start_time_unix_nano=BASE_NS + number,
            end_time_unix_nano=BASE_NS + 1000 - number,
        )
        for key, value in attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return SpansReceived(now_ns, made.SerializeToString())


AGENT_SPAN = (AGENT, None, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"})
TOOL_SPAN = (TOOL, AGENT, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"})
MODEL_SPAN = (MODEL, TOOL, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
HTTP_SPAN = (HTTP, TOOL, {"http.request.method": "GET"})


def named(span: tuple[str, str | None, dict[str, str]], session_id: str) -> tuple[str, str | None, dict[str, str]]:
    """Return a span that names its session."""
    return (span[0], span[1], span[2] | {"gen_ai.conversation.id": session_id})


def journaled(*requests: SpansReceived, spans: ReceivedSpans | None = None) -> list[JournalEvent]:
    """Return the events that requests amount to, in this order."""
    reader = spans or ReceivedSpans()
    facts = [fact for request in requests for fact in reader.facts(request)]
    return [event for fact in facts for event in events_of(fact, "w")]


@pytest.mark.parametrize(
    "requests",
    [
        [received(1, AGENT_SPAN, TOOL_SPAN, MODEL_SPAN)],
        [received(1, MODEL_SPAN), received(2, TOOL_SPAN), received(3, AGENT_SPAN)],
        [received(1, AGENT_SPAN), received(2, MODEL_SPAN), received(3, TOOL_SPAN)],
    ],
    ids=["at once", "children first", "in between"],
)
def test_one_tree(requests: list[SpansReceived]) -> None:
    """Whatever the order in which spans come, the tree and the status are the same."""
    events = journaled(*requests)
    tree = fold_steps(events)
    assert [(step.name, step.depth) for step in tree.walk()] == [("helper", 0), ("search", 1), ("m", 2)]
    assert not any(step.orphan for step in tree.walk())
    assert head_of(fold(events), TRACE).status == "COMPLETED"
    assert len(events) == 6


def test_spans_that_are_no_steps() -> None:
    """A step below a span that is none hangs under the step above that; one whose trace begins so is a root."""
    below = (MODEL, HTTP, MODEL_SPAN[2])
    tree = fold_steps(journaled(received(1, AGENT_SPAN, TOOL_SPAN, HTTP_SPAN, below)))
    assert [(step.name, step.depth) for step in tree.walk()] == [("helper", 0), ("search", 1), ("m", 2)]
    first = (HTTP, None, HTTP_SPAN[2])
    (root,) = fold_steps(journaled(received(1, first, below))).roots
    assert (root.name, root.parent_step_id) == ("m", None)


def test_spans_above_each_other() -> None:
    """Spans that are each other's parents are roots, and nothing hangs."""
    one, other = (AGENT, HTTP, {"x": "1"}), (HTTP, AGENT, {"x": "1"})
    (root,) = fold_steps(journaled(received(1, one, other, (MODEL, AGENT, MODEL_SPAN[2])))).roots
    assert root.name == "m"


def test_a_session_named_at_once() -> None:
    """One span names the session of all spans of its trace in a request, and in those that come after it."""
    events = journaled(received(1, named(AGENT_SPAN, "s1"), TOOL_SPAN), received(2, MODEL_SPAN))
    assert {event.session_id for event in events} == {"s1"}


def test_a_session_named_late() -> None:
    """What came before the name stays with the trace; both are told, once, however often that is read again."""
    requests = [received(1, MODEL_SPAN), received(2, named(AGENT_SPAN, "s1"), TOOL_SPAN)]
    reader = ReceivedSpans()
    events = journaled(*requests, spans=reader)
    assert [(event.session_id, event.type) for event in events] == [
        (TRACE, "MODEL_START"),
        (TRACE, "MODEL_END"),
        ("s1", "AGENT_START"),
        ("s1", "AGENT_END"),
        ("s1", "TOOL_START"),
        ("s1", "TOOL_END"),
        ("s1", "SESSION_LINKED"),
        (TRACE, "SESSION_LINKED"),
    ]
    assert {event.key for event in journaled(*requests, spans=reader)} == {event.key for event in events}
    again = journaled(received(3, (HTTP, AGENT, MODEL_SPAN[2])), spans=reader)
    assert [event.type for event in again] == ["MODEL_START", "MODEL_END", "SESSION_LINKED", "SESSION_LINKED"]
    assert {event.key for event in again[2:]} == {event.key for event in events[6:]}


def test_a_session_of_the_resource() -> None:
    """A session that the resource names is that of all its spans."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(received(1, AGENT_SPAN).request)
    request.resource_spans[0].resource.attributes.add(key="session.id").value.string_value = "r1"
    events = journaled(SpansReceived(1, request.SerializeToString()))
    assert {event.session_id for event in events} == {"r1"}


def test_only_what_is_of_agents() -> None:
    """Other spans are left out, unless all are asked for."""
    request = received(1, AGENT_SPAN, (HTTP, AGENT, HTTP_SPAN[2]))
    assert len(journaled(request)) == 2
    assert len(journaled(request, spans=ReceivedSpans(all_spans=True))) == 4


def test_what_an_event_says_of_its_trace() -> None:
    """An event that names the trace of its session names it for spans, too."""
    reader = ReceivedSpans()
    reader.told("1" * 32, "s", 1)
    assert {event.session_id for event in journaled(received(2, AGENT_SPAN, trace="1" * 32), spans=reader)} == {"s"}


def test_what_is_remembered_is_bounded() -> None:
    """Of more traces than are remembered the ones heard of last are."""
    traces = RecentTraces(2)
    for number in range(9):
        trace = f"{number + 1:032x}"
        journaled(received(number, named(AGENT_SPAN, "s"), trace=trace), spans=ReceivedSpans(traces=traces))
    assert [traces.get(f"{number + 1:032x}").session_id for number in (7, 8, 0)] == ["s", "s", None]


def test_not_a_request() -> None:
    """Bytes that are none say so."""
    with pytest.raises(ValueError, match="not a request for spans"):
        ReceivedSpans().facts(SpansReceived(1, b"\xff\xff"))
    assert decode_fact(encode_fact(SpansReceived(1, b"x"))) == SpansReceived(1, b"x")


# --- steps that did not end ---------------------------------------------------------------------------------------

WRITER = "b" * 32


def of_the_agent() -> list[JournalEvent]:
    """Return what an agent journals until it is killed within a tool, and what its drain adds."""
    facts = [
        StepStarted("s", "AGENT", "helper", "a1", None, 1, BASE_NS, TRACE, AGENT),
        StepStarted("s", "TOOL", "done", "t1", "a1", 1, BASE_NS + 1, TRACE, MODEL),
        StepEnded("s", "TOOL", "done", "t1", "a1", 1, BASE_NS + 1, TRACE, MODEL, BASE_NS + 2, "ok"),
        StepStarted("s", "TOOL", "search", "t2", "a1", 1, BASE_NS + 3, TRACE, TOOL),
    ]
    return [event for fact in facts for event in events_of(fact, WRITER)] + [
        interruption("s", WRITER, BASE_NS + 9, "killed")
    ]


def forwarded(events: list[JournalEvent]) -> list[SpanRecord]:
    """Return the spans that are made of events as they come."""
    joiner, spans = SpanJoiner(), list[SpanRecord]()
    for event in events:
        if is_start(event):
            joiner.begin(event)
        elif is_ending(event):
            span = joiner.end(event)
            spans += [] if span is None else [span]
        else:
            spans += joiner.interrupt(event)
    return spans


@pytest.mark.parametrize("with_events", ["none", "before", "after"])
def test_killed_behind_a_receiver(with_events: str) -> None:
    """An agent that was killed reads so by its spans alone and by both in any order: never as waiting."""
    own = of_the_agent()
    facts = ReceivedSpans().facts_of(forwarded(own), BASE_NS)
    of_spans = [event for fact in facts for event in events_of(fact, "worker")]
    told = {"none": of_spans, "before": own + of_spans, "after": of_spans + own}[with_events]
    kept = list({event.key: event for event in reversed(told)}.values())  # as stores do: of two copies the first stays
    assert {event.key for event in kept} == {event.key for event in own}
    head = head_of(fold(kept), "s")
    assert (head.status, head.reason, head.ended_ns) == ("INTERRUPTED", "killed", BASE_NS + 10)
    steps = {step.name: step for step in fold_steps(kept).walk()}
    assert {name: (step.status, step.last.reason) for name, step in steps.items()} == {
        "helper": ("interrupted", "killed"),
        "done": ("ok", None),
        "search": ("interrupted", "killed"),
    }


def test_open_as_it_was_exported() -> None:
    """A step that was open as its session was exported is not over for that: its writer may live."""
    joiner = SpanJoiner()
    joiner.begin(of_the_agent()[0])
    facts = ReceivedSpans().facts_of(joiner.abandon({WRITER: BASE_NS + 5}), BASE_NS)
    events = [event for fact in facts for event in events_of(fact, "worker")]
    assert [(event.type, event.writer) for event in events] == [("AGENT_START", WRITER)]
    assert head_of(fold(events), "s").status == "PROCESSING"


def test_a_span_without_end() -> None:
    """A span that says of no end is a step that runs, until the span that has ended comes."""
    started = SpanRecord(
        trace_id=TRACE,
        span_id=AGENT,
        name="invoke_agent helper",
        start_ns=BASE_NS,
        attributes={"gen_ai.operation.name": "invoke_agent"},
    )
    spans = ReceivedSpans()
    first = [event for fact in spans.facts_of([started], BASE_NS) for event in events_of(fact, "w")]
    assert head_of(fold(first), TRACE).status == "PROCESSING"
    over = msgspec.structs.replace(started, end_ns=BASE_NS + 5)
    then = [event for fact in spans.facts_of([over], BASE_NS) for event in events_of(fact, "w")]
    assert then[0].key == first[0].key
    assert head_of(fold([*first, then[1]]), TRACE).status == "COMPLETED"


def test_left_open_in_a_spool() -> None:
    """The fact of a step that is open can be kept like any other."""
    (fact,) = ReceivedSpans().facts_of(forwarded(of_the_agent())[-1:], BASE_NS)
    assert decode_fact(encode_fact(fact)) == fact
