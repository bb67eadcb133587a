"""Agents that run to their end: each way of calling them, and every kind of tool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import BaseModel
from strands import tool
from strands.tools.executors import SequentialToolExecutor

from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording


class Point(BaseModel):
    """A point."""

    x: int


def test_an_agent(scenario: StrandsRecording, snapshot: Any) -> None:
    """An invocation is an agent step, its model calls and tool calls are steps below it."""
    assert str(agents.adding(system_prompt="You add.")("1 + 2?")) == "It is 3.\n"
    scenario.matches(snapshot)
    assert scenario.status == ("COMPLETED", None)


@pytest.mark.parametrize("how", ["call", "async", "stream", "stream and iterate past its end"])
async def test_each_way_of_calling(recording: StrandsRecording, how: str) -> None:
    """However an agent is called, its steps are the same."""
    agent = agents.adding()
    match how:
        case "call":
            agent("1 + 2?")
        case "async":
            await agent.invoke_async("1 + 2?")
        case _:
            events = agent.stream_async("1 + 2?")
            assert [event async for event in events][-1]["result"].stop_reason == "end_turn"
            if how != "stream":
                assert [event async for event in events] == []
    assert recording.tree(details=False) == (
        "AGENT calc ok\n"
        "  MODEL scripted-1 ok input=10 output=5\n"
        "  TOOL add ok\n"
        "  MODEL scripted-1 ok input=10 output=5\n"
        "    · CHUNK"
    )


def test_two_invocations(recording: StrandsRecording) -> None:
    """Each invocation of an agent is a root step of its own, in the same session."""
    agent = agents.agent([say("one"), say("two")])
    agent("first")
    agent("second")
    first, second = recording.steps.roots
    assert first.step_id != second.step_id
    assert [root.last.details_end["output"] for root in (first, second)] == ["one", "two"]


def test_tools_that_fail(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool that raises, one that answers with an error and one that is not there have failed; the agent goes on."""
    agents.agent([call(("broken", {"a": 1})), call(("refuse", {"a": 2})), call(("missing", {})), say("sorry")])("go")
    scenario.matches(snapshot)
    assert scenario.status == ("COMPLETED", None)


def test_a_tool_with_input_it_cannot_take(recording: StrandsRecording) -> None:
    """A tool that refuses its input has failed, and says why."""
    agents.agent([call(("add", {"a": "many", "b": 1})), say("sorry")])("go")
    attempt = recording.attempt("add")
    assert (attempt.outcome, attempt.error.type) == ("error", "ValueError")
    assert "Validation failed" in attempt.error.message


@pytest.mark.parametrize("executor", ["concurrent", "sequential"])
def test_many_tools(scenario: StrandsRecording, snapshot: Any, executor: str) -> None:
    """The tools of one answer are steps beside each other, whether they run at once or in a row."""
    options: Any = {"tool_executor": SequentialToolExecutor()} if executor == "sequential" else {}
    calls = [("add", {"a": 1, "b": 1}), ("broken", {"a": 1}), ("add", {"a": 2, "b": 2})]
    agents.agent([call(*calls), say("done")], **options)("go")
    scenario.matches(snapshot, parallel=True)


@pytest.mark.parametrize("executor", ["concurrent", "sequential"])
def test_calls_of_one_id(recording: StrandsRecording, executor: str) -> None:
    """Where a model gives the calls of one answer the same id, each has its step and its own result."""
    options: Any = {"tool_executor": SequentialToolExecutor()} if executor == "sequential" else {}
    calls = [("add", {"a": number, "b": 1}, "c1") for number in range(3)]
    agents.agent([call(*calls), say("done")], **options)("go")
    found = [step for step in recording.steps.walk() if step.name == "add"]
    assert len({step.step_id for step in found}) == 3
    results = [(step.last.details_start["input"]["a"], step.last.details_end["output"]["content"]) for step in found]
    assert sorted(results) == [(0, "1"), (1, "2"), (2, "3")]


async def test_tools_at_once_overlap(recording: StrandsRecording) -> None:
    """Tools that run at once are open at once, and each has its own result."""
    together = asyncio.Barrier(3)

    @tool
    async def meet(number: int) -> int:
        """Wait for the others."""
        await together.wait()
        return number

    turns = [call(*(("meet", {"number": number}) for number in range(3))), say("done")]
    await agents.agent(turns, tools=[meet]).invoke_async("go")
    tools = [event for event in recording.events if event.type.startswith("TOOL")]
    assert [event.type for event in tools] == ["TOOL_START"] * 3 + ["TOOL_END"] * 3
    told = {event.step_id: event.details["output"]["content"] for event in tools if event.type == "TOOL_END"}
    assert {event.step_id: str(event.details["input"]["number"]) for event in tools[:3]} == told


def test_tool_calls_of_one_id(recording: StrandsRecording) -> None:
    """Where a model gives two calls in a row the same id, each is a step of its own message."""
    turns = [call(("add", {"a": 1, "b": 1}, "same")), call(("add", {"a": 2, "b": 2}, "same")), say("done")]
    agents.agent(turns)("go")
    tools = [step for step in recording.steps.walk() if step.kind == "TOOL"]
    assert [step.last.details_end["output"]["content"] for step in tools] == ["2", "4"]
    assert [step.last.ordinal for step in tools] == [1, 1]


def test_a_tool_that_streams(recording: StrandsRecording) -> None:
    """What a tool streams is in the journal as it comes: text as CHUNK, data as PROGRESS."""

    @tool
    async def report() -> AsyncGenerator[Any, None]:
        """Report on the way."""
        yield "half way"
        yield {"done": 50}
        yield "all"

    agents.agent([call(("report", {})), say("done")], tools=[report])("go")
    notes = [(note.type, note.details) for note in recording.attempt("report").notes]
    assert ("PROGRESS", {"output": {"done": 50}}) in notes
    assert ("CHUNK", {"text": "half way"}) in notes
    assert recording.attempt("report").details_end["output"]["content"] == "all"


def test_structured_output(scenario: StrandsRecording, snapshot: Any) -> None:
    """An output that has a type is a tool of that name, and the invocation's output."""
    agent = agents.agent([say("hm"), call(("Point", {"x": 1}))])
    assert agent("where?", structured_output_model=Point).structured_output == Point(x=1)
    scenario.matches(snapshot)


async def test_structured_output_the_old_way(scenario: StrandsRecording, snapshot: Any) -> None:
    """`structured_output` is an invocation too; it asks the model beside the loop, where no middleware is: no step."""
    agent = agents.agent([say('{"x": 1}')])
    with pytest.deprecated_call():
        assert await agent.structured_output_async(Point, "where?") == Point(x=1)
    scenario.matches(snapshot)


async def test_structured_output_the_old_way_that_fails(recording: StrandsRecording) -> None:
    """An invocation for structured output that raises has failed."""
    with pytest.deprecated_call(), pytest.raises(ConnectionError):
        await agents.agent([ConnectionError("no line")]).structured_output_async(Point, "where?")
    assert recording.tree(details=False) == "AGENT calc error ConnectionError('no line')"


def test_a_tool_that_the_program_calls(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool that the program calls itself is a step of the agent's session, without an agent around it."""
    agent = agents.agent([])
    assert agent.tool.add(a=1, b=2)["status"] == "success"
    scenario.matches(snapshot)


def test_a_tool_that_calls_a_tool(recording: StrandsRecording) -> None:
    """A tool that a tool calls is a step below it."""
    holder: list[Any] = []

    @tool
    def twice(a: int) -> str:
        """Add twice."""
        return str(holder[0].tool.add(a=a, b=a, record_direct_tool_call=False)["content"])

    holder.append(agents.agent([call(("twice", {"a": 1})), say("done")], tools=[twice, agents.add]))
    holder[0]("go")
    assert recording.tree(details=False).splitlines()[2:4] == ["  TOOL twice ok", "    TOOL add ok"]


def test_an_agent_as_a_tool(scenario: StrandsRecording, snapshot: Any) -> None:
    """An agent that another has as its tool is an agent step below the tool, in the same session."""
    inner = agents.adding(name="adder", session=None, description="Adds.")
    agents.agent([call(("adder", {"input": "1 + 2"})), say("done")], tools=[inner], name="main")("go")
    scenario.matches(snapshot)


def test_an_agent_that_a_tool_calls(recording: StrandsRecording) -> None:
    """An agent that a plain tool calls, in a thread, is below that tool and in its session."""

    @tool
    def delegate(text: str) -> str:
        """Ask another agent."""
        return str(agents.adding(name="adder", session="another")(text))

    agents.agent([call(("delegate", {"text": "1 + 2"})), say("done")], tools=[delegate], name="main")("go")
    assert recording.tree(details=False).splitlines()[2:5] == [
        "  TOOL delegate ok",
        "    AGENT adder ok",
        "      MODEL scripted-1 ok input=10 output=5",
    ]
    assert recording.attempt("adder").details_start["framework_session_id"] == "another"


def test_background_tools(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool that runs in the background is a step of the agent that sent it there."""

    @tool
    async def later(a: int) -> int:
        """Take a little."""
        await asyncio.sleep(0.4)
        return a

    turns = [call(("later", {"a": 1})), say("waiting"), say("done")]
    with agents.agent(turns, tools=[later], background_tasks={"always": ["later"]}) as agent:
        agent("go")
    scenario.check()
    assert scenario.tree(details=False) == snapshot(name="steps")


@pytest.mark.parametrize("prompt", ["text", "blocks", "messages", "none"])
def test_prompts(recording: StrandsRecording, prompt: str) -> None:
    """However an agent is asked, its input is what it was asked."""
    given: Any = {
        "text": "hi",
        "blocks": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": b"123"}}}],
        "messages": [
            {"role": "user", "content": [{"text": "a"}]},
            {"role": "assistant", "content": [{"text": "b"}]},
            {"role": "user", "content": [{"text": "c"}]},
        ],
        "none": None,
    }[prompt]
    agents.agent([say("x")], messages=[{"role": "user", "content": [{"text": "before"}]}])(given)
    said = recording.attempt("calc").details_start.get("input")
    assert (
        said
        == {
            "text": "hi",
            "blocks": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": "MTIz"}}}],
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ],
            "none": None,
        }[prompt]
    )
