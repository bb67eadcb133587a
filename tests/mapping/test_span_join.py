"""Events joined into spans as they come."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.event import SESSION_INTERRUPTED, JournalEvent
from otel_agent_journal.mapping.span_join import SpanJoiner
from otel_agent_journal.mapping.span_record import SpanLink
from otel_agent_journal.pairing import is_ending, is_start

TRACE = "1" * 32


def event(event_type: str, step: str, at_ns: int, **fields: Any) -> JournalEvent:
    """Return an event of a step; its span id is its name."""
    fields = {
        "session_id": "s",
        "event_id": f"{event_type}-{step}-{at_ns}",
        "name": step,
        "writer": "w",
        "step_id": step,
        "attempt": 1,
        "trace_id": TRACE,
        "span_id": (step * 16)[:16].encode().hex()[:16],
        **fields,
    }
    return JournalEvent(type=event_type, timestamp_ns=at_ns, **fields)


def interruption(at_ns: int, **details: Any) -> JournalEvent:
    """Return what the drain writes when a writer died."""
    return JournalEvent(
        session_id="s", event_id="i", type=SESSION_INTERRUPTED, timestamp_ns=at_ns, writer="w", details=details
    )


def test_an_ending_gives_the_span_of_its_start() -> None:
    """Resource and notes come with it, and nothing stays behind."""
    joiner = SpanJoiner(scope_version="3")
    joiner.begin(
        event("TOOL_START", "a", 1, details={"attributes": {"gen_ai.x": 1}, "input": "secret"}), {"service.name": "r"}
    )
    joiner.note(event("PROGRESS", "a", 2))
    joiner.note(event("CHUNK", "a", 2))
    joiner.note(event("PROGRESS", "unknown", 2))
    assert joiner.open_steps == 1
    span = joiner.end(event("TOOL_END", "a", 3, duration_ns=2))
    assert span is not None
    assert (span.start_ns, span.end_ns, span.attributes["gen_ai.x"], span.resource) == (1, 3, 1, {"service.name": "r"})
    assert [noted.name for noted in span.events] == ["progress"]
    assert (span.scope_version, joiner.open_steps) == ("3", 0)


def test_a_start_that_comes_twice_is_one() -> None:
    """The first stays, notes and all."""
    joiner = SpanJoiner()
    joiner.begin(event("TOOL_START", "a", 1))
    joiner.begin(event("TOOL_START", "a", 1))
    assert joiner.open_steps == 1
    assert joiner.knows(event("TOOL_END", "a", 2))
    assert not joiner.knows(event("TOOL_END", "a", 2, attempt=2))


def test_content_waits_for_the_ending_only_where_it_goes_on_spans() -> None:
    """Else a long wait would hold every open step's input in memory."""
    start, end = event("TOOL_START", "a", 1, details={"input": "q"}), event("TOOL_END", "a", 2, details={"output": "r"})
    joiner = SpanJoiner(capture_content=True)
    joiner.begin(start)
    span = joiner.end(end)
    assert span is not None
    assert span.attributes["gen_ai.tool.call.arguments"] == "q"


def test_a_span_that_the_program_exports_is_not_made_twice() -> None:
    """Exactly one of the two ways forwards a step; an export of an old session wants them all."""
    start, end = event("TOOL_START", "a", 1, details={"exported": True}), event("TOOL_END", "a", 2)
    joiner = SpanJoiner()
    joiner.begin(start)
    assert joiner.end(end) is None
    assert joiner.end(event("TOOL_END", "b", 2, details={"exported": True})) is None
    whole = SpanJoiner(include_exported=True)
    whole.begin(start)
    assert whole.end(end) is not None


def test_a_dead_writer_s_open_steps_are_cut_exported_or_not() -> None:
    """Only those of that writer and session, begun by then; each once."""
    joiner = SpanJoiner()
    joiner.begin(event("TOOL_START", "a", 1, details={"exported": True}))
    joiner.begin(event("TOOL_START", "b", 1, session_id="other"))
    joiner.begin(event("TOOL_START", "c", 1, writer="other"))
    joiner.begin(event("TOOL_START", "d", 200))
    dead = interruption(100, writer="w", last_seen="1970-01-01T00:00:00.000000099Z")
    (span,) = joiner.interrupt(dead)
    assert (span.name, span.end_ns, span.status_code) == ("execute_tool a", 99, 2)
    assert joiner.interrupt(dead) == []
    assert joiner.open_steps == 3


def test_an_interruption_without_details_is_about_its_own_writer() -> None:
    """Details may be metadata only."""
    joiner = SpanJoiner()
    joiner.begin(event("TOOL_START", "a", 1))
    assert len(joiner.interrupt(interruption(100))) == 1


def test_what_is_left_open_is_ended_where_its_writer_was_last_seen() -> None:
    """A writer of which nothing is known ends its steps as they begin."""
    joiner = SpanJoiner()
    joiner.begin(event("TOOL_START", "a", 1))
    joiner.begin(event("TOOL_START", "b", 7, writer="v"))
    assert [(span.name, span.end_ns) for span in joiner.abandon({"w": 50})] == [
        ("execute_tool a", 50),
        ("execute_tool b", 7),
    ]


def test_the_parent_is_the_attempt_that_ran_as_the_step_began() -> None:
    """Of two attempts at the parent, the children of each nest under it, whenever they end."""
    joiner = SpanJoiner()
    joiner.begin(event("NODE_START", "n", 1, span_id="a" * 16))
    joiner.begin(event("TOOL_START", "x", 2, parent_step_id="n"))
    joiner.end(event("NODE_ERROR", "n", 3, span_id="a" * 16))
    joiner.begin(event("NODE_START", "n", 4, attempt=2, span_id="b" * 16))
    joiner.begin(event("TOOL_START", "y", 5, parent_step_id="n"))
    first, second = joiner.end(event("TOOL_END", "x", 6)), joiner.end(event("TOOL_END", "y", 7))
    assert first is not None
    assert second is not None
    assert (first.parent_span_id, second.parent_span_id) == ("a" * 16, "b" * 16)


def test_the_parent_of_the_same_writer_goes_first() -> None:
    """A resumed step has the same id in two processes."""
    joiner = SpanJoiner()
    joiner.begin(event("NODE_START", "n", 1, span_id="a" * 16))
    joiner.begin(event("NODE_START", "n", 2, span_id="b" * 16, writer="v"))
    joiner.begin(event("TOOL_START", "x", 3, parent_step_id="n"))
    span = joiner.end(event("TOOL_END", "x", 4))
    assert span is not None
    assert span.parent_span_id == "a" * 16


def test_a_parent_that_began_later_is_none() -> None:
    """A START that is older than all its parent's attempts has lost its own."""
    joiner = SpanJoiner()
    joiner.begin(event("NODE_START", "n", 9))
    joiner.begin(event("TOOL_START", "x", 3, parent_step_id="n"))
    span = joiner.end(event("TOOL_END", "x", 4))
    assert span is not None
    assert span.parent_span_id is None


def test_a_parent_span_that_the_details_name_wins() -> None:
    """The user's own span lies between the two steps."""
    joiner = SpanJoiner()
    joiner.begin(event("NODE_START", "n", 1))
    joiner.begin(event("TOOL_START", "x", 2, parent_step_id="n", details={"parent_span_id": "9" * 16}))
    span = joiner.end(event("TOOL_END", "x", 4))
    assert span is not None
    assert span.parent_span_id == "9" * 16


def test_a_parent_in_another_trace_is_linked() -> None:
    """A span's parent must be of its own trace; a link that is there already is not doubled."""
    link = {"trace_id": "7" * 32, "span_id": "8" * 16}
    joiner = SpanJoiner()
    joiner.begin(event("NODE_START", "n", 1, trace_id="7" * 32, span_id="8" * 16))
    for details in ({}, {"links": [link]}):
        joiner.begin(event("TOOL_START", "x", 2, parent_step_id="n", details=details))
        span = joiner.end(event("TOOL_END", "x", 4))
        assert span is not None
        assert span.parent_span_id is None
        assert span.links == (SpanLink("7" * 32, "8" * 16),)


def test_what_is_kept_is_bounded() -> None:
    """The oldest go: their endings make spans without them."""
    joiner = SpanJoiner(max_open=2, max_known=2)
    for at, step in enumerate("abc"):
        joiner.begin(event("TOOL_START", step, at))
    assert joiner.open_steps == 2
    assert [joiner.knows_step(step) for step in "abc"] == [False, True, True]
    for index in range(200):
        joiner.note(event("PROGRESS", "c", index))
    span, lost = joiner.end(event("TOOL_END", "c", 300)), joiner.end(event("TOOL_END", "a", 300, duration_ns=300))
    assert span is not None
    assert lost is not None
    assert (len(span.events), lost.start_ns) == (128, 0)


def test_a_start_read_back_is_only_a_parent() -> None:
    """It waits for no ending."""
    joiner = SpanJoiner()
    joiner.recollect(event("NODE_START", "n", 1, span_id="a" * 16))
    joiner.begin(event("TOOL_START", "x", 2, parent_step_id="n"))
    span = joiner.end(event("TOOL_END", "x", 3))
    assert span is not None
    assert (span.parent_span_id, joiner.open_steps) == ("a" * 16, 0)


def test_which_events_begin_and_end_attempts() -> None:
    """By their type."""
    assert is_start(event("NODE_START", "a", 1))
    assert is_ending(event("NODE_ERROR", "a", 1))
    assert not is_start(event("PROGRESS", "a", 1))
    assert not is_ending(event("PROGRESS", "a", 1))


def test_what_is_not_sampled_stays() -> None:
    """No span of it leaves: not live, not by `export`, not as its writer dies, nor from its ending alone."""
    for joiner in (SpanJoiner(), SpanJoiner(include_exported=True)):
        out = {"sampled": False}
        joiner.begin(event("TOOL_START", "a", 1, details=out))
        assert joiner.end(event("TOOL_END", "a", 2, details=out)) is None
        assert joiner.end(event("TOOL_END", "b", 2, details=out)) is None
        joiner.begin(event("TOOL_START", "c", 3, details=out))
        assert joiner.abandon({"w" * 32: 9}) == []
        assert joiner.open_steps == 0


def test_below_what_is_not_sampled() -> None:
    """A sampler that keeps a step and leaves out the one above it: its span hangs below the next that is there."""
    joiner = SpanJoiner()
    joiner.begin(event("AGENT_START", "a", 1))
    joiner.begin(event("NODE_START", "n", 2, parent_step_id="a", details={"sampled": False}))
    joiner.begin(event("TOOL_START", "t", 3, parent_step_id="n"))
    tool = joiner.end(event("TOOL_END", "t", 4, parent_step_id="n"))
    agent = joiner.end(event("AGENT_END", "a", 5))
    assert tool is not None
    assert agent is not None
    assert tool.parent_span_id == agent.span_id


def test_steps_that_are_above_each_other() -> None:
    """Where no step above is sampled, however many there are said to be, a span has no parent of ours."""
    joiner = SpanJoiner()
    for one, other in (("a", "b"), ("b", "a")):
        joiner.begin(event("NODE_START", one, 1, parent_step_id=other, details={"sampled": False}))
    joiner.begin(event("TOOL_START", "t", 3, parent_step_id="a"))
    tool = joiner.end(event("TOOL_END", "t", 4, parent_step_id="a"))
    assert tool is not None
    assert tool.parent_span_id is None
