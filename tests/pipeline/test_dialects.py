"""One trace of every dialect through every door: as it happens, as a batch that has ended, and over OTLP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opentelemetry.baggage import set_baggage
from opentelemetry.context import Context, set_value
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode, Tracer, set_span_in_context

from otel_agent_journal.codec import sealed
from otel_agent_journal.event import END_TYPES, SESSION_LINKED, START_TYPES, JournalEvent
from otel_agent_journal.mapping.facts import decode_fact, encode_fact, events_of
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.exporter import JournalSpanExporter
from otel_agent_journal.pipeline.processor import SHADOWED_SCOPES, JournalSpanProcessor
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import SESSION_KEY
from otel_agent_journal.projections.steps import fold_steps
from tests.mapping.recordings import DIALECTS, SESSION, Ended, played, recording, request
from tests.pipeline.conftest import Written


def of_types(events: list[JournalEvent], types: frozenset[str]) -> dict[str, JournalEvent]:
    """Return the events of these types by their ids."""
    return {event.event_id: event for event in events if event.type in types}


def over_otlp(dialect: str, spans: str = "genai") -> list[JournalEvent]:
    """Return the events of a recording that was received."""
    reader = ReceivedSpans(all_spans=spans == "all")
    facts = reader.facts(request(played(dialect)))
    return [event for fact in facts for event in events_of(decode_fact(encode_fact(fact)), "w" * 32)]


@pytest.mark.parametrize("spans", ["genai", "all"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_endings_are_equal_through_both_doors(recorder: Recorder, written: Written, dialect: str, spans: str) -> None:
    """An ending is a function of the span as it ended; its session alone may have been named later, and is linked."""
    played(dialect, JournalSpanProcessor(recorder, spans=spans))
    endings = of_types(written.events, END_TYPES)
    received = of_types(over_otlp(dialect, spans), END_TYPES)
    assert endings.keys() == received.keys()
    assert len(endings) >= 9
    linked = {event.session_id for event in written.events if event.type == SESSION_LINKED}
    elsewhere = [event.name for event_id, event in endings.items() if event != received[event_id]]
    assert elsewhere == (["retrieval"] if dialect == "official" else [])  # its workflow names the session as it ends
    for event_id, ending in endings.items():
        other = received[event_id]
        assert ending.session_id == other.session_id or {ending.session_id, other.session_id} <= linked
        assert sealed(msgspec.structs.replace(ending, session_id=other.session_id)) == other


_KEYS = (
    "agent_journal.step.kind",
    "error.type",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.input.messages",
    "gen_ai.operation.name",
    "gen_ai.prompt.0.content",
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "input.value",
    "llm.input_messages.0.message.content",
    "llm.request.type",
    "metadata",
    "openinference.span.kind",
    "session.id",
    "tool.name",
    "traceloop.entity.input",
    "traceloop.span.kind",
    "x",
)
_SESSION = ("gen_ai.conversation.id", "session.id")
_values = (
    st.sampled_from(("LLM", "TOOL", "chat", "execute_tool", "tool", "task", '{"inputs":{"a":1}}', "[1]", "", "ü"))
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.lists(st.text(max_size=3), max_size=3)
)
_attributes = st.dictionaries(st.sampled_from(_KEYS), _values, max_size=6)


@settings(max_examples=60, deadline=None)
@given(first=_attributes, later=_attributes, status=st.integers(0, 2), spans=st.sampled_from(("genai", "all")))
def test_any_span_ends_alike(first: dict[str, Any], later: dict[str, Any], status: int, spans: str) -> None:
    """Whatever a span says, and whenever it says it, its one ending is the same through both doors."""
    # A session that was named and taken back is known to who saw the span begin, and to nobody else.
    assume(not any(key in first and not (type(later.get(key, "x")) is str and later.get(key, "x")) for key in _SESSION))
    written, ended = Written(), Ended()
    provider = TracerProvider()
    provider.add_span_processor(JournalSpanProcessor(Recorder(written), spans=spans))
    provider.add_span_processor(ended)
    span = provider.get_tracer("somebody.else", "1").start_span("chat m", attributes=first)
    span.set_attributes(later)
    span.add_event("gen_ai.user.message", {"content": "hi"})
    span.set_status(Status(StatusCode(status), "why" if status == StatusCode.ERROR.value else None))
    span.end()
    facts = ReceivedSpans(all_spans=spans == "all").facts(request(ended.spans))
    received = [event for fact in facts for event in events_of(decode_fact(encode_fact(fact)), "w" * 32)]
    assert of_types(written.events, END_TYPES) == of_types(received, END_TYPES)
    assert of_types(written.events, START_TYPES).keys() == of_types(received, START_TYPES).keys()


@pytest.mark.parametrize("spans", ["genai", "all"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_starts_are_of_the_same_steps(recorder: Recorder, written: Written, dialect: str, spans: str) -> None:
    """STARTs are equal in id, time, span and step; only what they say of it depends on when they were journaled."""
    played(dialect, JournalSpanProcessor(recorder, spans=spans))
    live, received = of_types(written.events, START_TYPES), of_types(over_otlp(dialect, spans), START_TYPES)
    assert live.keys() == received.keys()
    linked = {event.session_id for event in written.events if event.type == SESSION_LINKED}
    for event_id, start in live.items():
        other = received[event_id]
        for field in ("timestamp_ns", "type", "name", "step_id", "parent_step_id", "attempt", "trace_id", "span_id"):
            assert getattr(start, field) == getattr(other, field), field
        assert start.session_id == other.session_id or {start.session_id, other.session_id} <= linked


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_batch_that_has_ended_gives_what_a_receiver_gives(recorder: Recorder, written: Written, dialect: str) -> None:
    """The exporter's events are the receiver's, but for the mark that an exporter has them, and for whose they are."""
    JournalSpanExporter(recorder).export(played(dialect))
    received = of_types(over_otlp(dialect), START_TYPES | END_TYPES)
    found = of_types(written.events, START_TYPES | END_TYPES)
    assert found.keys() == received.keys()
    for event_id, event in found.items():
        details = {key: value for key, value in event.details.items() if key != "exported"}
        assert details == {key: value for key, value in received[event_id].details.items() if key != "process"}
        assert event.session_id == received[event_id].session_id


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_is_stored_twice(dialect: str) -> None:
    """Of a span that has ended START has the identity alone, and whose it is."""
    for event in of_types(over_otlp(dialect), START_TYPES).values():
        identity = {"span_name", "span_kind", "scope", "parent_span_id", "trace_state", "links", "framework_session_id"}
        assert event.details.keys() <= {*identity, "process"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tree_is_whole(recorder: Recorder, written: Written, dialect: str) -> None:
    """Each invocation is one tree, though its spans say what they are only after those below them began."""
    played(dialect, JournalSpanProcessor(recorder))
    tree = fold_steps([msgspec.structs.replace(event, session_id=SESSION) for event in written.events])
    assert not any(step.orphan for step in tree.walk())
    ids = {span["span_id"] for span in recording(dialect)["spans"] if span["parent_span_id"] is None}
    assert {step.last.span_id for step in tree.roots} == ids
    tools = [step for step in tree.walk() if step.kind == "TOOL"]
    assert {step.name for step in tools} == {"search", "broken"}
    assert all(step.depth > 0 for step in tools)


LANGCHAIN = ("official", "openinference", "traceloop")
SECRETS = ("bread", "Bread", "Be brief", "cheese", "Streamed", "Look something", "shelf")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_content_that_is_switched_off_is_nowhere(written: Written, dialect: str) -> None:
    """With AGENT_JOURNAL_CONTENT=metadata nothing that anybody said is journaled, in any dialect."""
    recorder = Recorder(written, encoder=ContentEncoder(content=False))
    played(dialect, JournalSpanProcessor(recorder))
    assert len(written.events) >= 18
    for event in written.events:
        details = dict(event.details)
        attributes = dict(details.pop("attributes", {}))
        attributes.pop("gen_ai.tool.description", None)
        attributes.pop("gen_ai.tool.json_schema", None)
        details.pop("status", None)  # says why it failed, as the error does
        said = msgspec.json.encode([details, attributes]).decode()
        assert not [secret for secret in SECRETS if secret in said], said


def test_a_session_that_is_named_late(recorder: Recorder, written: Written) -> None:
    """A START that was journaled under the trace's id stays there; what comes after is in the session."""
    played("official", JournalSpanProcessor(recorder))
    starts = [event for event in written.events if event.type in START_TYPES]
    late = {event.trace_id for event in starts if event.session_id == event.trace_id}
    assert late == {event.trace_id for event in starts}
    endings = [event for event in written.events if event.type in END_TYPES and event.name != "retrieval"]
    assert {event.session_id for event in endings} == {SESSION}
    links = [event for event in written.events if event.type == SESSION_LINKED]
    assert len(links) == 2 * len(late)
    for link in links:
        assert {link.session_id, link.details["other"]} == {SESSION, link.details["trace"]}


def test_links_are_told_whatever_is_left_out(written: Written) -> None:
    """That two sessions are one is no content."""
    played("official", JournalSpanProcessor(Recorder(written, encoder=ContentEncoder(content=False))))
    assert {event.details["session"] for event in written.events if event.type == SESSION_LINKED} == {SESSION}


def test_spans_between_steps_are_passed_over(recorder: Recorder, written: Written) -> None:
    """A step's parent is the next step above, whatever opened the spans between, and in whatever order they ended."""
    provider = TracerProvider()
    provider.add_span_processor(JournalSpanProcessor(recorder))
    tracer = provider.get_tracer("somebody.else")
    agent = tracer.start_span("agent")
    agent.set_attribute("gen_ai.operation.name", "invoke_agent")
    http = tracer.start_span("GET /", context=set_span_in_context(agent))
    model = tracer.start_span("chat m", context=set_span_in_context(http), attributes={"gen_ai.operation.name": "chat"})
    agent.end()
    http.end()
    model.end()
    tree = fold_steps(written.events)
    assert [(step.name, step.depth) for step in tree.walk()] == [("agent", 0), ("m", 1)]


def test_a_chain_of_ended_spans_is_not_kept(recorder: Recorder, written: Written) -> None:
    """A loop that goes on under what it did before holds on to the steps above it and to nothing else."""
    processor = JournalSpanProcessor(recorder)
    provider = TracerProvider()
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("somebody.else")
    root = tracer.start_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"})
    above = root
    for _ in range(50):
        below = tracer.start_span("GET /", context=set_span_in_context(above))
        above.end()
        above = below
    model = tracer.start_span("chat", context=set_span_in_context(above), attributes={"gen_ai.operation.name": "chat"})
    above.end()
    (opened,) = processor._open.values()
    depth = 0
    while opened is not None:
        opened, depth = opened.above, depth + 1
    assert depth <= 3
    model.end()
    assert not processor._open
    assert [step.depth for step in fold_steps(written.events).walk()] == [0, 1]


def test_the_session_around_a_span_goes_before_its_own(recorder: Recorder, written: Written) -> None:
    """The block around a span, and with it all that is opened below, decides; what it names itself is kept beside."""
    provider = TracerProvider()
    provider.add_span_processor(JournalSpanProcessor(recorder))
    tracer = provider.get_tracer("somebody.else")
    chat = {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": "own"}
    around = set_value(SESSION_KEY, "around")
    tracer.start_span("chat", context=around, attributes=chat).end()
    assert [event.session_id for event in written.events] == ["around", "around"]
    assert written.events[0].details["framework_session_id"] == "own"


@pytest.mark.parametrize(("trusted", "found"), [(False, None), (True, "carried")])
def test_the_session_that_baggage_names(written: Written, trusted: bool, found: str | None) -> None:
    """Where baggage is trusted it names the session of a span that names none."""
    provider = TracerProvider()
    provider.add_span_processor(JournalSpanProcessor(Recorder(written, trusts_baggage=trusted)))
    tracer = provider.get_tracer("somebody.else")
    chat = {"gen_ai.operation.name": "chat"}
    carried = set_baggage("session.id", "carried")
    span = tracer.start_span("chat", context=carried, attributes=chat)
    span.end()
    tracer.start_span("chat", context=carried, attributes={**chat, "session.id": "own"}).end()
    assert {event.session_id for event in written.events[:2]} == {found or f"{span.get_span_context().trace_id:032x}"}
    assert {event.session_id for event in written.events[2:]} == {"own"}


def test_whose_spans_show_again_what_ours_journal() -> None:
    """The scopes are those that the instrumentations of LangChain record under."""
    scopes = {span["scope"]["name"] for dialect in LANGCHAIN for span in recording(dialect)["spans"]}
    assert scopes <= SHADOWED_SCOPES


def test_a_late_name_reaches_through_silent_spans(recorder: Recorder, written: Written) -> None:
    """A session that a span is given after its creation counts for what is below spans in between that say nothing."""
    tracer = provided(recorder)
    with tracer.start_as_current_span("GET") as request:
        request.set_attribute("session.id", "s9")
        with tracer.start_as_current_span("handle"):
            tracer.start_span("chat m", attributes={"gen_ai.operation.name": "chat"}).end()
    assert [event.session_id for event in written.events] == ["s9", "s9"]


def test_a_silent_span_in_a_block_names_its_trace(recorder: Recorder, written: Written) -> None:
    """A span that is none of an agent's still says which session its trace is of."""
    tracer = provided(recorder)
    around = set_value(SESSION_KEY, "block")
    for _ in range(2):  # the second trace is not taken for the first
        request = tracer.start_span("GET", context=around)
        outside = set_span_in_context(request, Context())
        tracer.start_span("chat m", context=outside, attributes={"gen_ai.operation.name": "chat"}).end()
    assert {event.session_id for event in written.events} == {"block"}


def test_a_span_that_speaks_late(recorder: Recorder, written: Written) -> None:
    """A span that says only later what it is, by an attribute or an event, is a step, with what is below it."""
    tracer = provided(recorder)
    with tracer.start_as_current_span("by attribute") as late:
        late.set_attribute("gen_ai.operation.name", "invoke_agent")
        with tracer.start_as_current_span("silent"), tracer.start_as_current_span("by event") as told:
            told.add_event("gen_ai.user.message", {"content": "hello"})
    assert [(step.depth, step.name) for step in fold_steps(written.events).walk()] == [
        (0, "by attribute"),
        (1, "by event"),
    ]


def test_silent_spans_are_not_read(recorder: Recorder, written: Written) -> None:
    """Of spans that say nothing nothing is written, whatever they are named; one of the same names may speak later."""
    tracer = provided(recorder)
    for _ in range(3):
        with tracer.start_as_current_span("SELECT", attributes={"db.system": "x"}) as span:
            span.set_attribute("rows", 3)
    assert not written.payloads
    with tracer.start_as_current_span("SELECT", attributes={"db.system": "x"}) as span:
        span.set_attribute("gen_ai.request.model", "m")
    assert [event.type for event in written.events] == ["STEP_START", "STEP_END"]


def provided(recorder: Recorder) -> Tracer:
    """Return a tracer of a provider that the journal is attached to."""
    provider = TracerProvider()
    provider.add_span_processor(JournalSpanProcessor(recorder))
    return provider.get_tracer("somebody.else")
