"""Points of a session: which events of each agent's context count before a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from otel_agent_journal.codec import sealed
from otel_agent_journal.event import CHECKPOINT_SAVED, CHECKPOINT_WRITES, JournalEvent, derived_id
from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.reading.agents import agents_of
from otel_agent_journal.reading.points import (
    Cut,
    NoSuchPoint,
    Point,
    placed,
    point_at_end,
    point_at_event,
    point_before,
)
from otel_agent_journal.store import lineage
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder, OpenStep
from otel_agent_journal.testing.clocks import SteppingClock

GRAPH = {"agent": {"name": "g", "framework": "langgraph", "thread": "s1"}}


class Session:
    """A session in a store: its steps, and the contexts of its agents, on one clock."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = SteppingClock()
        self.steps = JournalBuilder("s1", clock=self.clock)

    def said(self, instance_id: str, kind: str = "USER_MESSAGE", details: Mapping[str, Any] | None = None) -> None:
        tip = self.store.context_tip(instance_id)
        seq = 0 if tip is None else tip.next_seq
        event = JournalEvent(
            session_id="s1",
            event_id=derived_id(f"{instance_id}:{seq}"),
            type=kind,
            timestamp_ns=self.clock(),
            instance_id=instance_id,
            seq=seq,
            details=details or {},
        )
        self.store.append_context(instance_id, seq, [sealed(event)])

    def saved(self, name: str, step: int, parent: str | None = None, ns: str = "") -> None:
        first = GRAPH if self.store.context_tip("thread") is None else {}
        self.said("thread", CHECKPOINT_SAVED, {**first, "ns": ns, "checkpoint": name, "parent": parent, "step": step})

    def wrote(self, checkpoint: str, task: str) -> None:
        self.said("thread", CHECKPOINT_WRITES, {"ns": "", "checkpoint": checkpoint, "task": task})

    def node(self, root: OpenStep, name: str, task: str, step: int) -> OpenStep:
        place = {"place": {"step": step, "path": ["__pregel_pull", name]}}
        return self.steps.start("NODE", name, parent=root, step_id=derived_id(f"s1:{name}:{task}"), details=place)

    def tree(self) -> StepTree:
        self.store.append(self.steps.events)
        return fold_steps(map(placed, self.steps.events))

    def before(self, number: int) -> Point:
        return point_before(self.store, "s1", self.tree(), number)


def counts(point: Point) -> dict[str, int]:
    return {cut.agent.instance_id: cut.count for cut in point.cuts}


def test_contexts_by_time_and_by_what_a_step_says() -> None:
    """An agent whose context began later is not there yet; what a step says of its own context counts."""
    session = Session()
    root = session.steps.start("AGENT", "a")
    session.said("i1", details={"agent": {"name": "one"}})
    session.steps.start("MODEL", "m", parent=root)
    session.said("i1", "ASSISTANT_MESSAGE")
    session.said("i1", "TOOL_CALL")
    session.said("i2")
    session.steps.start("TOOL", "t", parent=root)
    session.steps.start("TOOL", "u", parent=root, details={"context": {"instance": "i1", "seq": 1}})
    assert counts(session.before(1)) == {}
    assert counts(session.before(2)) == {"i1": 1}
    assert counts(session.before(3)) == {"i1": 3, "i2": 1}
    assert counts(session.before(4)) == {"i1": 1, "i2": 1}
    assert counts(point_at_end(session.store, "s1", 0)) == {"i1": 3, "i2": 1}
    assert counts(point_at_event(session.store, "s1", 1, "i1")) == {"i1": 3}  # a message has its calls behind it
    assert [one.name for one in agents_of(session.store, "s1")] == ["one", "i2"]
    with pytest.raises(NoSuchPoint, match=r"has 2 agents with a context; name one, as INSTANCE:SEQ: i1:0, i2:0"):
        point_at_event(session.store, "s1", 0)


def test_a_graph_stands_where_its_task_ran() -> None:
    """By the writes that the task left, however late these and the checkpoints were stored; all within it as well."""
    session = Session()
    root = session.steps.start("AGENT", "g")
    session.saved("c0", -1)
    session.saved("c1", 0, "c0")
    first = session.node(root, "a", "t1", 1)
    model = session.steps.start("MODEL", "m", parent=first)
    session.steps.end(model)
    session.steps.end(first)
    second = session.node(root, "b", "t2", 2)  # begun before the checkpoint that it runs on was stored
    session.saved("c2", 1, "c1")
    session.wrote("c1", "t1")  # and stored behind it
    beside = session.node(root, "b", "t3", 2)
    session.wrote("c2", "t3")
    session.steps.end(beside)
    session.steps.end(second)
    session.steps.end(root)
    assert counts(session.before(1)) == {}
    for number, asked in ((2, 2), (2, 3), (4, 4), (4, 5)):
        assert session.before(asked).number == number
    (cut,) = session.before(3).cuts
    assert (cut.count, cut.checkpoints) == (2, {"": "c1"})
    (cut,) = session.before(4).cuts  # its own writes are none that it goes on from, those of the one before are
    assert (cut.count, cut.checkpoints) == (4, {"": "c2"})
    (cut,) = point_at_event(session.store, "s1", 0).cuts
    assert cut.checkpoints == {"": "c0"}


def test_a_task_that_was_killed_stands_by_its_superstep() -> None:
    """It left no writes: the newest checkpoint with the number before."""
    session = Session()
    root = session.steps.start("AGENT", "g")
    session.saved("c0", 0)
    session.saved("other", 0, ns="sub")
    node = session.node(root, "a", "t1", 1)
    session.steps.start("TOOL", "t", parent=node)
    (cut,) = session.before(3).cuts
    assert cut.checkpoints == {"": "c0"}
    session.node(root, "a", "t9", 7)
    session.steps.start("NODE", "x", parent=root)
    for number in (4, 5):  # neither tells: by the time at which it began
        assert session.before(number).cuts[0].checkpoints == {"": "c0"}


def test_the_place_of_a_cut_in_a_fork() -> None:
    """Numbers count the events of the bases; the place is in the instance whose own events they are."""
    session = Session()
    for _ in range(3):
        session.said("i1")
    session.tree()
    lineage.fork(session.store, "i1", 2, "i2", "s2", now_ns=session.clock())
    (agent,) = agents_of(session.store, "s2")
    assert (agent.count, agent.bases, agent.known_as, agent.name) == (3, (("i1", 2),), "i1", "i1")
    assert [Cut(agent, count).place() for count in (1, 2, 3)] == [("i1", 1), ("i1", 2), ("i2", 1)]


def test_what_is_not_there() -> None:
    """Is said, with what there is."""
    session = Session()
    with pytest.raises(NoSuchPoint, match="has no steps, not 1"):
        session.before(1)
    session.steps.start("AGENT", "a")
    with pytest.raises(NoSuchPoint, match="no agent of session s1 keeps its context in the journal"):
        session.before(1)
    session.said("i1")
    with pytest.raises(NoSuchPoint, match="has steps 1 to 1, not 2"):
        session.before(2)
    with pytest.raises(NoSuchPoint, match="the context has events up to 0, not 7"):
        point_at_event(session.store, "s1", 7)
