"""Agents that fail, are tried again, or are kept from running: by their model, by a hook, by middleware."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from strands import Agent, tool
from strands.event_loop._retry import ModelRetryStrategy
from strands.hooks import (
    AfterInvocationEvent,
    AfterModelCallEvent,
    AfterToolCallEvent,
    BeforeInvocationEvent,
    BeforeModelCallEvent,
    BeforeToolCallEvent,
    MessageAddedEvent,
)
from strands.middleware import InvokeModelStage
from strands.types.exceptions import EventLoopException, MaxTokensReachedException, ModelThrottledException

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording


class BreakingModel(ScriptedModel):
    """A model whose stream breaks in the middle."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Stream two events of a text, then break."""
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": "It is"}}}
        raise ConnectionResetError("the line broke")


def test_a_model_that_fails(scenario: StrandsRecording, snapshot: Any) -> None:
    """A model that raises has failed, and so has its agent; the exception reaches the caller untouched."""
    error = ConnectionError("no line")
    with pytest.raises(ConnectionError) as raised:
        agents.agent([error])("go")
    assert raised.value is error
    scenario.matches(snapshot)
    assert scenario.status == ("ERROR", None)


def test_a_model_that_breaks_off(scenario: StrandsRecording, snapshot: Any) -> None:
    """A model whose stream breaks has failed; the text that had come is kept."""
    with pytest.raises(ConnectionResetError):
        agents.agent([], model=BreakingModel([]))("go")
    scenario.matches(snapshot)


def test_an_answer_that_is_too_long(scenario: StrandsRecording, snapshot: Any) -> None:
    """A model that reaches its limit has answered, and says why it stopped; the agent has failed."""
    with pytest.raises(MaxTokensReachedException):
        agents.agent([say("It is", stop="max_tokens")])("go")
    scenario.matches(snapshot)


def test_an_answer_that_a_guardrail_stopped(recording: StrandsRecording) -> None:
    """A model whose answer a guardrail stopped says so as a WARNING."""
    agents.agent([say("no", stop="guardrail_intervened")])("go")
    (note,) = [note for note in recording.attempt("scripted-1").notes if note.type == "WARNING"]
    assert (note.level, note.details) == (
        "WARNING",
        {"message": "the model's answer was stopped: guardrail_intervened"},
    )


def quick(attempts: int = 3) -> Any:
    """A retry strategy that does not wait."""
    return ModelRetryStrategy(max_attempts=attempts, initial_delay=0, max_delay=0)


def test_throttling(scenario: StrandsRecording, snapshot: Any) -> None:
    """A throttled call is tried again: attempts of one step, and a WARNING that says when the next one follows."""
    turns = [ModelThrottledException("slow down"), ModelThrottledException("slower"), say("ok")]
    agents.agent(turns, retry_strategy=quick())("go")
    scenario.matches(snapshot)
    (step,) = [step for step in scenario.steps.walk() if step.kind == "MODEL"]
    assert [one.outcome for one in step.attempts] == ["error", "error", "ok"]


def test_throttling_to_the_end(recording: StrandsRecording) -> None:
    """The last attempt that was throttled is followed by no other, and none is announced."""
    turns = [ModelThrottledException("slow down") for _ in range(2)]
    with pytest.raises(ModelThrottledException):
        agents.agent(turns, retry_strategy=quick(2))("go")
    attempts = [one for step in recording.steps.walk() if step.kind == "MODEL" for one in step.attempts]
    assert [[note.type for note in one.notes] for one in attempts] == [["WARNING"], []]
    assert recording.status == ("ERROR", None)


def test_a_backoff_is_said(recording: StrandsRecording) -> None:
    """The WARNING of a throttled call says how long Strands waits before the next, and comes before the wait."""
    strategy = ModelRetryStrategy(max_attempts=3, initial_delay=1, max_delay=1)
    agents.agent([ModelThrottledException("slow down"), say("ok")], retry_strategy=strategy)("go")
    (step,) = [step for step in recording.steps.walk() if step.kind == "MODEL"]
    first, second = step.attempts
    (note,) = first.notes
    assert note.details == {
        "message": "throttled; attempt 2 of 3 follows in 1 s",
        "attempt": 1,
        "max_attempts": 3,
        "backoff_s": 1,
    }
    assert second.start_ns - note.timestamp_ns > 900_000_000


def test_a_model_that_a_hook_asks_again(scenario: StrandsRecording, snapshot: Any) -> None:
    """A model call that a hook of the program's has tried again is an attempt at the same step."""

    def again(event: AfterModelCallEvent) -> None:
        event.retry = event.stop_response is not None and "bad" in str(event.stop_response.message)

    agent = agents.agent([say("bad"), say("good")])
    agent.add_hook(again, AfterModelCallEvent)
    agent("go")
    scenario.matches(snapshot)


def test_a_tool_that_a_hook_runs_again(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool call that a hook of the program's has tried again is an attempt at the same step."""
    results = ["bad", "good"]

    @tool
    def flaky() -> str:
        """Answer badly at first."""
        return results.pop(0)

    def again(event: AfterToolCallEvent) -> None:
        event.retry = "bad" in str(event.result)

    agent = agents.agent([call(("flaky", {})), say("done")], tools=[flaky])
    agent.add_hook(again, AfterToolCallEvent)
    agent("go")
    scenario.matches(snapshot)


def test_a_tool_that_a_hook_keeps_from_running(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool that a hook cancels does not run and is no step: a WARNING of the agent says why."""

    def deny(event: BeforeToolCallEvent) -> None:
        event.cancel_tool = "not on a Sunday"

    agent = agents.adding()
    agent.add_hook(deny, BeforeToolCallEvent)
    agent("go")
    scenario.matches(snapshot)


def test_an_invocation_that_a_hook_denies(scenario: StrandsRecording, snapshot: Any) -> None:
    """An invocation that a hook denies is over without a model call, and did not fail."""

    def deny(event: BeforeInvocationEvent) -> None:
        event.cancel = "not on a Sunday"

    agent = agents.adding()
    agent.add_hook(deny, BeforeInvocationEvent)
    assert str(agent("go")) == "not on a Sunday\n"
    scenario.matches(snapshot)


@pytest.mark.parametrize(
    "event",
    [
        BeforeInvocationEvent,
        MessageAddedEvent,
        BeforeModelCallEvent,
        AfterModelCallEvent,
        BeforeToolCallEvent,
        AfterToolCallEvent,
        AfterInvocationEvent,
    ],
)
@pytest.mark.parametrize("how", ["call", "async", "stream", "below a tool"])
async def test_a_hook_that_fails(recording: StrandsRecording, event: Any, how: str) -> None:
    """Whichever hook of the program's raises, its exception is the caller's and no step stays open."""

    def fail(_: Any) -> None:
        raise PermissionError("denied")

    agent = agents.adding()
    agent.add_hook(fail, event)
    if how == "below a tool":
        outer = agents.agent([call(("calc", {"input": "go"})), say("done")], name="outer", tools=[agent.as_tool()])
        await outer.invoke_async("go")
        outcome = "ok"
        assert [step.status for step in recording.steps.walk() if (step.kind, step.name) == ("TOOL", "calc")] == [
            "error"
        ]
    else:
        with pytest.raises((PermissionError, EventLoopException)) as raised:  # which one is up to Strands
            await run(agent, how)
        assert str(raised.value) == "denied"
        outcome = "error"
        assert recording.steps.roots[0].last.error in (None, ErrorInfo(type="PermissionError", message="denied"))
    if event is AfterInvocationEvent:
        outcome = "ok"  # the agent had answered, before its hook failed
    assert recording.steps.roots[0].status == outcome
    recording.check()


async def run(agent: Agent, how: str) -> None:
    """Call an agent in one of the ways."""
    match how:
        case "call":
            agent("go")
        case "async":
            await agent.invoke_async("go")
        case _:
            async for _ in agent.stream_async("go"):
                pass


async def test_an_agent_that_runs_already(recording: StrandsRecording) -> None:
    """A call that Strands refuses, for the agent runs already, is no invocation and ends nobody else's."""
    from strands.types.exceptions import ConcurrencyException

    agent = agents.adding()
    events = agent.stream_async("go")
    await anext(events)
    await anext(events)
    with pytest.raises(ConcurrencyException):
        await agent.invoke_async("me too")
    assert [event async for event in events]
    assert [step.status for step in recording.steps.roots] == ["ok"]


def test_middleware_that_answers_for_the_model(scenario: StrandsRecording, snapshot: Any) -> None:
    """A model call that middleware of the program's answers is a step still: Strands opens no span for it, we do."""
    from strands.types.events import ModelStopReason

    async def cached(context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        message: Any = {"role": "assistant", "content": [{"text": "from the cache"}]}
        usage: Any = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
        yield ModelStopReason("end_turn", message, usage, {"latencyMs": 0})

    agent = agents.agent([])
    agent.add_middleware(InvokeModelStage, cached)
    assert str(agent("go")) == "from the cache\n"
    scenario.matches(snapshot)


def test_middleware_that_fails(recording: StrandsRecording) -> None:
    """A model call that fails in middleware of the program's has failed."""

    async def failing(context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        raise PermissionError("denied")
        yield

    agent = agents.agent([])
    agent.add_middleware(InvokeModelStage, failing)
    with pytest.raises((PermissionError, EventLoopException)):
        agent("go")
    assert recording.tree(details=False) == (
        "AGENT calc error PermissionError('denied')\n  MODEL scripted-1 error PermissionError('denied')"
    )


def test_middleware_that_calls_twice(recording: StrandsRecording) -> None:
    """A model that middleware of the program's calls twice is one step: the second span of Strands is beside it."""
    recording.beside |= {"chat"}

    async def twice(context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        async for _ in next_fn(context):
            pass
        async for event in next_fn(context):
            yield event

    agent = agents.agent([say("one"), say("two")])
    agent.add_middleware(InvokeModelStage, twice)
    agent("go")
    del recording.given.answers[0]  # which its middleware threw away
    assert [(step.kind, step.status) for step in recording.steps.walk()] == [("AGENT", "ok"), ("MODEL", "ok")]
    first, second = (span for span in recording.spans if span.name == "chat")
    assert "agent_journal.step.id" in first.attributes
    assert second.attributes["gen_ai.conversation.id"] == "s1"
