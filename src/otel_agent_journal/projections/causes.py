"""Where an error began that passed through the steps above. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from otel_agent_journal.projections.steps import Attempt, Step, StepTree


class Cause(NamedTuple):
    """The step in which an error began, and the attempt at it."""

    step: Step
    attempt: Attempt


def failed_attempt(step: Step) -> Attempt | None:
    """Return the latest attempt at a step that failed and says why."""
    return next((one for one in reversed(step.attempts) if one.outcome == "error" and one.error is not None), None)


class Causes:
    """Finds where errors of a tree began. Asked for every step it takes time by how many there are, however deep."""

    def __init__(self, tree: StepTree) -> None:
        self._tree = tree
        self._known: dict[str, Cause | None] = {}

    def of(self, step: Step, attempt: Attempt) -> Cause | None:
        """Return where the error of a failed attempt began: in itself, unless it passed through from a step below.

        None where no step below it failed, so that the journal does not have the one in which it began.
        """
        passed: list[str] = []
        found: Cause | None = Cause(step, attempt)
        while found is not None and not found.attempt.began_error:
            if found.attempt.key in self._known:
                found = self._known[found.attempt.key]
                break
            passed.append(found.attempt.key)
            found = self._below(found)
        self._known.update(dict.fromkeys(passed, found))
        return found

    def _below(self, one: Cause) -> Cause | None:
        """Return the attempt beneath one that failed, the latest of several."""
        within = msgspec.structs.replace(one.step, attempts=(one.attempt,))
        failed = [
            Cause(child, attempt)
            for child in self._tree.children(within)
            for attempt in child.attempts
            if attempt.outcome == "error"
        ]
        return max(failed, key=lambda below: (below.attempt.end_ns or 0, below.attempt.key), default=None)
