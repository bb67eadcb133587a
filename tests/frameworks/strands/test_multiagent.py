"""Graphs and swarms: their agents below their nodes, however each of them ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from strands import tool
from strands.hooks import AfterNodeCallEvent, BeforeMultiAgentInvocationEvent, BeforeNodeCallEvent
from strands.multiagent.base import Status
from strands.session import FileSessionManager

from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording


def node(name: str, *turns: Any, **options: Any) -> Any:
    """An agent for a node, without a session of its own."""
    return agents.agent(turns or [say(name.upper())], name=name, session=None, **options)


def steps_of(recording: StrandsRecording) -> list[tuple[str, str, str]]:
    """Kind, name and status of every step."""
    return [(step.kind, step.name, step.status) for step in recording.steps.walk()]


def test_a_graph(scenario: StrandsRecording, snapshot: Any) -> None:
    """A graph is an agent step, its nodes are steps below it, and their agents below those."""
    graph = agents.graph(
        {"plan": node("plan"), "work": node("work", call(("add", {"a": 1, "b": 2})), say("3"))}, [("plan", "work")]
    )
    assert graph("go").status is Status.COMPLETED
    scenario.matches(snapshot)
    assert scenario.status == ("COMPLETED", None)


def test_parallel_nodes(scenario: StrandsRecording, snapshot: Any) -> None:
    """Nodes that run at once are steps beside each other, each with its own agent."""
    nodes = {name: node(name, delay_s=0.01) for name in ("split", "one", "two", "join")}
    edges = [("split", "one"), ("split", "two"), ("one", "join"), ("two", "join")]
    agents.graph(nodes, edges)("go")
    assert scenario.tree(details=False, parallel=True) == snapshot(name="steps")
    if scenario.spans:
        assert scenario.span_tree(attributes=False, parallel=True) == snapshot(name=f"spans {scenario.way}")


def test_a_graph_in_a_graph(scenario: StrandsRecording, snapshot: Any) -> None:
    """A graph that is a node of another is an agent step below that node."""
    inner = agents.graph({"a": node("a")}, graph_id="inner")
    agents.graph({"sub": inner, "end": node("end")}, [("sub", "end")], graph_id="outer")("go")
    scenario.matches(snapshot)


def test_a_node_that_runs_again(recording: StrandsRecording) -> None:
    """A node that a loop comes back to is another step each time."""
    left = [2]

    def again(state: Any) -> bool:
        left[0] -= 1
        return left[0] > 0

    from strands.multiagent import GraphBuilder

    builder = GraphBuilder()
    builder.add_node(node("work"), "work")
    builder.add_edge("work", "work", condition=again)
    builder.set_entry_point("work")
    builder.set_max_node_executions(5)
    builder.build()("go")
    nodes = [step for step in recording.steps.walk() if step.kind == "NODE"]
    assert len(nodes) == 2
    assert len({step.step_id for step in nodes}) == 2


def test_a_node_that_fails(scenario: StrandsRecording, snapshot: Any) -> None:
    """A node whose agent fails has failed, and so has its graph; the exception is the caller's."""
    with pytest.raises(ConnectionError):
        agents.graph({"a": node("a"), "b": node("b", ConnectionError("no line"))}, [("a", "b")])("go")
    scenario.matches(snapshot)
    assert scenario.status == ("ERROR", None)


def test_a_node_that_fails_beside_another(recording: StrandsRecording) -> None:
    """A node that runs beside one that fails is cancelled, with its agent and model call."""
    nodes = {
        "start": node("start"),
        "slow": node("slow", say("one two three"), delay_s=1),
        "bad": node("bad", ConnectionError("no line")),
    }
    with pytest.raises(ConnectionError):
        agents.graph(nodes, [("start", "slow"), ("start", "bad")])("go")
    statuses = {(kind, name): status for kind, name, status in steps_of(recording)}
    assert statuses["NODE", "bad"] == "error"
    assert statuses["NODE", "slow"] == "cancelled"
    assert statuses["AGENT", "slow"] == "cancelled"
    assert statuses["AGENT", "default_graph"] == "error"


def test_a_node_that_takes_too_long(recording: StrandsRecording) -> None:
    """A node that runs into its timeout is cancelled with all that is below it, and its graph has failed."""
    graph = agents.graph({"a": node("a", say("one two three"), delay_s=1)}, node_timeout=0.1)
    with pytest.raises(Exception, match="timed out"):
        graph("go")
    assert steps_of(recording) == [
        ("AGENT", "default_graph", "error"),
        ("NODE", "a", "cancelled"),
        ("AGENT", "a", "cancelled"),
        ("MODEL", "scripted-1", "cancelled"),
    ]


async def until(condition: Any) -> None:
    """Wait for a condition, at most two seconds."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def journaled(recording: StrandsRecording) -> set[str]:
    """The types of the events so far."""
    return {event.type for events in recording.sessions.values() for event in events}


@pytest.mark.parametrize("what", ["graph", "swarm"])
async def test_cancelling(scenario: StrandsRecording, snapshot: Any, what: str) -> None:
    """A graph or swarm whose task is cancelled is cancelled with all that is below it."""
    agent = node("a", say("one two three"), delay_s=5)
    made = agents.graph({"a": agent}) if what == "graph" else agents.swarm(agent)
    task = asyncio.create_task(made.invoke_async("go"))
    await until(lambda: "MODEL_START" in journaled(scenario))
    await asyncio.sleep(0.05)  # until the graph waits: Python 3.11's wait_for loses a cancel beside an event
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps_of(scenario) == snapshot(name="steps")
    assert scenario.status == ("INTERRUPTED", "cancelled")


@pytest.mark.parametrize("what", ["graph", "swarm"])
async def test_a_stream_that_is_closed(scenario: StrandsRecording, snapshot: Any, what: str) -> None:
    """A graph or swarm whose stream is broken off and closed is cancelled with all that is below it."""
    agent = node("a", say("one two three"), delay_s=0.01)
    made = agents.graph({"a": agent}) if what == "graph" else agents.swarm(agent)
    events = made.stream_async("go")
    async for event in events:
        if "data" in event.get("event", {}):
            break
    await events.aclose()
    await until(lambda: not scenario.recorder.open_roots())
    assert steps_of(scenario) == snapshot(name="steps")


def test_a_node_that_a_hook_keeps_from_running(recording: StrandsRecording) -> None:
    """A node that a hook cancels has failed, as Strands counts it, and has no agent below it."""

    def deny(event: BeforeNodeCallEvent) -> None:
        event.cancel_node = "not on a Sunday"

    graph = agents.graph({"a": node("a")})
    graph.hooks.add_callback(BeforeNodeCallEvent, deny)
    with pytest.raises(RuntimeError, match="not on a Sunday"):
        graph("go")
    assert steps_of(recording) == [("AGENT", "default_graph", "error"), ("NODE", "a", "error")]


@pytest.mark.parametrize("event", [BeforeMultiAgentInvocationEvent, BeforeNodeCallEvent, AfterNodeCallEvent])
@pytest.mark.parametrize("what", ["graph", "swarm", "nested"])
def test_a_hook_that_fails(recording: StrandsRecording, event: Any, what: str) -> None:
    """Whichever hook of a graph or swarm raises, no step stays open and the exception is the caller's."""

    def fail(_: Any) -> None:
        raise PermissionError("denied")

    made = agents.swarm(node("a")) if what == "swarm" else agents.graph({"a": node("a")}, graph_id="inner")
    made.hooks.add_callback(event, fail)
    if what == "nested":
        made = agents.graph({"sub": made}, graph_id="outer")
    if what == "swarm" and event is not BeforeMultiAgentInvocationEvent:
        assert made("go").status is Status.FAILED  # a swarm raises nothing of its nodes
    else:
        with pytest.raises(PermissionError):
            made("go")
    assert recording.steps.roots[0].status == "error"


def test_an_agent_in_a_node_whose_hook_fails(recording: StrandsRecording) -> None:
    """An agent that is kept from beginning by a hook of the program's ends with its node."""
    from strands.hooks import BeforeInvocationEvent

    def fail(_: Any) -> None:
        raise PermissionError("denied")

    agent = node("a")
    agent.add_hook(fail, BeforeInvocationEvent)
    with pytest.raises(PermissionError):
        agents.graph({"a": agent})("go")
    assert [status for _, _, status in steps_of(recording)] == ["error"] * 3


def test_a_swarm(scenario: StrandsRecording, snapshot: Any) -> None:
    """A swarm is an agent step; an agent that hands off is followed by the node it names."""
    first = node("first", call(("handoff_to_agent", {"agent_name": "second", "message": "go on"})), say("x"), tools=[])
    assert agents.swarm(first, node("second", tools=[]))("go").status is Status.COMPLETED
    scenario.matches(snapshot)


def test_a_swarm_that_fails(recording: StrandsRecording) -> None:
    """A swarm whose agent fails has failed, though it raises nothing, and says which node it was."""
    result = agents.swarm(node("a", ConnectionError("no line")))("go")
    assert result.status is Status.FAILED
    assert [status for _, _, status in steps_of(recording)] == ["error"] * 4
    assert recording.status == ("ERROR", None)
    assert "no line" in recording.steps.roots[0].last.error.message


def test_a_swarm_that_hands_off_too_often(recording: StrandsRecording) -> None:
    """A swarm that Strands stops for its limits has failed."""
    turns = [call(("handoff_to_agent", {"agent_name": "b", "message": "x"})), say("x")]
    back = [call(("handoff_to_agent", {"agent_name": "a", "message": "x"})), say("x")]
    result = agents.swarm(node("a", *turns * 5, tools=[]), node("b", *back * 5, tools=[]), max_handoffs=2)("go")
    assert result.status is Status.FAILED
    assert recording.steps.roots[0].last.error.type == "MultiAgentFailed"


@pytest.mark.parametrize("what", ["graph", "swarm"])
def test_a_node_that_asks(scenario: StrandsRecording, snapshot: Any, what: str) -> None:
    """A question in a node interrupts node and graph; answered, the same node goes on, and the next follows."""
    asking = node("a", call(("ask", {"question": "ok?"})), say("A"))
    made = agents.graph({"a": asking, "b": node("b")}, [("a", "b")]) if what == "graph" else agents.swarm(asking)
    result = made("go")
    assert result.status is Status.INTERRUPTED
    assert scenario.status == ("INTERRUPTED", "awaiting_input")
    assert made(agents.answers(result)).status is Status.COMPLETED
    scenario.matches(snapshot)
    first, second = scenario.steps.roots
    assert scenario.steps.resumes[second.step_id] == first.step_id
    (asked,) = [step for step in scenario.steps.steps if (step.kind, step.name) == ("NODE", "a")]
    assert [one.outcome for one in asked.attempts] == ["interrupted", "ok"]


def test_a_hook_that_asks_before_a_node(recording: StrandsRecording) -> None:
    """A graph that a hook stops before a node is interrupted there, and goes on with that node."""

    def approve(event: BeforeNodeCallEvent) -> None:
        if event.node_id == "b":
            event.interrupt("approve", reason="on to b?")

    graph = agents.graph({"a": node("a"), "b": node("b")}, [("a", "b")])
    graph.hooks.add_callback(BeforeNodeCallEvent, approve)
    graph(agents.answers(graph("go")))
    assert [root.status for root in recording.steps.roots] == ["interrupted", "ok"]
    (asked,) = [step for step in recording.steps.steps if (step.kind, step.name) == ("NODE", "b")]
    assert [one.outcome for one in asked.attempts] == ["interrupted", "ok"]
    first, second = recording.steps.roots
    assert recording.steps.resumes == {second.step_id: first.step_id}


def test_a_graph_of_a_session_manager(recording: StrandsRecording, tmp_path: Path) -> None:
    """A graph with a session manager, and all in it, is in that session; another instance resumes it there."""

    def made() -> Any:
        manager = FileSessionManager("kept", storage_dir=str(tmp_path / "kept"))
        asking = node("a", call(("ask", {"question": "ok?"})), say("A"), agent_id="a")
        return agents.graph({"a": asking}, session_manager=manager, graph_id="flow")

    result = made()("go")
    assert result.status is Status.INTERRUPTED
    again = made()
    again.nodes["a"].executor.model.turns.pop(0)
    assert again(agents.answers(result)).status is Status.COMPLETED
    assert set(recording.sessions) == {"kept"}
    first, second = recording.steps.roots
    assert recording.steps.resumes[second.step_id] == first.step_id


def test_a_graph_in_a_tool(recording: StrandsRecording) -> None:
    """A graph that a tool runs is below that tool, in its session."""

    @tool
    def flow(text: str) -> str:
        """Run a graph."""
        return str(agents.graph({"a": node("a")})(text).status)

    agents.agent([call(("flow", {"text": "go"})), say("done")], tools=[flow])("go")
    assert set(recording.sessions) == {agents.SESSION}
    assert recording.tree(details=False).splitlines()[2:5] == [
        "  TOOL flow ok",
        "    AGENT default_graph ok",
        "      NODE a ok",
    ]


async def test_a_graph_that_runs_twice_at_once(recording: StrandsRecording) -> None:
    """Two runs of different graphs at once are two trees, neither of which has a part of the other."""
    graphs = [agents.graph({f"n{number}": node(f"n{number}", delay_s=0.02)}) for number in range(4)]
    await asyncio.gather(*(graph.invoke_async("go") for graph in graphs))
    names = [
        [(step.kind, step.name) for step in tree.walk()]
        for tree in map(recording.steps_of, recording.sessions.values())
    ]
    assert sorted(one[2][1] for one in names) == ["n0", "n1", "n2", "n3"]
    assert {len(one) for one in names} == {4}
