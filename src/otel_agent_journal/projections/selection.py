"""Which steps of a session are shown: the last turns, down to a depth, some kinds, the slowest, what failed. Pure.

Steps come as places of a walk: a step that was taken up again by another turn is there once under each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from otel_agent_journal.projections.steps import Step, StepTree
from otel_agent_journal.projections.times import own_ns


class Wanted(NamedTuple):
    """What is asked for. `last`: turns, which are root steps; `depth`: levels; `kinds`: in capitals."""

    last: int | None = None
    depth: int | None = None
    kinds: Collection[str] = ()
    slowest: int | None = None
    failed: bool = False

    @property
    def flat(self) -> bool:
        """Whether what is left is a list, and no tree."""
        return bool(self.kinds) or self.slowest is not None


class Chosen(NamedTuple):
    """The steps that are left, in the order in which they are shown, and how many are folded beneath each."""

    steps: list[Step]
    folded: dict[int, int]  # by the place in `steps`


def chosen(tree: StepTree, walked: Sequence[Step], wanted: Wanted, now_ns: int) -> Chosen:
    """Return what is shown of a walk.

    Args:
        tree: that was walked.
        walked: places of its walk, each below its parent.
        wanted: what is asked for; the slowest are ranked by their own time, the slowest first.
        now_ns: until when what runs does.
    """
    left = list(walked)
    if wanted.last is not None:
        left = last_turns(left, wanted.last)
    if wanted.failed:
        failed = [step for step in left if has_failed(step)]
        left = failed if wanted.flat else with_those_above(left, failed)
    folded: dict[int, int] = {}
    if wanted.depth is not None:
        left, folded = down_to(left, wanted.depth)
    if wanted.kinds:
        left = [step for step in left if step.kind in wanted.kinds]
    if wanted.slowest is not None:
        left = sorted(left, key=lambda step: -own_ns(tree, step, now_ns))[: wanted.slowest]
    return Chosen(left, {} if wanted.flat else folded)


def has_failed(step: Step) -> bool:
    """Tell whether an attempt at a step failed."""
    return any(attempt.outcome == "error" for attempt in step.attempts)


def last_turns(walked: Sequence[Step], count: int) -> list[Step]:
    """Return what is of the last turns: root steps, and all beneath them."""
    roots = [at for at, step in enumerate(walked) if step.depth == walked[0].depth]
    return list(walked[roots[-count] :]) if 0 < count <= len(roots) else list(walked) if count else []


def down_to(walked: Sequence[Step], levels: int) -> tuple[list[Step], dict[int, int]]:
    """Return the steps of the upmost levels, and by place how many are beneath those of the last one."""
    kept: list[Step] = []
    folded: dict[int, int] = {}
    top: int | None = None
    for step in walked:
        top = step.depth if top is None else min(top, step.depth)
        if step.depth - top < levels:
            kept.append(step)
        else:
            folded[len(kept) - 1] = folded.get(len(kept) - 1, 0) + 1
    return kept, folded


def with_those_above(walked: Sequence[Step], wanted: Sequence[Step]) -> list[Step]:
    """Return the wanted steps and those above them, in the order of the walk."""
    chosen_ones = {id(step) for step in wanted}
    kept: list[Step] = []
    above: list[int] = []
    for step in reversed(walked):
        # Walking backwards, the first step of a smaller depth is the parent of those before it.
        if id(step) in chosen_ones or (above and step.depth < above[-1]):
            kept.append(step)
            while above and above[-1] >= step.depth:
                above.pop()
            if step.depth:
                above.append(step.depth)
    return kept[::-1]


def beneath(tree: StepTree, step_id: str) -> list[Step]:
    """Return the places of a step in the tree, and everything beneath them."""
    found: list[Step] = []
    within: int | None = None
    for step in tree.walk():
        if within is not None and step.depth <= within:
            within = None
        if within is None and step.step_id == step_id:
            within = step.depth
        if within is not None:
            found.append(step)
    return found
