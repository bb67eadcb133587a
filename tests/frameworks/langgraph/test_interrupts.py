"""Interrupt and resume: a pause is no error, the resumed run is joined to it, the step taken up again is the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from otel_agent_journal.testing.scripted import reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


async def run(graph: Any, given: Any, how: str) -> Any:
    """Run a graph sync or async, whole or streamed."""
    match how:
        case "invoke":
            return graph.invoke(given, graphs.on_thread())
        case "ainvoke":
            return await graph.ainvoke(given, graphs.on_thread())
        case "stream":
            return list(graph.stream(given, graphs.on_thread()))
        case _:
            return [part async for part in graph.astream(given, graphs.on_thread())]


def joined(recording: Recording) -> None:
    """Check that the second root goes on from the first, in journal and trace."""
    first, second = recording.steps.roots
    assert recording.steps.resumes == {second.step_id: first.step_id}
    spans = {f"{span.context.span_id:016x}": span for span in recording.spans}
    (link,) = spans[second.last.span_id or ""].links
    assert f"{link.context.span_id:016x}" == first.last.span_id


def test_interrupt_and_resume(recording: Recording, snapshot: Any) -> None:
    """A node that asks ends interrupted, as does its graph; resumed, it is another attempt at the same step."""
    graph = graphs.asking(InMemorySaver())
    graph.invoke({"notes": []}, graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    graph.invoke(Command(resume="yes"), graphs.on_thread())
    assert recording.status == ("COMPLETED", None)
    assert recording.snapshot() == snapshot
    joined(recording)
    step = next(step for step in recording.steps.steps if step.name == "approve")
    assert [(one.attempt, one.outcome) for one in step.attempts] == [(1, "interrupted"), (2, "ok")]
    assert not [span for span in recording.spans if span.status.status_code.name == "ERROR"]


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_every_way_to_run(recording: Recording, how: str) -> None:
    """Interrupt and resume are the same however the graph is run."""
    graph = graphs.asking(InMemorySaver())
    await run(graph, {"notes": []}, how)
    await run(graph, Command(resume="yes"), how)
    assert recording.tree(details=False) == (
        "AGENT approval interrupted\n"
        "  NODE plan ok\n"
        "  NODE approve interrupted\n"
        "AGENT approval ok\n"
        "  · RUN_RESUMED\n"
        "  NODE approve #2 ok"
    )
    joined(recording)


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_in_a_graph_in_a_graph(recording: Recording, how: str) -> None:
    """A question in a subgraph interrupts every step around it; resumed, each of them is taken up again."""
    graph = graphs.nested_asking(InMemorySaver())
    await run(graph, {"notes": []}, how)
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    await run(graph, Command(resume="yes"), how)
    assert recording.tree(details=False) == (
        "AGENT outer interrupted\n"
        "  NODE before ok\n"
        "  NODE sub interrupted\n"
        "    AGENT approval interrupted\n"
        "      NODE plan ok\n"
        "      NODE approve interrupted\n"
        "AGENT outer ok\n"
        "  · RUN_RESUMED\n"
        "  NODE sub #2 ok\n"
        "    AGENT approval #2 ok\n"
        "      NODE approve #2 ok\n"
        "  NODE after ok"
    )
    joined(recording)


def test_in_a_tool(recording: Recording, snapshot: Any) -> None:
    """A tool that asks a human ends interrupted; resumed, it is another attempt at the same tool call."""
    agent = graphs.agent(
        [reply("", calls=[("ask_human", {"question": "sure?"})]), reply("They are sure.")],
        [graphs.ask_human],
        checkpointer=InMemorySaver(),
    )
    agent.invoke(graphs.question(), graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    agent.invoke(Command(resume="yes"), graphs.on_thread())
    assert recording.snapshot() == snapshot
    joined(recording)


def test_in_an_agent_that_is_a_tool(recording: Recording) -> None:
    """A question that an agent within a tool asks interrupts both agents; answered, both are taken up again."""
    helper = graphs.agent(
        [reply("", calls=[("ask_human", {"question": "sure?"})]), "They are."], [graphs.ask_human], name="helper"
    )

    @tool
    def delegate(task: str) -> str:
        """Hand over."""
        return str(helper.invoke(graphs.question(task))["messages"][-1].content)

    boss = graphs.agent(
        [reply("", calls=[("delegate", {"task": "ask"})]), "Thanks."],
        [delegate],
        name="boss",
        checkpointer=InMemorySaver(),
    )
    boss.invoke(graphs.question(), graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    boss.invoke(Command(resume="yes"), graphs.on_thread())
    assert recording.status == ("COMPLETED", None)
    for name, outcomes in (("delegate", ["interrupted", "ok"]), ("ask_human", ["interrupted", "ok"])):
        (step,) = (step for step in recording.steps.steps if step.name == name)
        assert [one.outcome for one in step.attempts] == outcomes


def test_interrupted_twice(recording: Recording) -> None:
    """Each resumed run is joined to the run that it goes on from."""

    def ask(state: graphs.Notes) -> graphs.Notes:
        return {"notes": [interrupt("one?"), interrupt("two?")]}

    builder = StateGraph(graphs.Notes)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(name="twice", checkpointer=InMemorySaver())
    graph.invoke({"notes": []}, graphs.on_thread())
    graph.invoke(Command(resume="a"), graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    graph.invoke(Command(resume="b"), graphs.on_thread())
    assert recording.status == ("COMPLETED", None)
    first, second, third = recording.steps.roots
    assert recording.steps.resumes == {second.step_id: first.step_id, third.step_id: second.step_id}
    step = next(step for step in recording.steps.steps if step.name == "ask")
    assert [one.outcome for one in step.attempts] == ["interrupted", "interrupted", "ok"]


def test_interrupt_before_a_node(recording: Recording) -> None:
    """A graph that is compiled to stop before a node ends interrupted and is joined when it goes on."""
    graph = graphs.two_nodes(checkpointer=InMemorySaver(), interrupt_before=["write"])
    graph.invoke({"notes": []}, graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    graph.invoke(None, graphs.on_thread())
    assert recording.tree(details=False) == (
        "AGENT two interrupted\n  NODE plan ok\nAGENT two ok\n  · RUN_RESUMED\n  NODE write ok"
    )
    joined(recording)


def test_interrupted_beside_others(recording: Recording) -> None:
    """Of nodes that run beside each other only the one that asks is interrupted and taken up again."""
    builder = StateGraph(graphs.Notes)
    builder.add_node("ask", lambda state: {"notes": [interrupt("?")]})
    builder.add_node("go", lambda state: {"notes": ["went"]})
    builder.add_edge(START, "ask")
    builder.add_edge(START, "go")
    graph = builder.compile(name="beside", checkpointer=InMemorySaver())
    graph.invoke({"notes": []}, graphs.on_thread())
    graph.invoke(Command(resume="a"), graphs.on_thread())
    assert sorted(recording.tree(details=False).splitlines()) == sorted(
        [
            "AGENT beside interrupted",
            "  NODE ask interrupted",
            "  NODE go ok",
            "AGENT beside ok",
            "  · RUN_RESUMED",
            "  NODE ask #2 ok",
        ]
    )


def test_in_the_functional_api(recording: Recording) -> None:
    """An entrypoint that asks is interrupted; tasks that were done are not run again."""

    @task
    def fetch() -> str:
        return "data"

    @entrypoint(checkpointer=InMemorySaver())
    def review(topic: str) -> str:
        return fetch().result() + interrupt("ok?")

    review.invoke("x", graphs.on_thread())
    assert review.invoke(Command(resume="!"), graphs.on_thread()) == "data!"
    assert recording.tree(details=False) == (
        "AGENT LangGraph interrupted\n"
        "  NODE review interrupted\n"
        "    NODE fetch ok\n"
        "AGENT LangGraph ok\n"
        "  · RUN_RESUMED\n"
        "  NODE review #2 ok"
    )


def test_a_graph_that_is_not_resumed_is_not_joined(recording: Recording) -> None:
    """A new question on the thread of an interrupted run is a run of its own."""
    graph = graphs.asking(InMemorySaver())
    graph.invoke({"notes": []}, graphs.on_thread())
    graph.invoke({"notes": ["something else"]}, graphs.on_thread())
    assert recording.steps.resumes == {}
    assert recording.status == ("INTERRUPTED", "awaiting_input")


async def leave(graph: Any, how: str, mode: str, subgraphs: bool = False) -> None:
    """Stream a graph until it asks, then leave."""
    options: Any = {"stream_mode": mode, "subgraphs": subgraphs}
    if how == "stream":
        for part in graph.stream({"notes": []}, graphs.on_thread(), **options):
            if "__interrupt__" in str(part):
                break
        return
    parts = graph.astream({"notes": []}, graphs.on_thread(), **options)
    async for part in parts:
        if "__interrupt__" in str(part):
            break
    await parts.aclose()


@pytest.mark.parametrize("mode", ["updates", "values"])
@pytest.mark.parametrize("how", ["stream", "astream"])
@pytest.mark.parametrize("asks", ["node", "subgraph", "within", "before"])
async def test_a_stream_left_at_the_question(recording: Recording, how: str, mode: str, asks: str) -> None:
    """Whoever leaves a stream at the question has cancelled nothing: the session awaits the answer, and goes on."""
    if asks == "before":
        graph = graphs.two_nodes(checkpointer=InMemorySaver(), interrupt_before=["write"])
    elif asks == "node":
        graph = graphs.asking(InMemorySaver())
    else:
        graph = graphs.nested_asking(InMemorySaver())
    await leave(graph, how, mode, asks == "within")
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    assert "cancelled" not in recording.tree(details=False)
    await run(graph, None if asks == "before" else Command(resume="yes"), "ainvoke" if how == "astream" else "invoke")
    assert recording.status == ("COMPLETED", None)
    joined(recording)


async def test_events_left_at_the_question(recording: Recording) -> None:
    """The same where the graph is run in a task of `astream_events`, which is cancelled."""
    graph = graphs.asking(InMemorySaver())
    events = graph.astream_events({"notes": []}, graphs.on_thread(), version="v2")
    async for event in events:
        if "__interrupt__" in str(event["data"].get("chunk")):
            break
    await events.aclose()
    await asyncio.sleep(0.05)
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    assert "cancelled" not in recording.tree(details=False)


async def test_a_cancel_while_another_asks(recording: Recording) -> None:
    """A run that is cancelled while one node has asked and another works is cancelled."""
    began = asyncio.Event()

    async def ask(state: graphs.Notes) -> graphs.Notes:
        return {"notes": [interrupt("go on?")]}

    async def work(state: graphs.Notes) -> graphs.Notes:
        began.set()
        await asyncio.sleep(60)
        return {"notes": []}

    builder = StateGraph(graphs.Notes)
    for node in (ask, work):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    graph = builder.compile(name="both", checkpointer=InMemorySaver())
    running = asyncio.create_task(graph.ainvoke({"notes": []}, graphs.on_thread()))
    await began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert recording.status == ("INTERRUPTED", "cancelled")
    assert sorted((step.name, step.status) for step in recording.steps.walk()) == [
        ("ask", "interrupted"),
        ("both", "cancelled"),
        ("work", "cancelled"),
    ]
