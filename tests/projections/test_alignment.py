"""Which step of one session is which of another."""

from __future__ import annotations

from otel_agent_journal.projections.alignment import aligned
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps
from otel_agent_journal.testing.builders import JournalBuilder, OpenStep


def call_id(step: Step) -> str | None:
    found = step.last.details_start.get("call_id")
    return found if isinstance(found, str) else None


class Tree:
    """A session's steps, by name."""

    def __init__(self, session_id: str, agent: str = "agent") -> None:
        self.builder = JournalBuilder(session_id)
        self.root = self.builder.start("AGENT", agent)

    def step(self, kind: str, name: str, parent: OpenStep | None = None, **details: object) -> OpenStep:
        return self.builder.start(kind, name, parent=parent or self.root, details=details)

    def node(self, name: str, number: object, *path: str) -> OpenStep:
        return self.step("NODE", name, place={"step": number, "path": list(path)})

    def tree(self) -> StepTree:
        return fold_steps(self.builder.events)


def numbers(left: Tree, right: Tree, *, since: int = 1, absolute: bool = False) -> list[tuple[int, int]]:
    pairs = aligned(left.tree(), right.tree(), call_id, since=since, absolute=absolute)
    return [(pair.left.number if pair.left else 0, pair.right.number if pair.right else 0) for pair in pairs]


def test_by_kind_name_and_order() -> None:
    """A model is the same whatever it is called; what has no other is on its side alone, with all below it."""
    left, right = Tree("a"), Tree("b")
    left.step("MODEL", "old")
    left.step("TOOL", "search")
    left.step("TOOL", "search")
    right.step("MODEL", "new")
    right.step("TOOL", "search")
    more = right.step("TOOL", "fetch")
    right.step("MODEL", "below", more)
    assert numbers(left, right) == [(1, 1), (2, 2), (3, 3), (4, 0), (0, 4), (0, 5)]


def test_tool_calls_by_their_ids() -> None:
    """In whatever order they began; those whose ids are of one side are paired by their order."""
    left, right = Tree("a"), Tree("b")
    for tree, ids in ((left, ("1", "2", "x")), (right, ("2", "1", "y"))):
        for one in ids:
            tree.step("TOOL", "search", call_id=one)
    assert numbers(left, right) == [(1, 1), (2, 3), (3, 2), (4, 4)]


def test_nodes_by_their_place() -> None:
    """Supersteps count from the session's first: a second turn of a thread is as its first. In a fork they go on."""
    left, right = Tree("a"), Tree("b")
    for tree, first in ((left, 1), (right, 5)):
        tree.step("STEP", "begin")
        tree.node("plan", first, "pull")
        tree.node("act", first + 1, "push", "0")
        tree.node("act", first + 1, "push", "1")
        tree.node("act", None)
    assert numbers(left, right) == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]
    later = Tree("c")
    later.node("act", 2, "push", "1")
    assert (5, 2) in numbers(left, later, absolute=True)


def test_what_a_fork_shares_is_left_out() -> None:
    """But for steps that hold what came after."""
    left, right = Tree("a"), Tree("b")
    left.step("TOOL", "first")
    left.step("TOOL", "second")
    right.step("TOOL", "second")
    assert numbers(left, right, since=3) == [(1, 1), (3, 2)]
    assert numbers(left, Tree("c"), since=3) == [(1, 1), (3, 0)]
    assert numbers(left, Tree("d", "another"), since=3) == [(0, 1), (3, 0)]


def test_sessions_without_steps() -> None:
    """There is nothing to pair."""
    empty = fold_steps([])
    assert aligned(empty, empty, call_id) == []
