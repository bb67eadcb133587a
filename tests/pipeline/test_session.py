"""`session()` and `step()`: the recorder for agents that are written by hand."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator

from otel_agent_journal import Usage, current_session, session, step
from otel_agent_journal.pipeline.recorder import Recorder
from tests.pipeline.conftest import Written


def test_block_of_the_readme(recorder: Recorder, written: Written) -> None:
    """A session, its own events, its stage and its steps are journaled in the order they happen."""
    with session("s1", agent="researcher") as s:
        s.record("TRAINING_JOB_STARTED", {"job": "a7"})
        s.stage("CostCalculator", progress=50)
        with s.step("tool", "search", input="q") as one:
            one.progress("3 of 10 pages")
            one.complete({"found": 3}, sources=["a", "b"], message_id="m1")
    assert written.types() == [
        "SESSION_INITIATED",
        "AGENT_START",
        "TRAINING_JOB_STARTED",
        "STAGE_CHANGED",
        "TOOL_START",
        "PROGRESS",
        "TOOL_END",
        "AGENT_END",
        "SESSION_COMPLETED",
    ]
    assert {event.session_id for event in written.events} == {"s1"}
    by_type = {event.type: event for event in written.events}
    assert by_type["TOOL_START"].details["input"] == "q"
    assert by_type["TOOL_START"].parent_step_id == by_type["AGENT_START"].step_id
    assert by_type["TOOL_END"].details == {"output": {"found": 3}, "sources": ["a", "b"], "message_id": "m1"}
    assert by_type["TRAINING_JOB_STARTED"].details == {"job": "a7"}
    assert by_type["STAGE_CHANGED"].details == {"stage": "CostCalculator", "progress": 50}
    assert by_type["AGENT_START"].name == "researcher"


async def test_async_block(recorder: Recorder, written: Written) -> None:
    """The same reads async; concurrent steps are siblings, each under the step it was opened in."""

    async def work(name: str) -> None:
        async with step("tool", name):
            await asyncio.sleep(0)
            async with step("model", f"{name} model"):
                await asyncio.sleep(0)

    async with session("s1", agent="a"):
        await asyncio.gather(work("one"), work("two"))
    starts = {event.name: event for event in written.events if event.type.endswith("_START")}
    assert starts["one"].parent_step_id == starts["two"].parent_step_id == starts["a"].step_id
    assert starts["one model"].parent_step_id == starts["one"].step_id
    assert starts["two model"].parent_step_id == starts["two"].step_id


def test_exception_fails_step_and_session_and_passes(recorder: Recorder, written: Written) -> None:
    """An exception fails what it leaves, and passes untouched."""
    error = ValueError("no")
    with pytest.raises(ValueError, match="no") as caught, session("s1", agent="a") as s, s.step("tool", "t"):
        raise error
    assert caught.value is error
    assert written.types()[-3:] == ["TOOL_ERROR", "AGENT_ERROR", "SESSION_FAILED"]
    failed = written.events[-3]
    assert failed.error is not None
    assert (failed.error.type, failed.error.message, failed.outcome, failed.level) == (
        "ValueError",
        "no",
        "error",
        "ERROR",
    )


@pytest.mark.parametrize("leave", [KeyboardInterrupt, asyncio.CancelledError, SystemExit, GeneratorExit])
def test_cancel_is_no_error(recorder: Recorder, written: Written, leave: type[BaseException]) -> None:
    """What cancels ends steps as cancelled, and the session neither completed nor failed."""
    with pytest.raises(leave), session("s1", agent="a") as s, s.step("tool", "t"):
        raise leave
    assert [(event.type, event.outcome) for event in written.events[-2:]] == [
        ("TOOL_END", "cancelled"),
        ("AGENT_END", "cancelled"),
    ]


def test_fail_without_exception(recorder: Recorder, written: Written) -> None:
    """fail() ends a step as failed with a text or an exception; only the first ending counts."""
    with session("s1", agent="a") as s:
        with s.step("tool", "t") as one:
            one.fail("out of paper")
            one.complete("never")
        with s.step("tool", "t") as two:
            two.fail(OSError(5, "broken"))
    errors = [event.error for event in written.events if event.type == "TOOL_ERROR"]
    assert [(error.type, error.message) for error in errors if error] == [
        ("Error", "out of paper"),
        ("OSError", "[Errno 5] broken"),
    ]
    assert "TOOL_END" not in written.types()


def test_everything_that_happens_within_a_step(recorder: Recorder, written: Written) -> None:
    """Progress, reasoning, warnings, chunks and usage of a step, and the agent's response."""
    with session("s1", agent="a") as s:
        with s.step("model", "m") as one:
            one.reasoning("hm")
            one.warning("slow", retries=2)
            one.chunk("wo")
            one.chunk("rd")
            one.complete("word", usage={"input_tokens": 3, "output_tokens": 1})
        with s.step("model", "m") as two:
            two.complete("x", usage=Usage(input_tokens=1, output_tokens=1), attributes={"mine": 1})
        s.respond("word")
    types = written.types()
    assert types[3:8] == ["REASONING", "WARNING", "CHUNK", "CHUNK", "MODEL_END"]
    texts = [event.details["text"] for event in written.events if event.type == "CHUNK"]
    assert "".join(texts) == "word"
    ends = [event for event in written.events if event.type == "MODEL_END"]
    assert [end.usage for end in ends] == [
        Usage(input_tokens=3, output_tokens=1),
        Usage(input_tokens=1, output_tokens=1),
    ]
    assert ends[1].details["attributes"] == {"mine": 1}
    assert types[-3:] == ["FINAL_RESPONSE", "AGENT_END", "SESSION_COMPLETED"]
    ids = [event.event_id for event in written.events]
    assert len(set(ids)) == len(ids)


def test_chunks_are_gathered(recorder: Recorder, written: Written) -> None:
    """A flood of chunks becomes a few events, and no text is lost."""
    with session("s1", agent="a") as s, s.step("model", "m") as one:
        for number in range(1000):
            one.chunk(f"{number} ")
    chunks = [event for event in written.events if event.type == "CHUNK"]
    assert len(chunks) < 20
    end = next(event for event in written.events if event.type == "MODEL_END")
    assert max(event.timestamp_ns for event in chunks) < end.timestamp_ns
    assert "".join(event.details["text"] for event in chunks) == "".join(f"{number} " for number in range(1000))


def test_steps_are_the_current_span(recorder: Recorder, written: Written) -> None:
    """Within a block the step's span is the current one; outside everything is as before."""
    before = context.get_current()
    with session("s1", agent="a"):
        assert current_session() == "s1"
        with step("tool", "t"):
            inside = trace.get_current_span().get_span_context()
            trace.get_current_span().set_attribute("mine", "yes")
    assert context.get_current() == before
    assert current_session() is None
    tool = next(event for event in written.events if event.type == "TOOL_END")
    assert tool.span_id == f"{inside.span_id:016x}"
    assert tool.details["attributes"] == {"mine": "yes"}


def test_which_session(written: Written) -> None:
    """The enclosing step comes first, then --session, whatever baggage says; a session() block names its own."""
    recorder = Recorder(written, session_id="given", trusts_baggage=True)
    from otel_agent_journal.pipeline.current import set_recorder

    set_recorder(recorder)
    try:
        with step("tool", "alone"):
            pass
        token = context.attach(baggage.set_baggage("session.id", "carried"))
        try:
            with step("tool", "with baggage"):
                pass
        finally:
            context.detach(token)
        with session("named", agent="a"), step("tool", "inside"):
            pass
        with session(agent="unnamed"):
            pass
    finally:
        set_recorder(None)
    sessions = {event.name: event.session_id for event in written.events if event.type.endswith("_START")}
    assert sessions == {
        "alone": "given",
        "with baggage": "given",
        "a": "named",
        "inside": "named",
        "unnamed": "given",
    }


@pytest.mark.parametrize(
    ("trusted", "own", "found"),
    [(False, "thread", "thread"), (False, None, ""), (True, "thread", "thread"), (True, None, "bob")],
)
@pytest.mark.parametrize("key", ["session.id", "gen_ai.conversation.id"])
def test_baggage(written: Written, key: str, trusted: bool, own: str | None, found: str) -> None:
    """Baggage that any client may have sent names a session where it is trusted, and nothing else names one."""
    recorder = Recorder(written, trusts_baggage=trusted)
    token = context.attach(W3CBaggagePropagator().extract({"baggage": f"{key}=bob"}))
    try:
        root = recorder.start_step("AGENT", "a", session_id=own)
        root.end()
    finally:
        context.detach(token)
    assert root.session_id == (found or root.span.trace_id)


@pytest.mark.parametrize("trusted", [False, True])
def test_current_session_by_baggage(written: Written, trusted: bool) -> None:
    """Code that runs under trusted baggage alone is in that session, and a block without an id takes it."""
    from otel_agent_journal.pipeline.current import set_recorder

    set_recorder(Recorder(written, trusts_baggage=trusted))
    token = context.attach(baggage.set_baggage("session.id", "carried"))
    try:
        assert current_session() == ("carried" if trusted else None)
        with session(agent="a") as block:
            assert (block.session_id == "carried") is trusted
    finally:
        context.detach(token)
        set_recorder(None)


def test_nested_session_is_a_session_of_its_own(recorder: Recorder, written: Written) -> None:
    """A session() block in another one has its own session and root."""
    with session("outer", agent="a"), session("inner", agent="b"), step("tool", "t"):
        pass
    starts = {event.name: event for event in written.events if event.type.endswith("_START")}
    assert (starts["b"].session_id, starts["b"].parent_step_id) == ("inner", None)
    assert starts["t"].session_id == "inner"


def test_wrong_use_is_told(recorder: Recorder) -> None:
    """An event type or a step kind that can never be right is told with what is expected."""
    with session("s1") as s:
        with pytest.raises(ValueError, match="upper snake case, as in TRAINING_JOB_STARTED"):
            s.record("started")
        with pytest.raises(ValueError, match="it is one of: agent, node, model, tool, retrieval, step"):
            s.step("llm", "x")


def test_unconfigured_program_runs_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Without configure() blocks run, their spans are real, and one warning says what to call."""
    from otel_agent_journal.pipeline.current import get_recorder

    assert get_recorder() is None
    for _ in range(2):
        with session("s1", agent="a") as s, s.step("tool", "t") as one:
            one.complete(1)
            assert trace.get_current_span().get_span_context().is_valid
    assert caplog.text.count("nothing is journaled: call otel_agent_journal.configure()") <= 1


def test_same_step_again_is_another_attempt(recorder: Recorder, written: Written) -> None:
    """The n-th step of a name has the same id in each attempt at its parent."""
    parent_id = "p" * 32
    for _ in range(2):
        parent = recorder.start_step("NODE", "n", session_id="s1", step_id=parent_id)
        for _ in range(2):
            recorder.start_step("MODEL", "m", parent=parent).end()
        parent.end("error", error=ValueError("x"))
    starts = [event for event in written.events if event.type == "MODEL_START"]
    assert [event.attempt for event in starts] == [1, 1, 2, 2]
    assert starts[0].step_id == starts[2].step_id != starts[1].step_id == starts[3].step_id
    assert len({event.event_id for event in written.events}) == len(written.events)
