"""Graphs in graphs and fan-outs: each task is a step of its own, below the graph that it is part of."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

FAN = """\
AGENT fan ok
  NODE gather ok
  NODE split ok
  NODE work ok
  NODE work ok
  NODE work ok"""


def indented(text: str, by: int = 2) -> str:
    """Return a tree further to the right."""
    return "\n".join(" " * by + line for line in text.splitlines())


# --- fan-out ------------------------------------------------------------------------------------------------------


def test_fan_out(recording: Recording, snapshot: Any) -> None:
    """Each Send is a step of its own, in the order of nothing but chance."""
    graphs.fan_out().invoke({"notes": []}, graphs.on_thread())
    assert recording.snapshot(parallel=True) == snapshot
    assert recording.tree(parallel=True, details=False) == FAN
    assert len(recording.steps.steps) == 6


async def test_async_fan_out(recording: Recording) -> None:
    """The same holds of an async fan-out."""
    await graphs.fan_out().ainvoke({"notes": []}, graphs.on_thread())
    assert recording.tree(parallel=True, details=False) == FAN


def test_a_wide_fan_out(recording: Recording) -> None:
    """A hundred parts are a hundred steps."""
    graphs.fan_out(count=100).invoke({"notes": []}, graphs.on_thread(max_concurrency=8))
    (root,) = recording.steps.roots
    assert [step.name for step in recording.steps.children(root)].count("work") == 100


def test_fan_out_to_graphs(recording: Recording) -> None:
    """A Send to a node that is a graph gives each its own graph step."""
    graphs.fan_out(worker=graphs.two_nodes(), count=2).invoke({"notes": []}, graphs.on_thread())
    worker = f"NODE work ok\n{indented(TWO)}"
    assert recording.tree(parallel=True, details=False) == (
        f"AGENT fan ok\n  NODE gather ok\n  NODE split ok\n{indented(worker)}\n{indented(worker)}"
    )


TWO = """\
AGENT two ok
  NODE plan ok
  NODE write ok"""


# --- graphs in graphs ---------------------------------------------------------------------------------------------


def test_a_graph_in_a_graph(recording: Recording, snapshot: Any) -> None:
    """A node that is a graph is a node step with a graph step below it."""
    graphs.nested(graphs.two_nodes()).invoke({"notes": []}, graphs.on_thread())
    assert recording.snapshot() == snapshot


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_graphs_four_deep(recording: Recording, how: str) -> None:
    """Graphs nest as deep as they are written."""
    graph = graphs.two_nodes()
    for depth in range(3):
        graph = graphs.nested(graph, name=f"level{depth}")
    if how == "sync":
        graph.invoke({"notes": []}, graphs.on_thread())
    else:
        await graph.ainvoke({"notes": []}, graphs.on_thread())
    expected = TWO
    for depth in range(3):
        expected = f"AGENT level{depth} ok\n  NODE sub ok\n{indented(expected, 4)}"
    assert recording.tree(details=False) == expected


def test_a_fan_out_in_a_graph_in_a_graph(recording: Recording) -> None:
    """A fan-out within a subgraph hangs below that subgraph."""
    graphs.nested(graphs.nested(graphs.fan_out(), name="middle")).invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(parallel=True, details=False) == (
        f"AGENT outer ok\n  NODE sub ok\n    AGENT middle ok\n      NODE sub ok\n{indented(FAN, 8)}"
    )


def test_a_graph_that_a_node_invokes(recording: Recording) -> None:
    """A graph that a node's own code invokes hangs below that node."""
    inner = graphs.two_nodes()
    outer = graphs.nested(lambda state: {"notes": inner.invoke({"notes": []})["notes"]})
    outer.invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == f"AGENT outer ok\n  NODE sub ok\n{indented(TWO, 4)}"


def test_a_graph_that_is_invoked_twice_by_one_node(recording: Recording) -> None:
    """A graph that one node invokes twice is two steps, not two attempts at one."""
    inner = graphs.two_nodes()
    outer = graphs.nested(
        lambda state: {"notes": inner.invoke({"notes": []})["notes"] + inner.invoke({"notes": []})["notes"]}
    )
    outer.invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == (f"AGENT outer ok\n  NODE sub ok\n{indented(TWO, 4)}\n{indented(TWO, 4)}")


def test_a_graph_on_another_thread_keeps_the_session(recording: Recording) -> None:
    """A graph that a node invokes on a thread of its own is part of the session it was invoked in."""
    inner = graphs.two_nodes()
    outer = graphs.nested(lambda state: {"notes": inner.invoke({"notes": []}, graphs.on_thread("t2"))["notes"]})
    outer.invoke({"notes": []}, graphs.on_thread("t1"))
    assert set(recording.sessions) == {"t1"}
    assert recording.tree(details=False) == f"AGENT outer ok\n  NODE sub ok\n{indented(TWO, 4)}"


# --- what is no step ----------------------------------------------------------------------------------------------


def test_plumbing_is_no_step(recording: Recording) -> None:
    """Sequences, lambdas and edge functions inside a node are no steps; what runs in them hangs below the node."""
    inner = graphs.two_nodes()
    chain = RunnableLambda(lambda state: state) | RunnableLambda(lambda state: {"notes": inner.invoke(state)["notes"]})
    graphs.nested(chain).invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == f"AGENT outer ok\n  NODE sub ok\n{indented(TWO, 4)}"


def test_goto_by_command(recording: Recording) -> None:
    """A node that goes on by Command is a step like any other, as is one that hands over to its parent graph."""
    inner = StateGraph(graphs.Notes)
    inner.add_node("up", lambda state: Command(graph=Command.PARENT, goto="last", update={"notes": ["up"]}))
    inner.add_edge(START, "up")
    builder = StateGraph(graphs.Notes)
    builder.add_node("first", lambda state: Command(goto="sub", update={"notes": ["first"]}))
    builder.add_node("sub", inner.compile(name="inner"), destinations=("last",))
    builder.add_node("last", lambda state: {"notes": ["last"]})
    builder.add_edge(START, "first")
    builder.compile(name="jumps").invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == (
        "AGENT jumps ok\n  NODE first ok\n  NODE sub ok\n    AGENT inner ok\n      NODE up ok\n  NODE last ok"
    )


def test_a_loop(recording: Recording) -> None:
    """A node that runs again in a later round of the graph is another step, not another attempt."""
    builder = StateGraph(graphs.Notes)
    builder.add_node("again", lambda state: {"notes": ["x"]})
    builder.add_edge(START, "again")
    builder.add_conditional_edges("again", lambda state: END if len(state["notes"]) > 2 else "again")
    builder.compile(name="loop").invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == "AGENT loop ok\n  NODE again ok\n  NODE again ok\n  NODE again ok"


def test_a_runnable_alone(recording: Recording) -> None:
    """A chain that is run outside of any graph is one step, with what runs in it below."""
    chain = RunnableLambda(lambda text: text + "!").with_config(run_name="shout")
    chain.invoke("hey", graphs.on_thread())
    assert recording.tree(details=False) == "STEP shout ok"


# --- functional API -----------------------------------------------------------------------------------------------


def test_functional_api(recording: Recording, snapshot: Any) -> None:
    """An entrypoint is an agent step and each task a node step below it, also where they run beside each other."""

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint()
    def total(numbers: list[int]) -> int:
        return sum(future.result() for future in [double(number) for number in numbers])

    assert total.invoke([1, 2, 3], graphs.on_thread()) == 12
    assert recording.snapshot(parallel=True) == snapshot


async def test_async_functional_api(recording: Recording) -> None:
    """The same holds of async entrypoints, of tasks in tasks, and of streams."""

    @task
    async def double(number: int) -> int:
        return 2 * number

    @task
    async def double_twice(number: int) -> int:
        return await double(await double(number))

    @entrypoint()
    async def quadruple(number: int) -> int:
        return await double_twice(number)

    assert await quadruple.ainvoke(3, graphs.on_thread()) == 12
    assert [part async for part in quadruple.astream(3, graphs.on_thread("t2"))]
    expected = """\
AGENT LangGraph ok
  NODE quadruple ok
    NODE double_twice ok
      NODE double ok
      NODE double ok"""
    assert recording.tree(session="t1", details=False) == expected
    assert recording.tree(session="t2", details=False) == expected


# --- retrievers ---------------------------------------------------------------------------------------------------


class Shelf(BaseRetriever):
    """A retriever with one document."""

    fails: bool = False

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        if self.fails:
            raise LookupError(query)
        return [Document(page_content="a page", metadata={"source": "shelf"}, id="d1")]


def test_a_retriever(recording: Recording, snapshot: Any) -> None:
    """A retriever in a node is a retrieval step with its query and what it found."""
    graphs.nested(lambda state: {"notes": [Shelf().invoke("page")[0].page_content]}).invoke(
        {"notes": []}, graphs.on_thread()
    )
    assert recording.snapshot() == snapshot


def test_a_failing_retriever(recording: Recording) -> None:
    """A retriever that fails ends its step, its node and its graph as failed."""
    with pytest.raises(LookupError):
        graphs.nested(lambda state: Shelf(fails=True).invoke("page")).invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == (
        "AGENT outer error LookupError('page')\n"
        "  NODE sub error LookupError('page')\n"
        "    RETRIEVAL Shelf error LookupError('page')"
    )


def test_the_place_of_a_node(recording: Recording) -> None:
    """A node's START says where in its graph it is, and what was sent to it where that is no state."""
    graphs.fan_out(count=2).invoke({"notes": []}, graphs.on_thread())
    steps = [step for step in recording.steps.walk() if step.kind == "NODE"]
    places = [(step.name, step.last.details_start["place"]["step"]) for step in steps]
    assert sorted(places) == [("gather", 3), ("split", 1), ("work", 2), ("work", 2)]
    sent = {
        step.last.details_start["place"]["path"][1]: step.last.details_start.get("input")
        for step in steps
        if step.name == "work"
    }
    assert sent == {0: {"number": 0}, 1: {"number": 1}}
    assert "input" not in steps[0].last.details_start


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_the_checkpoints_of_a_root(recording: Recording, how: str, durability: Any) -> None:
    """A root's ending says at which checkpoint it ended and from which it began, also where it failed."""
    saver = InMemorySaver()
    graph = graphs.two_nodes(checkpointer=saver)
    found = []
    for _ in range(2):
        if how == "invoke":
            graph.invoke({"notes": []}, graphs.on_thread(), durability=durability)
        else:
            await graph.ainvoke({"notes": []}, graphs.on_thread(), durability=durability)
        found.append(graph.get_state(graphs.on_thread()).config["configurable"]["checkpoint_id"])
    failing = graphs.flaky(9)
    failing.checkpointer = saver
    with pytest.raises(ConnectionError):
        failing.invoke({"notes": []}, graphs.on_thread())
    first, second, failed = (step.last.details_end for step in recording.steps.roots)
    assert (first["checkpoint_id"], first.get("from_checkpoint_id")) == (found[0], None)
    assert (second["checkpoint_id"], second["from_checkpoint_id"]) == (found[1], found[0])
    assert failed["from_checkpoint_id"] == found[1]


def test_without_a_checkpointer(recording: Recording) -> None:
    """Without a checkpointer there is no checkpoint to name."""
    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread())
    assert "checkpoint_id" not in recording.steps.roots[0].last.details_end
