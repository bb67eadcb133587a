"""A user's own spans and steps: inside a tool or model call they nest under its step, outside they stay outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from strands import tool

from otel_agent_journal.pipeline.session import session, step
from otel_agent_journal.pipeline.step import current_step
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording


def mine(name: str = "mine") -> Any:
    """A span of the user's own, as another library opens it."""
    return trace.get_tracer("user").start_as_current_span(name)


@tool
def in_thread() -> str:
    """Open a span in the thread of a sync tool."""
    with mine("in_thread's"):
        found = current_step()
        return f"{found.kind} {found.name}"


@tool
async def in_task() -> str:
    """Open a span in an async tool."""
    with mine("in_task's"):
        await asyncio.sleep(0)
        found = current_step()
        return f"{found.kind} {found.name}"


@tool
async def streaming() -> AsyncGenerator[Any, None]:
    """Open a span around what a tool streams."""
    with mine("streaming's"):
        found = current_step()
        yield "on the way"
        await asyncio.sleep(0.01)
        yield f"{found.kind} {found.name}"


def parent_of(recording: StrandsRecording, name: str) -> str:
    """The name of the span that a span is below of."""
    span = recording.span(name)
    return next(one.name for one in recording.spans if one.context.span_id == span.parent.span_id)


@pytest.mark.parametrize("name", ["in_thread", "in_task", "streaming"])
def test_a_span_in_a_tool(scenario: StrandsRecording, name: str) -> None:
    """A span that a tool opens is below the tool's, and the current step is the tool's, in whatever thread it runs."""
    agents.agent([call((name, {})), say("done")], tools=[in_thread, in_task, streaming])("go")
    assert scenario.attempt(name).details_end["output"]["content"] == f"TOOL {name}"
    if scenario.spans:
        assert parent_of(scenario, f"{name}'s") == f"execute_tool {name}"


def test_spans_of_tools_at_once(recording: StrandsRecording) -> None:
    """Spans of tools that run at once are each below their own tool."""
    agents.agent(
        [call(("in_thread", {}), ("in_task", {}), ("streaming", {})), say("done")],
        tools=[in_thread, in_task, streaming],
    )("go")
    for name in ("in_thread", "in_task", "streaming"):
        assert parent_of(recording, f"{name}'s") == f"execute_tool {name}"


class CallingModel(ScriptedModel):
    """A model whose client opens a span of its own, as botocore's instrumentation does."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Stream within a span."""
        with mine("Bedrock Runtime.ConverseStream"):
            async for event in super().stream(messages, *args, **kwargs):
                yield event


def test_a_span_of_the_models_client(recording: StrandsRecording) -> None:
    """A span that the model's client opens is below the model's."""
    agents.agent([], model=CallingModel([say("hi")]))("go")
    assert parent_of(recording, "Bedrock Runtime.ConverseStream") == "chat"


def test_steps_of_the_users_own(recording: StrandsRecording) -> None:
    """A step that a tool opens itself is below the tool's, and the agent is below the session's block around it."""

    @tool
    def lookup() -> str:
        """Look something up in a step of one's own."""
        with step("retrieval", "index", input="x"):
            return "found"

    with session("s1", agent="outer"):
        agents.agent([call(("lookup", {})), say("done")], tools=[lookup])("go")
    assert recording.tree(details=False).splitlines()[:5] == [
        "AGENT outer ok",
        "  AGENT calc ok",
        "    MODEL scripted-1 ok input=10 output=5",
        "    TOOL lookup ok",
        "      RETRIEVAL index ok",
    ]


def test_a_span_around_an_agent(scenario: StrandsRecording) -> None:
    """An agent is below a span of the user's around it, and what follows it there is beside it."""
    with mine("around") as around:
        agents.adding()("go")
        assert trace.get_current_span() is around
        with mine("after"):
            pass
    if scenario.spans:
        assert parent_of(scenario, "after") == "around"
        assert parent_of(scenario, "invoke_agent calc") == "around"
        start = scenario.attempt("calc").details_start
        assert start["parent_span_id"] == f"{around.get_span_context().span_id:016x}"


@pytest.mark.parametrize("how", ["call", "async", "stream", "error", "structured", "broken off"])
async def test_the_context_of_a_task_is_left_alone(recording: StrandsRecording, how: str) -> None:
    """Within a task the context after an agent is the one before it, whatever the agent's end."""
    before = context_api.get_current()
    match how:
        case "call":
            agents.adding()("go")
        case "async":
            await agents.adding().invoke_async("go")
        case "stream":
            assert [event async for event in agents.adding().stream_async("go")]
        case "error":
            with pytest.raises(ConnectionError):
                await agents.agent([ConnectionError("no line")]).invoke_async("go")
        case "structured":
            from tests.frameworks.strands.test_running import Point

            with pytest.deprecated_call():
                await agents.agent([say('{"x": 1}')]).structured_output_async(Point, "where?")
        case _:
            events = agents.adding().stream_async("go")
            await anext(events)
            await anext(events)
            await events.aclose()
    assert context_api.get_current() == before
    assert current_step() is None
