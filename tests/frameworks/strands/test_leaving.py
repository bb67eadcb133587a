"""Agents that are left before their end: streams broken off, cancelled tasks and agents, timeouts, a key pressed."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from strands import tool

from otel_agent_journal.pipeline.step import current_step
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording

LONG = say("one two three four five")


async def until(condition: Any) -> None:
    """Wait for a condition, at most two seconds."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def broken_off(agent: Any, *, close: bool) -> None:
    """Take the first text of a stream, then leave it."""
    events = agent.stream_async("go")
    async for event in events:
        if "data" in event:
            break
    if close:
        await events.aclose()


async def test_a_stream_that_is_closed(scenario: StrandsRecording, snapshot: Any) -> None:
    """A stream that is broken off and closed ends its steps as cancelled, at once."""
    await broken_off(agents.agent([LONG]), close=True)
    scenario.matches(snapshot)
    assert scenario.status == ("INTERRUPTED", "cancelled")


def only_strands_complained(caplog: pytest.LogCaptureFixture) -> None:
    """A stream that ends in another task detaches what Strands attached in its own: it says so without us too."""
    assert {record.getMessage() for record in caplog.records if record.levelname == "ERROR"} == {
        "Failed to detach context"
    }
    caplog.clear()


async def test_a_stream_that_is_dropped(
    scenario: StrandsRecording, snapshot: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that is broken off and never closed ends its steps as cancelled when it is collected."""
    await broken_off(agents.agent([LONG]), close=False)
    await until(lambda: not scenario.recorder.open_roots())
    only_strands_complained(caplog)
    scenario.matches(snapshot)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "kept"])
async def test_what_follows_a_broken_stream(recording: StrandsRecording, close: bool) -> None:
    """The caller's next span and its next agent are not below an agent whose stream it has left."""
    events = agents.agent([LONG]).stream_async("go")
    async for event in events:
        if "data" in event:
            break
    if close:
        await events.aclose()
    assert current_step() is None
    with trace.get_tracer("user").start_as_current_span("after") as span:
        assert span.parent is None
        await agents.agent([say("x")], name="second", session="s2").invoke_async("go")
    assert recording.tree(session="s2", details=False).startswith("AGENT second ok")
    second = recording.span("invoke_agent second")
    assert second.parent.span_id == span.get_span_context().span_id
    await events.aclose()


async def test_spans_while_a_stream_is_open(recording: StrandsRecording) -> None:
    """Between two events of a stream its consumer is in its own context, and so are its spans."""
    before = context_api.get_current()
    seen = 0
    with trace.get_tracer("user").start_as_current_span("consumer") as consumer:
        async for event in agents.adding().stream_async("go"):
            seen += 1
            assert current_step() is None
            assert trace.get_current_span() is consumer
            if "data" in event:
                with trace.get_tracer("user").start_as_current_span("shown"):
                    pass
    assert seen > 5
    assert context_api.get_current() == before
    spans = [span for span in recording.spans if span.name == "shown"]
    assert spans
    assert {span.parent.span_id for span in spans} == {consumer.get_span_context().span_id}
    assert recording.span("invoke_agent calc").parent.span_id == consumer.get_span_context().span_id


async def test_a_stream_that_another_task_closes(recording: StrandsRecording, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that begins in one task and is closed in another leaves no context behind in either."""
    events = agents.agent([LONG]).stream_async("go")
    await asyncio.create_task(anext(events))
    await asyncio.create_task(anext(events))
    assert current_step() is None
    await asyncio.create_task(events.aclose())
    assert current_step() is None
    only_strands_complained(caplog)
    assert [step.status for step in recording.steps.roots] == ["cancelled"]


async def test_a_stream_that_is_never_begun(recording: StrandsRecording) -> None:
    """A stream that nobody takes an event of is no invocation."""
    events = agents.adding().stream_async("go")
    await events.aclose()
    del events
    gc.collect()
    assert recording.sessions == {}


async def test_a_task_that_is_cancelled_in_a_tool(scenario: StrandsRecording, snapshot: Any) -> None:
    """Cancelling the task of an agent cancels its tool, its loop and itself."""
    task = asyncio.create_task(agents.agent([call(("slow", {"a": 1}))]).invoke_async("go"))
    await until(lambda: "TOOL_START" in journaled(scenario))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    scenario.matches(snapshot)


async def test_a_task_that_is_cancelled_in_a_model_call(scenario: StrandsRecording, snapshot: Any) -> None:
    """Cancelling the task of an agent cancels its model call: the text that had come is kept."""
    task = asyncio.create_task(agents.agent([LONG], delay_s=0.05).invoke_async("go"))
    await until(lambda: "CHUNK" in journaled(scenario))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "one" in scenario.journal()
    assert scenario.tree(details=False) == (
        "AGENT calc cancelled asyncio.exceptions.CancelledError('')\n"
        "  MODEL scripted-1 cancelled asyncio.exceptions.CancelledError('')\n"
        "    · CHUNK"
    )


def journaled(recording: StrandsRecording) -> set[str]:
    """The types of the events so far."""
    return {event.type for events in recording.sessions.values() for event in events}


@pytest.mark.parametrize("in_what", ["model", "tool"])
async def test_a_timeout(recording: StrandsRecording, in_what: str) -> None:
    """An agent that its caller gives up after a while is cancelled."""
    agent = agents.agent([LONG], delay_s=0.2) if in_what == "model" else agents.agent([call(("slow", {"a": 1}))])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agent.invoke_async("go"), 0.1)
    assert {step.status for step in recording.steps.roots} == {"cancelled"}
    assert recording.status == ("INTERRUPTED", "cancelled")
    last = list(recording.steps.walk())[-1]
    assert (last.kind, last.status) == (in_what.upper(), "cancelled")


@pytest.mark.parametrize("how", ["agent.cancel()", "cancel_signal"])
async def test_an_agent_that_is_told_to_stop(scenario: StrandsRecording, snapshot: Any, how: str) -> None:
    """An agent that is told to stop while its model streams ends as cancelled; its caller gets a result."""
    signal = threading.Event()
    agent = agents.agent([LONG], delay_s=0.1)
    task = asyncio.create_task(agent.invoke_async("go", cancel_signal=signal))
    await until(lambda: "CHUNK" in journaled(scenario))
    if how == "cancel_signal":
        signal.set()
    else:
        agent.cancel()
    assert (await task).stop_reason == "cancelled"
    assert scenario.tree(details=False) == snapshot(name="steps")
    assert scenario.status == ("INTERRUPTED", "cancelled")


async def test_an_agent_that_is_told_to_stop_between_tools(recording: StrandsRecording) -> None:
    """An agent that a tool tells to stop ends as cancelled, the tool that did it as it ended."""

    @tool
    def stop_now() -> str:
        """Stop the agent."""
        agent.cancel()
        return "stopping"

    agent = agents.agent([call(("stop_now", {})), say("never")], tools=[stop_now])
    assert (await agent.invoke_async("go")).stop_reason == "cancelled"
    assert recording.tree(details=False) == (
        "AGENT calc cancelled\n  MODEL scripted-1 ok input=10 output=5\n  TOOL stop_now ok"
    )


def test_a_key_pressed_in_an_async_tool(scenario: StrandsRecording, snapshot: Any) -> None:
    """A KeyboardInterrupt within a tool reaches the caller, and every step is ended as cancelled."""

    @tool
    async def interrupted() -> str:
        """Be interrupted by key."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        agents.agent([call(("interrupted", {}))], tools=[interrupted])("go")
    scenario.matches(snapshot)
    assert scenario.status == ("INTERRUPTED", "cancelled")


def test_a_key_pressed_in_the_thread_of_a_tool(recording: StrandsRecording) -> None:
    """A KeyboardInterrupt within a sync tool, which runs in a thread, cancels the tool and its agent too."""

    @tool
    def interrupted() -> str:
        """Be interrupted by key."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        agents.agent([call(("interrupted", {}))], tools=[interrupted])("go")
    assert [step.status for step in recording.steps.walk()] == ["cancelled", "ok", "cancelled"]


def test_a_key_pressed_in_a_hook(recording: StrandsRecording) -> None:
    """A KeyboardInterrupt within a hook of the program's cancels the agent."""
    from strands.hooks import BeforeModelCallEvent

    def pressed(event: BeforeModelCallEvent) -> None:
        raise KeyboardInterrupt

    agent = agents.adding()
    agent.add_hook(pressed, BeforeModelCallEvent)
    with pytest.raises(KeyboardInterrupt):
        agent("go")
    assert recording.tree(details=False) == "AGENT calc cancelled KeyboardInterrupt('')"


async def test_a_caller_that_handles_an_exception(recording: StrandsRecording) -> None:
    """An agent or graph that is called while its caller handles an exception does not end by that one."""
    from strands.hooks import BeforeInvocationEvent

    def deny(event: BeforeInvocationEvent) -> None:
        event.cancel = True

    denied = agents.adding(name="denied")  # of which Strands' hooks tell no result
    denied.add_hook(deny, BeforeInvocationEvent)
    outer = agents.agent([call(("denied", {"input": "go"})), say("done")], tools=[denied.as_tool()])
    try:
        raise ValueError("the caller's")
    except ValueError:
        await agents.adding().invoke_async("go")
        await denied.invoke_async("go")
        await outer.invoke_async("go")
        await agents.graph({"a": agents.agent([say("x")], name="a", session=None)}).invoke_async("go")
    assert {step.status for events in recording.sessions.values() for step in fold_steps(events).walk()} == {"ok"}
