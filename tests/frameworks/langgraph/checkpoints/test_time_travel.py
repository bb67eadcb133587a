"""What users of LangGraph have reported of going back in time, each as a test that passes over this checkpointer.

The numbers are those of issues in langchain-ai/langgraph; js: in langgraphjs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

from otel_agent_journal import JournalSaver
from otel_agent_journal.context.checkpoints import Checkpoints
from otel_agent_journal.event import derived_id
from otel_agent_journal.store import lineage

Make = Callable[..., JournalSaver]
THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    """What ran, in its order."""

    ran: Annotated[list[str], operator.add]


class Trip:
    """A graph whose nodes say that they run: `before`, a subgraph that asks between two nodes, `after`."""

    def __init__(self, saver: JournalSaver, *, stateful: bool = False) -> None:
        self.ran: list[str] = []
        inner = StateGraph(State)
        for name in ("first", "last"):
            inner.add_node(name, self._node(name))
        inner.add_node("ask", self._ask)
        inner.add_edge(START, "first")
        inner.add_edge("first", "ask")
        inner.add_edge("ask", "last")
        outer = StateGraph(State)
        outer.add_node("before", self._node("before"))
        outer.add_node("sub", inner.compile(checkpointer=True if stateful else None))
        outer.add_node("after", self._node("after"))
        outer.add_edge(START, "before")
        outer.add_edge("before", "sub")
        outer.add_edge("sub", "after")
        self.graph = outer.compile(checkpointer=saver)

    def _node(self, name: str) -> Any:
        def node(state: State) -> State:
            self.ran.append(name)
            return {"ran": [name]}

        return node

    def _ask(self, state: State) -> State:
        answers = [interrupt("one?"), interrupt("two?")]
        self.ran.append("ask")
        return {"ran": answers}

    def begin(self) -> None:
        """Run to the first question."""
        assert self.graph.invoke({"ran": []}, THREAD)["__interrupt__"][0].value == "one?"

    def end(self, one: str = "1", two: str = "2", config: Any = THREAD) -> list[str]:
        """Answer both questions."""
        assert self.graph.invoke(Command(resume=one), config)["__interrupt__"][0].value == "two?"
        return self.graph.invoke(Command(resume=two), THREAD)["ran"][-4:]

    def at(self, *next_nodes: str) -> Any:
        """Return the config of the checkpoint before these nodes."""
        return next(state.config for state in self.graph.get_state_history(THREAD) if state.next == next_nodes)


def checkpoints_of(saver: JournalSaver) -> Checkpoints:
    """Return the fold of the thread."""
    checkpoints = Checkpoints()
    for event in saver._threads.store.read_context(derived_id("langgraph:t")):
        checkpoints.apply(event)
    return checkpoints


def forked(saver: JournalSaver, thread: str, goes_on_from: dict[str, str]) -> Any:
    """Fork the thread so that its namespaces go on from these checkpoints; return the config of the fork."""
    checkpoints = checkpoints_of(saver)
    points = [checkpoints.get(*key) for key in goes_on_from.items()]
    point = max(checkpoints.point_of(saved) for saved in points if saved is not None)
    lineage.fork(
        saver._threads.store,
        derived_id("langgraph:t"),
        point,
        derived_id(f"langgraph:{thread}"),
        thread,
        now_ns=1,
        checkpoint=goes_on_from,
    )
    return {"configurable": {"thread_id": thread}}


def test_a_fork_asks_again(saver: JournalSaver) -> None:
    """#7032, #7033, js#2179: answers of before are not taken for those of the new branch."""
    trip = Trip(saver)
    trip.begin()
    assert trip.end()[-4:] == ["1", "2", "last", "after"]
    again = trip.graph.invoke(None, trip.at("sub"))
    assert [one.value for one in again["__interrupt__"]] == ["one?"]
    assert trip.end("3", "4") == ["3", "4", "last", "after"]
    trip.graph.update_state(trip.at("before"), {"ran": ["edited"]}, as_node="before")
    assert trip.graph.invoke(None, THREAD)["__interrupt__"][0].value == "one?"
    assert trip.end("5", "6") == ["5", "6", "last", "after"]


def test_going_back_between_two_questions(saver: JournalSaver) -> None:
    """#7033: one answered, the thread forked before that: the answer is not there, and the question comes anew."""
    trip = Trip(saver)
    trip.begin()
    assert trip.graph.invoke(Command(resume="1"), THREAD)["__interrupt__"][0].value == "two?"
    again = trip.graph.invoke(None, trip.at("sub"))
    assert again["__interrupt__"][0].value == "one?"
    assert trip.end("3", "4") == ["3", "4", "last", "after"]


def test_an_answer_may_name_the_checkpoint(saver: JournalSaver) -> None:
    """#7361: a `checkpoint_id` that is the thread's newest resumes, and replays nothing."""
    trip = Trip(saver)
    trip.begin()
    trip.ran.clear()
    assert trip.end(config=trip.graph.get_state(THREAD).config) == ["1", "2", "last", "after"]
    assert trip.ran == ["ask", "last", "after"]


def test_run_again_from_here_after_a_reload(saver: JournalSaver, another: Make) -> None:
    """#4253: another process, which has read nothing yet, goes on from any checkpoint of the history."""
    trip = Trip(saver)
    trip.begin()
    trip.end()
    for nodes in (("before",), ("sub",), ("after",)):
        elsewhere = Trip(another())
        again = elsewhere.graph.invoke(None, elsewhere.at(*nodes))
        if nodes == ("after",):
            assert (elsewhere.ran, again["ran"][-1]) == (["after"], "after")
        else:
            assert again["__interrupt__"][0].value == "one?"
            assert elsewhere.end("x", "y") == ["x", "y", "last", "after"]


def test_a_forks_parent_is_where_it_was_forked(saver: JournalSaver, another: Make) -> None:
    """#4987, #7256: not the newest of the thread; and from there the chain is its own."""
    trip = Trip(saver)
    trip.begin()
    trip.end()
    base = trip.at("sub")
    newest = trip.graph.get_state(THREAD).config
    fork = trip.graph.update_state(base, {"ran": ["edited"]}, as_node="before")
    for one in (saver, another()):
        found = one.get_tuple(fork)
        assert found is not None
        assert found.parent_config is not None
        parent = found.parent_config["configurable"]["checkpoint_id"]
        assert parent == base["configurable"]["checkpoint_id"] != newest["configurable"]["checkpoint_id"]
    trip.graph.invoke(None, THREAD)
    chain = trip.graph.get_state(THREAD)
    seen: list[str] = []
    while chain.parent_config is not None:
        seen.append(chain.config["configurable"]["checkpoint_id"])
        chain = trip.graph.get_state(chain.parent_config)
    assert newest["configurable"]["checkpoint_id"] not in seen
    assert base["configurable"]["checkpoint_id"] in seen


def test_back_to_a_checkpoint_of_a_subgraph_that_keeps_its_own(saver: JournalSaver) -> None:
    """#8458: what had run in the subgraph before its checkpoint does not run again, by LangGraph's own means."""
    trip = Trip(saver, stateful=True)
    trip.begin()
    inner = trip.graph.get_state(THREAD, subgraphs=True).tasks[0].state.config
    trip.end()
    trip.ran.clear()
    again = trip.graph.invoke(None, inner)
    assert again["__interrupt__"][0].value == "one?"
    assert trip.end("3", "4") == ["3", "4", "last", "after"]
    assert trip.ran == ["ask", "last", "after"]


def test_back_to_a_checkpoint_of_any_subgraph(saver: JournalSaver, another: Make) -> None:
    """#8458: of other subgraphs LangGraph looks in a namespace of new task ids; a fork of the journal keeps theirs."""
    trip = Trip(saver)
    trip.begin()
    inner = trip.graph.get_state(THREAD, subgraphs=True).tasks[0].state.config["configurable"]
    trip.end()
    goes_on_from = inner["checkpoint_map"] | {inner["checkpoint_ns"]: inner["checkpoint_id"]}
    config = forked(saver, "fork", goes_on_from)
    fork = Trip(another())
    assert fork.graph.invoke(None, config)["__interrupt__"][0].value == "one?"
    assert fork.ran == []
    fork.graph.invoke(Command(resume="3"), config)
    assert fork.graph.invoke(Command(resume="4"), config)["ran"][-4:] == ["3", "4", "last", "after"]
    assert fork.ran == ["ask", "last", "after"]


def test_what_is_done_is_not_done_twice(saver: JournalSaver, another: Make) -> None:
    """#7417: of tasks side by side those that had ended are not run again, whoever goes on with the thread."""
    ran: list[str] = []
    broken = [True]

    def task(state: Any) -> State:
        name = state["name"]
        if name == "3" and broken:
            raise RuntimeError("the process dies")
        ran.append(name)
        return {"ran": [name]}

    def graph(saver: JournalSaver) -> Any:
        made = StateGraph(State)
        made.add_node("task", task)
        made.add_conditional_edges(START, lambda _: [Send("task", {"name": str(n)}) for n in range(4)], ["task"])
        return made.compile(checkpointer=saver)

    with pytest.raises(RuntimeError):
        graph(saver).invoke({"ran": []}, {**THREAD, "max_concurrency": 1})
    assert ran == ["0", "1", "2"]
    broken.clear()
    assert graph(another()).invoke(None, THREAD)["ran"] == ["0", "1", "2", "3"]
    assert sorted(ran) == ["0", "1", "2", "3"]


# --- of the journal's own: points -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stateful", [False, True], ids=["stateless", "stateful"])
def test_a_fork_at_any_checkpoint_goes_on_from_it(stateful: bool, saver: JournalSaver, another: Make, url: str) -> None:
    """Of each namespace nothing that came after: it asks what it asked, and ends as it ended; the base stays."""
    trip = Trip(saver, stateful=stateful)
    trip.begin()
    whole = trip.end()
    for number, saved in enumerate(checkpoints_of(saver).listed("")):
        config = forked(saver, f"fork-{number}", {"": saved.id})
        fork = Trip(another(), stateful=stateful)
        state = fork.graph.get_state(config)
        assert state.config["configurable"]["checkpoint_id"] == saved.id
        assert (
            state.next
            == trip.graph.get_state({"configurable": {**THREAD["configurable"], "checkpoint_id": saved.id}}).next
        )
        if not state.next:
            continue
        found = fork.graph.invoke(None, config)
        if state.next != ("after",):
            assert found["__interrupt__"][0].value == "one?"
            fork.graph.invoke(Command(resume="1"), config)
            found = fork.graph.invoke(Command(resume="2"), config)
        assert found["ran"][-4:] == whole
    assert trip.graph.get_state(THREAD).values["ran"][-4:] == whole
