"""Where a thread stands, by its checkpoints alone, is what LangGraph says of it with its graph."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from otel_agent_journal import JournalSaver, open_store
from otel_agent_journal.frameworks.langgraph.standing import Standing, Standings
from otel_agent_journal.frameworks.langgraph.told import as_told

HELLO: Any = {"messages": [("user", "hi")], "notes": ["begun"]}


class State(MessagesState, total=False):
    """Of the graphs here."""

    notes: Annotated[list[str], operator.add]
    last: int


def built(url: str, **options: Any) -> Any:
    """A graph with two nodes at once, a join, a question, two sends and an end."""
    graph = StateGraph(State)
    graph.add_node("one", lambda _: {"notes": ["one"], "messages": [("ai", "hello")]})
    graph.add_node("two", lambda _: {"notes": ["two"]})
    graph.add_node("ask", lambda _: {"notes": [interrupt("go on?")]})
    graph.add_node("part", lambda state: {"notes": [f"part {state['last']}"]})
    graph.add_node("close", lambda _: {"last": 7})
    graph.add_edge(START, "one")
    graph.add_edge(START, "two")
    graph.add_edge(["one", "two"], "ask")
    graph.add_conditional_edges("ask", lambda _: [Send("part", {"last": 1}), Send("part", {"last": 2})], ["part"])
    graph.add_edge("part", "close")
    graph.add_edge("close", END)
    return graph.compile(checkpointer=JournalSaver(url), **options)


def theirs(state: Any, *, ids: bool) -> dict[str, Any]:
    """What LangGraph says."""
    parent = state.parent_config and state.parent_config["configurable"]["checkpoint_id"]
    tasks = [
        (one.name, one.id if ids else "", one.error, as_told(one.interrupts), as_told(one.result))
        for one in state.tasks
    ]
    told = {"values": state.values, "next": sorted(state.next), "metadata": state.metadata, "at": state.created_at}
    return as_told(
        {
            **told,
            "id": state.config["configurable"]["checkpoint_id"],
            "parent": parent,
            "tasks": sorted(tasks, key=repr),
        }
    )


def ours(one: Standing, *, ids: bool) -> dict[str, Any]:
    """What the checkpoints say."""
    tasks = [
        (task["name"], task["id"] if ids else "", task["error"], task["interrupts"], task["result"])
        for task in one.tasks
    ]
    told = {"values": one.values, "next": sorted(one.next), "metadata": one.metadata, "at": one.created_at}
    return as_told({**told, "id": one.checkpoint_id, "parent": one.parent_id, "tasks": sorted(tasks, key=repr)})


def compared(url: str, graph: Any, *, ids: bool) -> None:
    """Hold one against the other, now and at each checkpoint but the first, before which nothing was written."""
    config: Any = {"configurable": {"thread_id": "t"}}
    standings = Standings(open_store(url))
    (now,) = standings.listed(["t"])
    assert ours(now, ids=ids) == theirs(graph.get_state(config), ids=ids)
    history = list(standings.listed(["t"], history=True))
    told = list(graph.get_state_history(config))
    assert len(history) == len(told)
    for one, other in list(zip(history, told, strict=True))[:-1]:
        assert ours(one, ids=ids) == theirs(other, ids=ids)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


def test_it_is_what_langgraph_says_of_a_graph_that_asks_and_ends(url: str) -> None:
    """Tasks at once, a join, a question before and after its answer, sends: all by the ids that LangGraph has."""
    graph, config = built(url), {"configurable": {"thread_id": "t"}}
    graph.invoke(HELLO, config)
    compared(url, graph, ids=True)
    graph.invoke(Command(resume="yes"), config)
    compared(url, graph, ids=True)


def test_what_is_still_to_run_is_next(url: str) -> None:
    """Stopped before a node, and after a state was written by hand: the same but for the ids of tasks to come."""
    graph, config = built(url, interrupt_before=["part", "one"]), {"configurable": {"thread_id": "t"}}
    graph.invoke(HELLO, config)
    compared(url, graph, ids=False)
    graph.invoke(None, config)
    graph.invoke(Command(resume="yes"), config)
    compared(url, graph, ids=False)
    graph.update_state(config, {"last": 9}, as_node="one")
    compared(url, graph, ids=False)


def test_a_thread_that_is_not_there_stands_nowhere(url: str) -> None:
    """Nothing is said of it."""
    built(url)
    assert list(Standings(open_store(url)).listed(["nobody"])) == []
