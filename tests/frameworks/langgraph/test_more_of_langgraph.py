"""The rest of what LangGraph and `create_agent` can do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from opentelemetry import context as context_api
from pydantic import BaseModel

from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


def test_state_that_is_written_from_outside(recording: Recording) -> None:
    """Reading and updating a thread's state is no run and no step."""
    graph = graphs.two_nodes(checkpointer=InMemorySaver())
    graph.invoke({"notes": []}, graphs.on_thread())
    before = recording.tree(details=False)
    graph.get_state(graphs.on_thread())
    list(graph.get_state_history(graphs.on_thread()))
    graph.update_state(graphs.on_thread(), {"notes": ["from outside"]})
    assert recording.tree(details=False) == before


def test_going_back_in_time(recording: Recording) -> None:
    """A run from an earlier checkpoint is another invocation, whose nodes are the same steps where they run again."""
    graph = graphs.two_nodes(checkpointer=InMemorySaver())
    graph.invoke({"notes": []}, graphs.on_thread())
    before_write = next(state for state in graph.get_state_history(graphs.on_thread()) if state.next == ("write",))
    graph.invoke(None, before_write.config)
    assert [step.name for step in recording.steps.roots] == ["two", "two"]
    assert [step.status for step in recording.steps.walk()] == ["ok"] * 5


def test_a_chain_in_a_node(recording: Recording) -> None:
    """Prompt, model and parser in a row are one model step below the node."""
    chain = ChatPromptTemplate.from_messages([("user", "{text}")]) | ScriptedModel(script=["x"]) | StrOutputParser()
    graphs.nested(lambda state: {"notes": [chain.invoke({"text": "hi"})]}).invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == "AGENT outer ok\n  NODE sub ok\n    MODEL scripted-1 ok"


def test_fallbacks(recording: Recording) -> None:
    """A model and its fallback are two model steps, the first one failed."""
    model = ScriptedModel(script=[ValueError("down")]).with_fallbacks(
        [ScriptedModel(script=["x"], model_name="scripted-2")]
    )
    graphs.chat_node(model).invoke(graphs.question(), graphs.on_thread())
    assert recording.tree(details=False) == (
        "AGENT chat ok\n  NODE ask ok\n    MODEL scripted-1 error ValueError('down')\n    MODEL scripted-2 ok"
    )


def test_a_tool_node(recording: Recording) -> None:
    """A `ToolNode` in a graph of one's own gives tool steps; an error it handles fails the tool, not the node."""
    builder = StateGraph(graphs.Chat)
    builder.add_node("tools", ToolNode([graphs.search, graphs.broken], handle_tool_errors=True))
    builder.add_edge(START, "tools")
    calls = [("search", {"query": "x"}), ("broken", {"query": "y"})]
    builder.compile(name="own").invoke({"messages": [reply("", calls=calls, call_ids=["1", "2"])]}, graphs.on_thread())
    assert sorted(recording.tree(details=False).splitlines()) == sorted(
        [
            "AGENT own ok",
            "  NODE tools ok",
            "    TOOL broken error LookupError('no y')",
            "    TOOL search ok",
        ]
    )
    assert recording.status == ("COMPLETED", None)


async def test_a_node_that_times_out(recording: Recording) -> None:
    """A node that runs into its own timeout fails."""

    async def slow(state: graphs.Notes) -> graphs.Notes:
        await asyncio.sleep(60)
        return {}

    builder = StateGraph(graphs.Notes)
    builder.add_node("slow", slow, timeout=0.1)
    builder.add_edge(START, "slow")
    with pytest.raises(Exception, match=r"(?i)time"):
        await builder.compile(name="timed").ainvoke({"notes": []}, graphs.on_thread())
    assert recording.status == ("ERROR", None)
    assert recording.steps.roots[0].status == "error"


def test_human_in_the_loop_middleware(recording: Recording) -> None:
    """An agent whose middleware asks before a tool runs is interrupted there and goes on when it is answered."""
    agent = create_agent(
        ScriptedModel(script=graphs.SEARCH_THEN_ANSWER, by_turn=True),
        [graphs.search],
        name="researcher",
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"search": True})],
        checkpointer=InMemorySaver(),
    )
    agent.invoke(graphs.question(), graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), graphs.on_thread())
    assert recording.status == ("COMPLETED", None)
    first, second = recording.steps.roots
    assert recording.steps.resumes == {second.step_id: first.step_id}
    assert [step.name for step in recording.steps.steps if step.kind == "TOOL"] == ["search"]


def test_tool_retry_middleware(recording: Recording) -> None:
    """A tool that middleware calls again is another attempt at the same tool call."""
    failures = [2]

    @tool
    def flaky(query: str) -> str:
        """Fail twice."""
        if failures[0]:
            failures[0] -= 1
            raise ConnectionError("again")
        return "found"

    agent = create_agent(
        ScriptedModel(script=[reply("", calls=[("flaky", {"query": "x"})]), "done"], by_turn=True),
        [flaky],
        name="researcher",
        middleware=[ToolRetryMiddleware(max_retries=3, initial_delay=0.001, jitter=False)],
    )
    agent.invoke(graphs.question(), graphs.on_thread())
    (step,) = (step for step in recording.steps.steps if step.kind == "TOOL")
    assert [one.outcome for one in step.attempts] == ["error", "error", "ok"]


def test_structured_output(recording: Recording) -> None:
    """An agent with a response format is as any other."""

    class Weather(BaseModel):
        """The weather."""

        degrees: int

    agent = create_agent(
        ScriptedModel(script=[reply("", calls=[("Weather", {"degrees": 7})])], by_turn=True),
        [],
        name="forecast",
        response_format=Weather,
    )
    result = agent.invoke(graphs.question(), graphs.on_thread())
    assert result["structured_response"] == Weather(degrees=7)
    assert recording.tree(details=False) == "AGENT forecast ok\n  NODE model ok\n    MODEL scripted-1 ok"


def test_streaming_subgraphs(recording: Recording) -> None:
    """A stream that shows its subgraphs gives the same steps."""
    graph = graphs.nested(graphs.nested(graphs.two_nodes(), name="middle"))
    assert list(graph.stream({"notes": []}, graphs.on_thread(), subgraphs=True, stream_mode=["updates", "debug"]))
    assert [step.name for step in recording.steps.walk()] == ["outer", "sub", "middle", "sub", "two", "plan", "write"]


@pytest.mark.parametrize("how", ["ainvoke", "astream", "astream_events", "broken off", "error"])
async def test_the_context_of_a_task_is_left_alone(recording: Recording, how: str) -> None:
    """Within an async task the context after a run is the one before it, whatever the run's end."""
    before = context_api.get_current()
    given, config = {"notes": []}, graphs.on_thread()
    match how:
        case "ainvoke":
            await graphs.async_nodes().ainvoke(given, config)
        case "astream":
            assert [part async for part in graphs.async_nodes().astream(given, config)]
        case "astream_events":
            assert [event async for event in graphs.async_nodes().astream_events(given, config)]
        case "broken off":
            stream = graphs.async_nodes().astream(given, config)
            await anext(stream)
            await stream.aclose()
        case _:
            with pytest.raises(ConnectionError):
                await graphs.flaky(9).ainvoke(given, config)
    assert context_api.get_current() == before


def test_a_graph_run_by_a_worker_without_context(recording: Recording) -> None:
    """A graph that a node runs in a bare thread, which has lost its context, is a run of its own."""
    from concurrent.futures import ThreadPoolExecutor

    inner = graphs.two_nodes()

    def work(state: graphs.Notes) -> graphs.Notes:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inner.invoke, {"notes": []}, graphs.on_thread("t2")).result()
        return {"notes": ["x"]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    assert set(recording.sessions) == {"t1", "t2"}


def test_a_repeated_tool_call_id(recording: Recording) -> None:
    """Where a model gives two calls the same id, each is still begun and ended once."""
    calls: Any = [("search", {"query": "a"}), ("search", {"query": "b"})]
    agent = graphs.agent([reply("", calls=calls, call_ids=["same", "same"]), "done"])
    agent.invoke(graphs.question(), graphs.on_thread())
    tools = [one for step in recording.steps.steps if step.kind == "TOOL" for one in step.attempts]
    assert [one.outcome for one in tools] == ["ok", "ok"]
