"""Which session an agent's steps are of, with many agents in one and many sessions in one process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context
from strands import tool
from strands.session import FileSessionManager

from otel_agent_journal.pipeline.session import session
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording, strands_recording_at


def manager(tmp_path: Path, name: str = "managed") -> Any:
    """A session manager of Strands."""
    return FileSessionManager(name, storage_dir=str(tmp_path / "kept"))


def test_precedence(tmp_path: Path) -> None:
    """The session block comes before `--session`, that before the manager's, that before trace attributes', agent's."""
    named: Any = {"trace_attributes": {"session.id": "attributed"}}
    managed = agents.adding(session=None, session_manager=manager(tmp_path), **named)
    with strands_recording_at(tmp_path / "a") as recording:
        with session("block"):
            managed("go")
        managed("go")
        agents.adding(session=None, **named)("go")
        own = agents.adding(session=None)
        own("go")
        assert set(recording.sessions) == {"block", "managed", "attributed", own.session_id}
        (agent,) = [step for step in fold_steps(recording.sessions["block"]).walk() if step.name == "calc"]
        assert agent.last.details_start["framework_session_id"] == "managed"
    with strands_recording_at(tmp_path / "b", session_id="told") as recording:
        agents.adding(session=None, **named)("go")
        assert set(recording.sessions) == {"told"}
        assert recording.steps.roots[0].last.details_start["framework_session_id"] == "attributed"


@pytest.mark.parametrize("key", ["session.id", "gen_ai.conversation.id"])
def test_baggage(tmp_path: Path, key: str) -> None:
    """A session that baggage names comes after the framework's own, trusted or not."""
    with strands_recording_at(tmp_path / "a", trusts_baggage=True) as recording:
        token = context.attach(baggage.set_baggage(key, "carried"))
        agent = agents.adding(session=None)
        try:
            agent("go")
        finally:
            context.detach(token)
        recording.check()
        assert set(recording.sessions) == {agent.session_id}


@pytest.mark.parametrize("key", ["session.id", "gen_ai.conversation.id"])
def test_baggage_of_the_agent(recording: StrandsRecording, key: str) -> None:
    """An agent's own baggage, which Strands makes current for each invocation, names the session."""
    agents.adding(session=None, baggage_attributes={key: "carried"})("go")
    assert set(recording.sessions) == {"carried"}


def test_trace_attributes_of_the_convention(recording: StrandsRecording) -> None:
    """Trace attributes may name the conversation as the convention does."""
    agents.adding(session=None, trace_attributes={"gen_ai.conversation.id": "c1"})("go")
    assert set(recording.sessions) == {"c1"}


def test_many_agents_in_one_session(recording: StrandsRecording, tmp_path: Path) -> None:
    """Agents of one session, by manager, attribute or block, are roots of that session, each with its own id."""
    agents.adding(name="one", session="same", agent_id="a1")("go")
    agents.adding(name="two", session=None, agent_id="a2", session_manager=manager(tmp_path, "same"))("go")
    with session("same"):
        agents.adding(name="three", session="another", agent_id="a3")("go")
    assert set(recording.sessions) == {"same"}
    told = [
        (step.name, step.last.details_start["attributes"]["gen_ai.agent.id"])
        for step in recording.steps.walk()
        if step.kind == "AGENT" and step.name in ("one", "two", "three")
    ]
    assert told == [("one", "a1"), ("two", "a2"), ("three", "a3")]


def test_a_restored_agent_goes_on_in_its_session(recording: StrandsRecording, tmp_path: Path) -> None:
    """An agent that is restored by its session manager goes on in its session; what it said before is not repeated."""
    first = agents.agent([say("one")], session=None, agent_id="a1", session_manager=manager(tmp_path))
    first("first question")
    restored = agents.agent([say("two")], session=None, agent_id="a1", session_manager=manager(tmp_path))
    assert len(restored.messages) == 2
    restored("second question")
    assert set(recording.sessions) == {"managed"}
    model = [step for step in recording.steps.walk() if step.kind == "MODEL"][-1]
    assert [one["content"] for one in model.last.details_start["messages"]] == ["second question"]
    assert model.last.details_start["request"]["messages"]["count"] == 3


@tool
async def work(number: int) -> str:
    """Work a little, and tell on what."""
    await asyncio.sleep(0.01)
    return f"worked on {number}"


@tool
def toil(number: int) -> str:
    """Work a little in a thread, and tell on what."""
    threading.Event().wait(0.01)
    return f"worked on {number}"


def worker(number: int) -> Any:
    """An agent of a session of its own, that works with two tools twice."""
    turns = [
        call(("work", {"number": number}), ("toil", {"number": number}), text=f"round 1 of {number}"),
        call(("work", {"number": number}), ("toil", {"number": number}), text=f"round 2 of {number}"),
        say(f"done with {number}"),
    ]
    return agents.agent(turns, name=f"w{number}", session=f"s{number}", tools=[work, toil], delay_s=0.001)


def assert_unmixed(recording: StrandsRecording, count: int) -> None:
    """Assert that each session has the steps of one agent alone, each with what is that agent's."""
    sessions = recording.sessions
    assert set(sessions) == {f"s{number}" for number in range(count)}
    for number in range(count):
        events = sessions[f"s{number}"]
        steps = list(fold_steps(events).walk())
        kinds = sorted(step.kind for step in steps)
        assert kinds == ["AGENT"] + ["MODEL"] * 3 + ["TOOL"] * 4
        assert {step.name for step in steps} == {f"w{number}", "scripted-1", "work", "toil"}
        outputs = [step.last.details_end["output"]["content"] for step in steps if step.kind == "TOOL"]
        assert outputs == [f"worked on {number}"] * 4
        assert len({event.trace_id for event in events}) == 1


def test_many_sessions_in_threads(scenario: StrandsRecording) -> None:
    """Eight agents in eight threads are eight sessions, and nothing of one is in another."""
    together = threading.Barrier(8)

    def run(number: int) -> None:
        together.wait(10)
        worker(number)("go")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert_unmixed(scenario, 8)


async def test_many_sessions_in_tasks(scenario: StrandsRecording) -> None:
    """Eight agents in eight tasks of one loop are eight sessions, and nothing of one is in another."""
    await asyncio.gather(*(worker(number).invoke_async("go") for number in range(8)))
    assert_unmixed(scenario, 8)


async def test_many_streams_in_one_task(recording: StrandsRecording) -> None:
    """Streams that one task reads in turn are sessions of their own: each runs in its own context."""
    streams = {number: worker(number).stream_async("go") for number in range(4)}
    while streams:
        for number, stream in list(streams.items()):
            if await anext(stream, None) is None:
                del streams[number]
    assert_unmixed(recording, 4)


async def test_one_agent_that_runs_twice_at_once(recording: StrandsRecording, caplog: pytest.LogCaptureFixture) -> None:
    """Two invocations of one agent at once, where that is allowed, are two trees with their own model calls."""
    from strands.types.agent import ConcurrentInvocationMode

    agent = agents.agent(
        [say("short"), say("one that is said in more words")],
        delay_s=0.005,
        concurrent_invocation_mode=ConcurrentInvocationMode.UNSAFE_REENTRANT,
    )
    await asyncio.gather(agent.invoke_async("a"), agent.invoke_async("b"))
    roots = recording.steps.roots
    assert [[child.kind for child in recording.steps.children(root)] for root in roots] == [["MODEL"], ["MODEL"]]
    assert [(root.last.details_start["input"], root.last.details_end["output"]) for root in roots] == [
        ("a", "short"),
        ("b", "one that is said in more words"),
    ]
    # Strands keeps one span an agent: it ends that of the later invocation twice, and forgets the other, which we end.
    assert {record.name for record in caplog.records if record.levelname == "WARNING"} == {"opentelemetry.sdk.trace"}
    caplog.clear()
