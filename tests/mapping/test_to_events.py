"""Spans that others opened, as facts of steps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import ErrorInfo, Usage, derived_id, step_event_id
from otel_agent_journal.mapping import genai, to_events
from otel_agent_journal.mapping.facts import decode_fact, encode_fact, events_of
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord
from otel_agent_journal.mapping.to_span import span_of_attempt

TRACE, SPAN = "1" * 32, "2" * 16


def record(attributes: dict[str, Any] | None = None, **fields: Any) -> SpanRecord:
    """Return a span with these attributes."""
    fields = {"name": "a span", "start_ns": 100, "end_ns": 250, **fields}
    return SpanRecord(trace_id=TRACE, span_id=SPAN, attributes=attributes or {}, **fields)


@pytest.mark.parametrize(
    ("attributes", "spans", "journaled"),
    [
        ({"gen_ai.operation.name": "chat"}, "genai", True),
        ({"agent_journal.step.id": "x"}, "genai", True),
        ({"http.request.method": "GET"}, "genai", False),
        ({}, "genai", False),
        ({}, "all", True),
        ({"gen_ai.operation.name": "execute_event_loop_cycle"}, "genai", False),
        ({"gen_ai.operation.name": "execute_event_loop_cycle"}, "all", True),
    ],
)
def test_genai_spans_are_journaled_and_others_only_when_asked(
    attributes: dict[str, Any], spans: str, *, journaled: bool
) -> None:
    """AGENT_JOURNAL_SPANS=all lets every span in."""
    assert to_events.is_journaled(record(attributes), spans=spans) is journaled


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"gen_ai.operation.name": "plan"}, True),
        ({"agent_journal.step.kind": "step"}, True),
        ({"gen_ai.provider.name": "x"}, False),
    ],
)
def test_a_span_tells_its_kind_by_operation_or_in_words(attributes: dict[str, Any], *, told: bool) -> None:
    """Until it does a START of it would be of a plain step."""
    assert to_events.tells_its_kind(record(attributes)) is told


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"agent_journal.step.kind": "node"}, "NODE"),
        ({"agent_journal.step.kind": "unheard of", "gen_ai.operation.name": "chat"}, "MODEL"),
        ({"gen_ai.operation.name": "execute_tool"}, "TOOL"),
        ({"gen_ai.operation.name": "invoke_workflow"}, "AGENT"),
        ({"gen_ai.operation.name": "embeddings"}, "MODEL"),
        ({"gen_ai.operation.name": "retrieval"}, "RETRIEVAL"),
        ({"gen_ai.operation.name": "plan"}, "STEP"),
        ({}, "STEP"),
    ],
)
def test_the_kind_follows_from_the_operation(attributes: dict[str, Any], kind: str) -> None:
    """A span's own word for its kind goes first; what nobody knows is a plain step."""
    assert to_events.kind_of_span(record(attributes)) == kind


@pytest.mark.parametrize(
    ("kind", "span_name", "attributes", "name"),
    [
        ("TOOL", "execute_tool x", {genai.TOOL_NAME: "search"}, "search"),
        ("TOOL", "execute_tool search", {}, "search"),
        ("AGENT", "invoke_agent a b", {}, "a b"),
        ("AGENT", "x", {genai.WORKFLOW_NAME: "w", genai.AGENT_NAME: "a"}, "w"),
        ("MODEL", "chat", {genai.OPERATION_NAME: "chat", genai.REQUEST_MODEL: "gpt-x"}, "gpt-x"),
        ("MODEL", "embeddings e5", {genai.OPERATION_NAME: "embeddings"}, "e5"),
        ("MODEL", "Fake.chat", {}, "Fake.chat"),
        ("STEP", "GET /", {}, "GET /"),
        ("TOOL", "execute_tool", {genai.TOOL_NAME: 7}, "execute_tool"),
    ],
)
def test_a_step_is_named_by_its_target(kind: str, span_name: str, attributes: dict[str, Any], name: str) -> None:
    """The attribute that names the target goes first, then the span's name without its verb."""
    assert to_events.name_of_span(record(attributes, name=span_name), kind) == name


def test_a_span_of_ours_says_its_own_session() -> None:
    """The recorder has decided already."""
    ours = record({genai.STEP_ID: "x", genai.CONVERSATION_ID: "mine"})
    assert to_events.session_of(ours, enclosing="e", default="d") == "mine"


def test_the_session_is_the_first_that_applies() -> None:
    """Enclosing step or block, `--session`, the span's own ids, the trace."""
    span = record({"session.id": "own"})
    assert to_events.session_of(span, enclosing="e", default="d") == "e"
    assert to_events.session_of(span, default="d") == "d"
    assert to_events.session_of(span) == "own"
    assert to_events.session_of(record({"session.id": ""})) == TRACE
    assert to_events.session_of(record({genai.STEP_ID: "x"}), enclosing="e") == "e"


def test_a_foreign_step_is_known_by_trace_span_and_start() -> None:
    """Spans whose ids collide, as those of a seeded random do, are still two steps."""
    first, second = record(start_ns=1), record(start_ns=2)
    assert to_events.step_id_of(first) == derived_id(f"{TRACE}:{SPAN}:1")
    assert to_events.step_id_of(first) != to_events.step_id_of(second)


@pytest.mark.parametrize(("value", "attempt"), [(3, 3), (0, 1), ("2", 2), (-1, 1), (True, 1), (None, 1)])
def test_the_attempt_is_one_where_a_span_does_not_say(value: Any, attempt: int) -> None:
    """Only a positive number is an attempt."""
    assert to_events.attempt_of(record({genai.ATTEMPT: value})) == attempt


def test_a_span_of_ours_gives_the_events_that_the_recorder_wrote() -> None:
    """A step that comes through two doors is one step: the event ids are equal."""
    ours = record(
        genai.start_attributes("TOOL", "search", "s", "the-step", "the-parent", 2),
        name="execute_tool search",
        end_ns=None,
    )
    start = to_events.started(ours, parent_step_id="not this one")
    (event,) = events_of(start, "w")
    assert event.event_id == step_event_id("the-step", 2, 100, "START")
    assert (start.session_id, start.kind, start.name, start.parent_step_id) == ("s", "TOOL", "search", "the-parent")
    assert start.details == {"attributes": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}}


def test_what_does_not_follow_from_the_step_is_kept() -> None:
    """Name, kind, scope, links, state and an unused session id of a foreign span are in the details of its START."""
    foreign = record(
        {genai.OPERATION_NAME: "chat", "gen_ai.input.messages": '[{"role":"user"}]', genai.CONVERSATION_ID: "thread"},
        name="Fake.chat",
        parent_span_id="3" * 16,
        scope_name="theirs",
        scope_version="2",
        trace_state="k=v",
        links=(SpanLink("4" * 32, "5" * 16), SpanLink("6" * 32, "7" * 16, {"a": 1})),
        end_ns=None,
    )
    start = to_events.started(foreign, session_id="s")
    assert start.name == "Fake.chat"
    said = {"attributes": {genai.OPERATION_NAME: "chat"}, "messages": [{"role": "user"}]}
    identity = {
        "span_name": "Fake.chat",
        "span_kind": "INTERNAL",
        "scope": {"name": "theirs", "version": "2"},
        "parent_span_id": "3" * 16,
        "trace_state": "k=v",
        "links": [
            {"trace_id": "4" * 32, "span_id": "5" * 16},
            {"trace_id": "6" * 32, "span_id": "7" * 16, "attributes": {"a": 1}},
        ],
        "framework_session_id": "thread",
    }
    assert start.details == said | identity
    over = to_events.started(msgspec.structs.replace(foreign, end_ns=250), session_id="s")
    assert over.details == identity  # the rest is what its ending says
    assert to_events.ended(foreign, session_id="s").details == said


def test_a_parent_span_stays_beside_the_parent_step() -> None:
    """A span of no interest may lie between the two; only a step of ours is known to lie under its parent's span."""
    start = to_events.started(record(parent_span_id="3" * 16), parent_step_id="parent")
    assert (start.parent_step_id, start.details["parent_span_id"]) == ("parent", "3" * 16)
    ours = record({genai.STEP_ID: "x", genai.STEP_PARENT_ID: "own"}, parent_span_id="3" * 16)
    start = to_events.started(ours, parent_step_id="parent")
    assert (start.parent_step_id, "parent_span_id" in start.details) == ("own", False)


def test_an_ending_has_everything_that_the_span_says() -> None:
    """Whether or not its START had some of it: the ending is the same through every door."""
    attributes = {"a": 1, "b": 2, "gen_ai.output.messages": '[{"role":"assistant"}]', "gen_ai.usage.input_tokens": 5}
    fact = to_events.ended(record(attributes, events=(SpanEvent("e", 120, {"x": 1}),), status_code=1))
    assert (fact.outcome, fact.end_ns, fact.usage) == ("ok", 250, Usage(input_tokens=5))
    assert fact.details == {
        "attributes": {"a": 1, "b": 2},
        "output": [{"role": "assistant"}],
        "events": [{"name": "e", "timestamp_ns": 120, "attributes": {"x": 1}}],
        "status": {"code": 1, "description": None},
    }


@pytest.mark.parametrize("end_ns", [99, 0, None])
def test_an_ending_is_never_before_its_start(end_ns: int | None) -> None:
    """Where the clock stepped back a step is over as it starts, through every door."""
    assert to_events.ended(record(end_ns=end_ns)).end_ns == 100


def test_a_span_that_did_not_end() -> None:
    """One that says of no end, or was cut, is a step that is open, of a writer of its own."""
    running, cut = record(end_ns=None), record({"agent_journal.left_open": "killed", "agent_journal.writer": "w"})
    assert [to_events.is_open(span) for span in (running, cut, record())] == [True, True, False]
    fact = to_events.left_open(cut, session_id="s", parent_step_id="p")
    assert (fact.session_id, fact.parent_step_id, fact.start_ns) == ("s", "p", 100)
    assert (fact.writer, fact.reason, fact.last_seen_ns) == ("w", "killed", cut.end_ns)
    fact = to_events.left_open(running)
    assert (fact.reason, fact.last_seen_ns) == ("", 100)
    assert fact.writer == to_events.left_open(record({"app.x": 1}, end_ns=None)).writer != ""
    assert to_events.left_open(record({"agent_journal.left_open": "unknown"})).reason == ""


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        ({}, None),
        ({"gen_ai.usage.input_tokens": "many"}, None),
        ({"gen_ai.usage.input_tokens": float("nan"), "gen_ai.usage.output_tokens": 1e300}, None),
        (
            {"gen_ai.usage.prompt_tokens": 3, "gen_ai.usage.completion_tokens": 4.0},
            Usage(input_tokens=3, output_tokens=4),
        ),
        ({"gen_ai.usage.cache_creation.input_tokens": 2}, Usage(cache_write_tokens=2)),
        ({"gen_ai.usage.cache_write.input_tokens": 2}, Usage(cache_write_tokens=2)),
        (
            {"gen_ai.usage.cache_read.input_tokens": 9, "gen_ai.usage.cache_read_input_tokens": 1},
            Usage(cache_read_tokens=9),
        ),
        ({"gen_ai.usage.reasoning.output_tokens": 6}, Usage(reasoning_tokens=6)),
        ({"gen_ai.usage.input_tokens": -1, "gen_ai.usage.output_tokens": "-1"}, None),
        ({"gen_ai.usage.input_tokens": -1, "gen_ai.usage.prompt_tokens": "12.0"}, Usage(input_tokens=12)),
        ({"gen_ai.usage.input_tokens": True, "gen_ai.usage.output_tokens": " 3 "}, Usage(output_tokens=3)),
    ],
)
def test_tokens_are_read_under_every_name_in_use(attributes: dict[str, Any], usage: Usage | None) -> None:
    """Caches are read under both names that the conventions gave their writing."""
    assert to_events.usage_of(attributes) == usage


def test_numbers_are_kept_as_numbers() -> None:
    """What the conventions have as a number is one though it was sent as text; what is none stays as it was said."""
    said = {"gen_ai.request.temperature": "0.7", "server.port": "443", "gen_ai.request.max_tokens": "no limit"}
    kept = {"gen_ai.request.temperature": 0.7, "server.port": 443, "gen_ai.request.max_tokens": "no limit"}
    assert to_events.ended(record({**said, "app.x": "1"})).details["attributes"] == {**kept, "app.x": "1"}


@pytest.mark.parametrize(
    ("attributes", "cost"),
    [
        ({"gen_ai.usage.cost": 0.5}, 0.5),
        ({"gen_ai.usage.cost": "0.5"}, 0.5),
        ({"llm.cost.total": 0.25, "operation.cost": 9}, 0.25),
        ({"operation.cost": 0.1}, 0.1),
        ({"gen_ai.usage.cost": -1, "gen_ai.usage.total_cost": 0}, 0),
        ({"gen_ai.usage.cost": "free"}, None),
        ({"gen_ai.usage.input_tokens": 1}, None),
    ],
)
def test_what_a_span_says_that_it_cost(attributes: dict[str, Any], cost: float | None) -> None:
    """A cost stands under one name, whichever the sender has for it."""
    assert to_events.cost_of(attributes) == cost
    kept = to_events.ended(record(attributes)).details.get("attributes", {})
    assert kept.get("gen_ai.usage.cost", cost) == (attributes.get("gen_ai.usage.cost") if cost is None else cost)


def exception(kind: str, message: str = "m") -> SpanEvent:
    """Return the event that `record_exception` adds."""
    return SpanEvent("exception", 1, {"exception.type": kind, "exception.message": message})


@pytest.mark.parametrize(
    ("span", "outcome", "error"),
    [
        (record(), "ok", None),
        (record(status_code=1), "ok", None),
        (record({genai.OUTCOME: "interrupted"}), "interrupted", None),
        (record(status_code=2, status_description="bad"), "error", ErrorInfo(type="Error", message="bad")),
        (record({"error.type": "E"}, status_code=2), "error", ErrorInfo(type="E")),
        (record(status_code=2, events=(exception("V"),)), "error", ErrorInfo(type="V", message="m")),
        (
            record(status_code=2, events=(exception("old"), exception("asyncio.exceptions.CancelledError", ""))),
            "cancelled",
            ErrorInfo(type="asyncio.exceptions.CancelledError"),
        ),
        (
            record(status_code=2, events=(exception("GraphInterrupt"),)),
            "interrupted",
            ErrorInfo(type="GraphInterrupt", message="m"),
        ),
        (record({genai.OUTCOME: "cancelled"}, status_code=2), "cancelled", ErrorInfo(type="Error")),
        (record({"error.type": "timeout"}), "error", ErrorInfo(type="timeout")),
        (record({"error.type": "timeout"}, status_code=1), "error", ErrorInfo(type="timeout")),
        (record({"error.type": 500}, events=(exception("V"),)), "error", ErrorInfo(type="500", message="m")),
        (record({"error.type": "CancelledError"}), "cancelled", ErrorInfo(type="CancelledError")),
        (record({"error.type": ""}, events=(exception("handled"),)), "ok", None),
        (record({"error.type": "E", genai.OUTCOME: "ok"}), "ok", None),
    ],
)
def test_the_outcome_follows_from_the_status(span: SpanRecord, outcome: str, error: ErrorInfo | None) -> None:
    """Our own attribute decides; a status ERROR that only says cancelled or interrupted is no error."""
    assert to_events.outcome_of(span) == (outcome, error)


_attribute = st.text("abc", max_size=4) | st.integers(0, 9) | st.booleans()
_attributes = st.dictionaries(
    st.sampled_from(
        ["app.x", "app.y", genai.OPERATION_NAME, genai.TOOL_NAME, genai.REQUEST_MODEL, "gen_ai.usage.input_tokens"]
    ),
    _attribute | st.sampled_from(["chat", "execute_tool", "invoke_agent", "invoke_workflow"]),
)


@given(
    attributes=_attributes,
    later=_attributes,
    name=st.sampled_from(["chat m", "GET /", "execute_tool x"]),
    kind=st.sampled_from(["INTERNAL", "CLIENT", "SERVER"]),
    status=st.sampled_from([(0, None), (1, None), (2, "bad"), (2, None)]),
    parent=st.none() | st.just("3" * 16),
    scope=st.sampled_from(["", "theirs", genai.SCOPE_NAME]),
    late=st.booleans(),
)
def test_a_span_comes_back_from_its_events(
    attributes: dict[str, Any],
    later: dict[str, Any],
    name: str,
    kind: str,
    status: tuple[int, str | None],
    parent: str | None,
    scope: str,
    *,
    late: bool,
) -> None:
    """Whatever others put on a span is forwarded; what is added is our own, whenever its START was journaled."""
    shape: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "parent_span_id": parent,
        "scope_name": scope,
        "scope_version": "1" if scope == "theirs" else "",
    }
    running = record(attributes, **{**shape, "end_ns": None})
    over = record(
        {**attributes, **later},
        events=(SpanEvent("e", 150),),
        status_code=status[0],
        status_description=status[1],
        **shape,
    )
    (start,) = events_of(decode_fact(encode_fact(to_events.started(over if late else running))), "w")
    end_fact = to_events.ended(over)
    (end,) = events_of(decode_fact(encode_fact(end_fact)), "w")
    if start.type.partition("_")[0] != end.type.partition("_")[0]:
        return  # the processor journals such a START only when the span ends: its kind was not known before

    back = span_of_attempt(start, end, capture_content=True)

    for field in (
        "trace_id",
        "span_id",
        "parent_span_id",
        "name",
        "kind",
        "start_ns",
        "end_ns",
        "events",
        "status_code",
    ):
        assert getattr(back, field) == getattr(over, field), field
    assert back.scope_name == (scope or genai.SCOPE_NAME)
    kept = {key: value for key, value in over.attributes.items() if not key.startswith("gen_ai.usage")}
    assert {key: back.attributes[key] for key in kept} == kept
    assert end_fact.usage == to_events.usage_of({**attributes, **later})
    alone = span_of_attempt(None, end, capture_content=True)
    assert {key: alone.attributes[key] for key in kept} == kept
    assert (alone.start_ns, alone.events, alone.status_code) == (over.start_ns, over.events, over.status_code)
    opened = span_of_attempt(start, None)
    assert (opened.name, opened.kind, opened.parent_span_id) == (over.name, over.kind, over.parent_span_id)


def test_effects_and_errors_that_passed_through() -> None:
    """What a tool does, and that an error began elsewhere, go through a span and come back."""
    attributes = genai.start_attributes("TOOL", "send", "s", "x", None, 1) | {genai.TOOL_EFFECTS: "write"}
    open_ = to_events.started(record(attributes, name="execute_tool send", end_ns=None))
    over = record({**attributes, genai.PASSED_THROUGH: True}, name="execute_tool send", status_code=2)
    ending = to_events.ended(over)
    assert (open_.details["effects"], ending.details["passed_through"]) == ("write", True)
    (start,), (end,) = events_of(open_, "w"), events_of(ending, "w")
    span = span_of_attempt(start, end)
    assert (span.attributes[genai.TOOL_EFFECTS], span.attributes[genai.PASSED_THROUGH]) == ("write", True)


def test_names_that_name_a_session() -> None:
    """A span without such an attribute says nothing of its session."""
    assert to_events.is_nameless(["http.method"])
    assert not to_events.is_nameless(["http.method", genai.CONVERSATION_ID])
