"""Which steps of a session are shown, and which are folded."""

from __future__ import annotations

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.selection import Chosen, Wanted, beneath, chosen
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps
from otel_agent_journal.projections.times import own_ns
from tests.projections import told


def two_turns() -> list[JournalEvent]:
    """Two turns: in the first a tool fails in a node, in the second a model answers."""
    return [
        told.start("one", 0),
        told.start("node", 10, under="one"),
        told.start("tool", 20, under="node", kind="TOOL"),
        told.end("tool", 20, 60, "error", under="node", kind="TOOL"),
        told.start("other", 61, under="node", kind="TOOL"),
        told.end("other", 61, 62, under="node", kind="TOOL"),
        told.end("node", 10, 70, under="one"),
        told.end("one", 0, 80),
        told.start("two", 100),
        told.start("model", 110, under="two", kind="MODEL"),
        told.end("model", 110, 150, under="two", kind="MODEL"),
        told.end("two", 100, 155),
    ]


def of(events: list[JournalEvent], wanted: Wanted) -> tuple[list[str], Chosen]:
    tree = fold_steps(events)
    found = chosen(tree, list(tree.walk()), wanted, 1000)
    return [step.step_id for step in found.steps], found


def test_nothing_asked_for_is_everything() -> None:
    """The walk as it is."""
    names, found = of(two_turns(), Wanted())
    assert names == ["one", "node", "tool", "other", "two", "model"]
    assert not found.folded
    assert not Wanted().flat


def test_the_last_turns() -> None:
    """Root steps and all beneath them; more than there are is all."""
    assert of(two_turns(), Wanted(last=1))[0] == ["two", "model"]
    assert len(of(two_turns(), Wanted(last=2))[0]) == 6
    assert len(of(two_turns(), Wanted(last=9))[0]) == 6
    assert of(two_turns(), Wanted(last=0))[0] == []
    assert of([], Wanted(last=1))[0] == []


def test_the_upmost_levels() -> None:
    """What is deeper is counted at the step that it is beneath."""
    names, found = of(two_turns(), Wanted(depth=2))
    assert names == ["one", "node", "two", "model"]
    assert found.folded == {1: 2}
    names, found = of(two_turns(), Wanted(depth=1))
    assert (names, found.folded) == (["one", "two"], {0: 3, 1: 1})
    assert of([], Wanted(depth=1))[0] == []


def test_some_kinds() -> None:
    """They are a list, without what is above them."""
    names, found = of(two_turns(), Wanted(kinds=("TOOL", "MODEL"), depth=5))
    assert names == ["tool", "other", "model"]
    assert not found.folded
    assert Wanted(kinds=("TOOL",)).flat


def test_the_slowest_by_their_own_time() -> None:
    """Of one that waits for what is beneath it only the rest counts."""
    assert of(two_turns(), Wanted(slowest=3))[0] == ["tool", "model", "one"]
    assert of(two_turns(), Wanted(slowest=1, kinds=("MODEL",)))[0] == ["model"]


def test_what_failed() -> None:
    """With the way to it; by kind or time alone."""
    assert of(two_turns(), Wanted(failed=True))[0] == ["one", "node", "tool"]
    assert of(two_turns(), Wanted(failed=True, kinds=("TOOL",)))[0] == ["tool"]


def test_what_is_beneath_a_step() -> None:
    """Every place of the step, and what is under it there."""
    tree = fold_steps(two_turns())
    assert [step.step_id for step in beneath(tree, "node")] == ["node", "tool", "other"]
    assert [step.step_id for step in beneath(tree, "two")] == ["two", "model"]
    assert [step.step_id for step in beneath(tree, "one")] == ["one", "node", "tool", "other"]
    assert beneath(tree, "nothing") == []


def test_a_steps_own_time() -> None:
    """Its attempts without what ran beneath, which may overlap and outlast them, over several attempts."""
    tree = fold_steps(
        [
            told.start("a", 0),
            told.start("b", 10, under="a"),
            told.start("c", 20, under="a"),
            told.end("b", 10, 40, under="a"),
            told.end("a", 0, 50, "interrupted"),
            told.end("c", 20, 120, under="a"),
            told.start("a", 100, writer="w2"),
            told.start("d", 130, under="a", writer="w2"),
            told.end("d", 130, 140, under="a", writer="w2"),
            told.end("a", 100, 150, writer="w2"),
        ]
    )
    (root,) = tree.roots
    assert own_ns(tree, root, 0) == 10 + 10 + 10
    assert own_ns(tree, _step(tree, "c"), 0) == 100


def _step(tree: StepTree, step_id: str) -> Step:
    found = tree.step(step_id)
    assert found is not None
    return found
