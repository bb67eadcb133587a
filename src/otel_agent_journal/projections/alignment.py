"""Two step trees side by side: which step of the one is which of the other, by their structure. Pure.

Steps are paired below paired parents alone: nodes by their place in the graph, tool calls by the id of the call, and
what is left by kind, name and ordinal. A model is the same whatever it is called: it may be what was changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from otel_agent_journal.projections.steps import Step, StepTree

CallId = Callable[[Step], str | None]


class Pair(NamedTuple):
    """A step on the left, on the right, or on both sides."""

    left: Step | None
    right: Step | None


def aligned(left: StepTree, right: StepTree, call_id: CallId, *, since: int = 1, absolute: bool = False) -> list[Pair]:
    """Return the steps of both sides, paired, in order of their numbers: of the left where there is one.

    Args:
        left: the one side.
        right: the other.
        call_id: tells the id of a tool call.
        since: steps of the left with a smaller number are no matter, but for those that hold others.
        absolute: numbers of supersteps mean the same on both sides, as in a fork; else they count from the first.
    """
    matter = _holding(left, since)
    bases = (0, 0) if absolute else (_first_superstep(left), _first_superstep(right))
    found: list[Pair] = []
    pending: list[tuple[Sequence[Step], Sequence[Step]]] = [(left.roots, right.roots)]
    while pending:
        ours, theirs = pending.pop()
        ours = [step for step in ours if step.step_id in matter]
        for pair in _paired(ours, theirs, call_id, bases):
            if pair.left is None or pair.left.number >= since or pair.right is not None:
                found.append(pair)
            below = (
                () if pair.left is None else left.children(pair.left),
                () if pair.right is None else right.children(pair.right),
            )
            if any(below):
                pending.append(below)
    return sorted(found, key=_order)


def _order(pair: Pair) -> tuple[int, int]:
    number = pair.left.number if pair.left is not None else 0
    other = pair.right.number if pair.right is not None else 0
    return (number or other, other)


def _paired(ours: Sequence[Step], theirs: Sequence[Step], call_id: CallId, bases: tuple[int, int]) -> Iterator[Pair]:
    left, right = list(ours), list(theirs)

    def called(step: Step, _base: int) -> tuple[Any, ...] | None:
        found = call_id(step)
        return None if found is None else (step.name, found)

    for key in (_place, called):
        known = {key(step, bases[1]): step for step in reversed(right)}
        for step in tuple(left):
            wanted = key(step, bases[0])
            other = None if wanted is None else known.pop(wanted, None)
            if other is not None:
                left.remove(step)
                right.remove(other)
                yield Pair(step, other)
    waiting: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in reversed(right):
        waiting[_called(step)].append(step)
    for step in left:
        others = waiting[_called(step)]
        yield Pair(step, others.pop() if others else None)
    for step in (one for several in waiting.values() for one in several):
        yield Pair(None, step)


def _called(step: Step) -> tuple[str, str]:
    return step.kind, "" if step.kind == "MODEL" else step.name


def _place(step: Step, base: int) -> tuple[Any, ...] | None:
    """Return where in its graph a node is; None for what is none, or does not say."""
    place: Any = step.attempts[0].details_start.get("place")
    if step.kind != "NODE" or not isinstance(place, Mapping):
        return None
    said = cast("Mapping[str, Any]", place)
    number, path = said.get("step"), said.get("path")
    if type(number) is not int:
        return None
    return (step.name, number - base, repr(path))


def _first_superstep(tree: StepTree) -> int:
    """Return the number of the first superstep of a session, where it is of a graph."""
    for root in tree.roots:
        for step in tree.children(root):
            place = _place(step, 0)
            if place is not None:
                return place[1]
    return 0


def _holding(tree: StepTree, since: int) -> frozenset[str]:
    """Return the steps with a number from `since` on, and those that hold any of these."""
    parents = {step.step_id: step.parent_step_id for step in tree.steps}
    return frozenset(_with_parents((step.step_id for step in tree.steps if step.number >= since), parents))


def _with_parents(steps: Iterable[str], parents: Mapping[str, str | None]) -> Iterator[str]:
    seen: set[str] = set()
    for step in steps:
        at: str | None = step
        while at is not None and at not in seen:
            seen.add(at)
            yield at
            at = parents.get(at)
