"""Ends that LangChain does not tell its handlers, or tells as cancels: steps end with those around them, by name."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.errors import NodeCancelledError, NodeTimeoutError
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy

from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


async def test_asyncio_cancel_in_a_tool_of_an_agent(recording: Recording) -> None:
    """The same holds of what is open within an agent: node, model, tool."""
    started = asyncio.Event()

    async def slow(query: str) -> str:
        """Take long."""
        started.set()
        await asyncio.sleep(60)
        return query

    agent = graphs.agent([reply("", calls=[("slow", {"query": "x"})]), "done"], [slow])
    running = asyncio.create_task(agent.ainvoke(graphs.question(), graphs.on_thread()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [(step.kind, step.status) for step in recording.steps.walk()] == [
        ("AGENT", "cancelled"),
        ("NODE", "ok"),
        ("MODEL", "ok"),
        ("NODE", "cancelled"),
        ("TOOL", "cancelled"),
    ]


async def test_a_timeout(recording: Recording) -> None:
    """A timeout from outside is a cancel."""
    graph = graphs.async_chat_node(ScriptedModel(script=["late"], delay_s=60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await graph.ainvoke(graphs.question(), graphs.on_thread())
    assert [step.status for step in recording.steps.walk()] == ["cancelled"] * 3


def test_leaving_in_a_tool(recording: Recording) -> None:
    """SystemExit in a tool, of which LangChain tells no handler, ends the tool's step as cancelled too."""

    def leave(query: str) -> str:
        """Leave."""
        raise SystemExit

    agent = graphs.agent([reply("", calls=[("leave", {"query": "x"})]), "done"], [leave])
    with pytest.raises(SystemExit):
        agent.invoke(graphs.question(), graphs.on_thread())
    assert [step.status for step in recording.steps.walk()] == ["cancelled", "ok", "ok", "cancelled", "cancelled"]


@pytest.mark.parametrize("kind", ["MODEL", "TOOL", "RETRIEVAL"])
@pytest.mark.parametrize("given", ["wait_for", "timeout"])
async def test_a_call_that_is_given_up(recording: Recording, kind: str, given: str) -> None:
    """A call that a node gives up and goes on without is cancelled, at the latest with its node."""

    @tool
    async def slow(query: str) -> str:
        """Take long."""
        await asyncio.sleep(60)
        return query

    class Slow(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return []

        async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            await asyncio.sleep(60)
            return []

    calls = {"MODEL": ScriptedModel(script=["late"], delay_s=60), "TOOL": slow, "RETRIEVAL": Slow()}

    async def impatient(state: graphs.Notes) -> graphs.Notes:
        asked: Any = {"query": "x"} if kind == "TOOL" else "x"
        try:
            if given == "wait_for":
                await asyncio.wait_for(calls[kind].ainvoke(asked), 0.05)
            else:
                async with asyncio.timeout(0.05):
                    await calls[kind].ainvoke(asked)
        except TimeoutError:
            return {"notes": ["went on"]}
        return {"notes": []}

    await graphs.nested(impatient).ainvoke({"notes": []}, graphs.on_thread())
    assert [(step.kind, step.status) for step in recording.steps.walk()] == [
        ("AGENT", "ok"),
        ("NODE", "ok"),
        (kind, "cancelled"),
    ]


def test_a_tool_that_leaves_and_is_caught(recording: Recording) -> None:
    """SystemExit in a tool that its node catches ends the tool with the node, which is ok."""

    @tool
    def leave(query: str) -> str:
        """Leave."""
        raise SystemExit

    def careful(state: graphs.Notes) -> graphs.Notes:
        with contextlib.suppress(SystemExit):
            leave.invoke({"query": "x"})
        return {"notes": []}

    graphs.nested(careful).invoke({"notes": []}, graphs.on_thread())
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok", "cancelled"]


class Timed:
    """A graph of a node that sleeps, asks a model first, or is a graph itself."""

    def __init__(self, **node: Any) -> None:
        self.slept = 0
        builder = StateGraph(graphs.Notes)
        builder.add_node("slow", self.slow, **node)
        builder.add_edge(START, "slow")
        self.graph = builder.compile(name="timed")

    async def slow(self, state: graphs.Notes) -> graphs.Notes:
        """Take long, the first time."""
        self.slept += 1
        await ScriptedModel(script=["late"], delay_s=60 if self.slept == 1 else 0).ainvoke("hi")
        return {"notes": ["done"]}


async def test_a_timeout_of_a_node(recording: Recording) -> None:
    """A node over its timeout is an error by that name; what it had under way is cancelled."""
    with pytest.raises(NodeTimeoutError):
        await Timed(timeout=0.1).graph.ainvoke({"notes": []}, graphs.on_thread())
    steps = list(recording.steps.walk())
    assert [(step.kind, step.status) for step in steps] == [
        ("AGENT", "error"),
        ("NODE", "error"),
        ("MODEL", "cancelled"),
    ]
    assert [step.last.error.type for step in steps[:2] if step.last.error] == ["langgraph.errors.NodeTimeoutError"] * 2


async def test_a_timeout_that_is_retried(recording: Recording) -> None:
    """A node that is tried again after its timeout has failed once, by that name."""
    policy = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False)
    await Timed(timeout=0.1, retry_policy=policy).graph.ainvoke({"notes": []}, graphs.on_thread())
    node = next(step for step in recording.steps.walk() if step.kind == "NODE")
    assert [one.outcome for one in node.attempts] == ["error", "ok"]
    assert node.attempts[0].error is not None
    assert node.attempts[0].error.type == "langgraph.errors.NodeTimeoutError"


async def test_a_timeout_of_a_step(recording: Recording) -> None:
    """A node over its graph's `step_timeout` is an error by that name; one that is cancelled for another's is not."""
    timed = Timed()
    timed.graph.step_timeout = 0.1
    with pytest.raises(TimeoutError):
        await timed.graph.ainvoke({"notes": []}, graphs.on_thread())
    steps = list(recording.steps.walk())
    assert [step.status for step in steps] == ["error", "error", "cancelled"]
    assert steps[1].last.error is not None
    assert steps[1].last.error.type == "TimeoutError"


async def test_a_node_cancelled_for_anothers_error(recording: Recording) -> None:
    """Where a node fails the nodes beside it are cancelled, a timeout of its own being no timeout of theirs."""

    async def fail(state: graphs.Notes) -> graphs.Notes:
        await asyncio.sleep(0.05)
        raise TimeoutError("the database")

    async def work(state: graphs.Notes) -> graphs.Notes:
        await asyncio.sleep(60)
        return {"notes": []}

    builder = StateGraph(graphs.Notes)
    for node in (fail, work):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    with pytest.raises(TimeoutError):
        await builder.compile(name="both").ainvoke({"notes": []}, graphs.on_thread())
    assert sorted((step.name, step.status) for step in recording.steps.walk()) == [
        ("both", "error"),
        ("fail", "error"),
        ("work", "cancelled"),
    ]


async def test_a_node_that_cancels_itself(recording: Recording) -> None:
    """A node that raises asyncio.CancelledError itself is an error by the name that LangGraph gives it."""

    async def quits(state: graphs.Notes) -> graphs.Notes:
        raise asyncio.CancelledError

    with pytest.raises(NodeCancelledError):
        await graphs.nested(quits).ainvoke({"notes": []}, graphs.on_thread())
    steps = list(recording.steps.walk())
    assert [step.last.error.type for step in steps if step.last.error] == ["langgraph.errors.NodeCancelledError"] * 2
