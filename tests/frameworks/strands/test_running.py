"""Agents that run to their end, in each way of calling them."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording


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


def test_a_failed_tool(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool that raises, and one that answers with an error, end as failed; the agent goes on."""
    agents.agent([call(("broken", {"a": 1})), call(("refuse", {"a": 2})), say("sorry")])("go")
    scenario.matches(snapshot)
