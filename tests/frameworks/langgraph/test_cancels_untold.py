"""Cancels that LangChain does not tell its handlers: what is open below a cancelled step ends with it."""

from __future__ import annotations

import asyncio

import pytest

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
