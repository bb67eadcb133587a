"""Steps that are one call of something elsewhere, whose answer tells what was done there: agents of a service."""

from __future__ import annotations

from otel_agent_journal.projections.steps import Step, StepTree
from otel_agent_journal.replays.words import REMOTE


def is_remote(step: Step | None) -> bool:
    """Tell whether a step is such a call."""
    return step is not None and bool(step.last.details_start.get(REMOTE))


def told_by_calls(tree: StepTree) -> set[str]:
    """Return the keys of the attempts that are no calls of the program: the answers of such calls tell of them."""
    told: set[str] = set()
    pending = [one for one in tree.attempts if one.details_start.get(REMOTE)]
    while pending:
        below = tree.beneath(pending.pop())
        told.update(one.key for one in below)
        pending += below
    return told
