"""A step that is named, with all that it took and gave, read in one pass over its session.

Which step a name means is known only at the end. What it may mean is kept in full as it comes: steps of that id or
name, and the one that began as the so-manieth. Others are kept without their content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps

_DIGITS: int = 20  # of a number that no session has so many steps
_MOST: int = 200  # steps that are kept in full: many have one name, and then it names none of them


class Candidates:
    """Takes the events of a session in order, and keeps those in full that may be of the step that is named."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._number = int(text) if text.isdecimal() and text.isascii() and len(text) < _DIGITS else None
        self._seen: set[str] = set()
        self._kept: set[str] = set()

    def taken(self, event: JournalEvent) -> JournalEvent:
        """Return an event in full where its step may be meant, else without its content."""
        step_id = event.step_id
        if step_id is None:
            return outline(event)
        if step_id not in self._seen:
            self._seen.add(step_id)
            if len(self._kept) < _MOST and self._may_be(event, step_id):
                self._kept.add(step_id)
        return event if step_id in self._kept else outline(event)

    def kept(self, step_id: str) -> bool:
        """Tell whether the events of a step were kept in full."""
        return step_id in self._kept

    def _may_be(self, event: JournalEvent, step_id: str) -> bool:
        return len(self._seen) == self._number or step_id.startswith(self._text) or event.name == self._text


def in_full(
    text: str,
    events: Callable[[], Iterable[JournalEvent]],
    fold: Callable[[Iterable[JournalEvent]], StepTree],
    find: Callable[[StepTree, str], Step],
) -> tuple[StepTree, Step]:
    """Return a session's tree, and the step in it that is named, with its content.

    Args:
        text: what names it.
        events: gives the session's, each time anew.
        fold: makes a tree of events.
        find: returns the step that is named, or raises.
    """
    candidates = Candidates(text)
    tree = fold(map(candidates.taken, events()))
    found = find(tree, text)
    if candidates.kept(found.step_id):
        return tree, found
    return tree, with_content(found, events())


def with_content(step: Step, events: Iterable[JournalEvent]) -> Step:
    """Return a step with all that its attempts took, gave and noted, as its events say."""
    whole = fold_steps(event for event in events if event.step_id == step.step_id).step(step.step_id)
    known = {} if whole is None else {attempt.key: attempt for attempt in whole.attempts}
    attempts = tuple(
        msgspec.structs.replace(
            one,
            details_start=known[one.key].details_start,
            details_end=known[one.key].details_end,
            notes=known[one.key].notes,
        )
        if one.key in known
        else one
        for one in step.attempts
    )
    return msgspec.structs.replace(step, attempts=attempts)
