"""Two sessions that are compared: each as steps with digests, and what a step took and gave once that is looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps
from otel_agent_journal.projections.times import WorkAxis
from otel_agent_journal.reading import steps_in_full
from otel_agent_journal.reading.differing import (
    CHANGED,
    Difference,
    differences,
    fingerprinted,
    first_within,
    holding,
)
from otel_agent_journal.reading.naming import find_step
from otel_agent_journal.reading.turns import turns_of

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

_OF_REQUEST: Final = ("messages", "tools", "params")
_CONTENT: Final = (*_OF_REQUEST, "input", "output")
_IN_FULL: Final = 20  # steps that are changed of which it is shown what their content differs in
_PROMPTS: Final = 5  # of these, model calls that were given something else: each reads its session once
_NS_PER_MS: Final = 1_000_000

Content = tuple[str, str, Any, Any]  # what of it differs, where in that, and what each side has there


class Compared(NamedTuple):
    """Both sides, a fork behind what it was forked from, and so `swapped` where it was named first.

    `since`: the step before which it was forked, where it was.
    """

    left: Side
    right: Side
    found: list[Difference]
    since: int | None
    swapped: bool


class Side:
    """One of the two sessions, up to a step where one is named."""

    def __init__(self, journal: Journal, text: str) -> None:
        head, step = journal.session_and_step(text)
        self._journal = journal
        self._whole: dict[str, Step] = {}
        self._prompts: dict[str, dict[str, Any] | None] = {}
        self.head: SessionHead = head
        self.name = self.head.session_id
        events = (fingerprinted(event, self.name) for event in journal.events(self.name))
        tree: StepTree = fold_steps(events, lost_writers=journal.silent(self.head))
        if step is not None:
            until_ns = find_step(tree, step, self.name).start_ns
            before = (event for event in journal.events(self.name) if event.timestamp_ns < until_ns)
            tree = fold_steps(fingerprinted(event, self.name) for event in before)
        self.tree = tree

    @property
    def spent(self) -> dict[str, int]:
        """How long it was worked, and how many tokens it took."""
        usage = self.tree.totals().usage
        worked = WorkAxis((one for root in self.tree.roots for one in root.attempts), self._journal.clock())
        return {
            "duration_ms": worked.total_ns // _NS_PER_MS,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }

    def forked_at(self, fork: Side) -> int | None:
        """Return the step of this session before which another one was forked from it."""
        turns = turns_of(self._journal.store.read(fork.name)) if fork.head.forked_from == self.name else ()
        return next((turn.number or 1 for turn in turns if turn.base == self.name), None)

    def fetch(self, step_ids: Collection[str]) -> None:
        """Read what these steps took and gave, in one pass over the session."""
        events = self._journal.events(self.name)
        tree = fold_steps(event if event.step_id in step_ids else outline(event) for event in events)
        self._whole = {step_id: step for step_id in step_ids if (step := tree.step(step_id)) is not None}

    def content(self, step: Step, name: str) -> Any:
        """Return what a step that was fetched took or gave."""
        whole = self._whole.get(step.step_id)
        if whole is None:
            return None
        if name in _OF_REQUEST:
            if step.step_id not in self._prompts:
                self._prompts[step.step_id] = steps_in_full.prompt(self._journal, self.head, whole)
            return (self._prompts[step.step_id] or {}).get(name)
        details = whole.last.details_end if name == "output" else whole.last.details_start
        return self._journal.resolved(self.name, details.get(name))


def compared(left: Side, right: Side) -> Compared:
    """Return two sessions step by step. Of a fork and its base what they share is left out."""
    swapped = right.forked_at(left) is not None
    if swapped:
        left, right = right, left
    since = left.forked_at(right)
    found = differences(left.tree, right.tree, since=since or 1, absolute=since is not None)
    return Compared(left, right, found, since, swapped)


def fetched(left: Side, right: Side, found: Sequence[Difference]) -> dict[int, list[Content]]:
    """Return by `id` what the content of the first few that are changed differs in."""
    came_of = holding(found)
    distinct = {id(one): one for one in found if one.state == CHANGED and id(one) not in came_of}
    changed = list(distinct.values())[:_IN_FULL]
    asked = [id(one) for one in changed if not set(_OF_REQUEST).isdisjoint(one.what)][:_PROMPTS]
    for side, steps in ((left, [one.pair.left for one in changed]), (right, [one.pair.right for one in changed])):
        side.fetch({step.step_id for step in steps if step is not None})
    return {id(one): list(contents(left, right, one, prompt=id(one) in asked)) for one in changed}


def contents(left: Side, right: Side, one: Difference, *, prompt: bool) -> Iterator[Content]:
    """Yield what of the content of a pair differs first, where, and what each side has there."""
    ours, theirs = one.pair
    if ours is None or theirs is None:
        return
    for name in (name for name in _CONTENT if name in one.what and (prompt or name not in _OF_REQUEST)):
        found = first_within(left.content(ours, name), right.content(theirs, name))
        if found is not None:
            yield name, *found
