"""Of an error that passed through several steps, in which of them it began."""

from __future__ import annotations

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.causes import Causes, failed_attempt
from otel_agent_journal.projections.steps import Step, fold_steps
from tests.projections import told

PASSED = {"passed_through": True}


def cause(events: list[JournalEvent], step_id: str) -> str | None:
    """Return the step in which the error of a step's last failed attempt began."""
    tree = fold_steps(events)
    step = tree.step(step_id)
    assert step is not None
    failed = failed_attempt(step)
    assert failed is not None
    causes = Causes(tree)
    found = causes.of(step, failed)
    assert causes.of(step, failed) == found
    return None if found is None else found.step.step_id


def test_an_error_began_in_the_innermost_step() -> None:
    """Of several that failed beneath a step it is the one that ended last."""
    events = [
        told.start("root", 0),
        told.start("node", 1, under="root"),
        told.start("first", 2, under="node"),
        told.end("first", 2, 3, "error", under="node"),
        told.start("fine", 3, under="node"),
        told.end("fine", 3, 4, under="node"),
        told.start("second", 4, under="node"),
        told.end("second", 4, 5, "error", under="node"),
        told.end("node", 1, 6, "error", under="root", details=PASSED),
        told.end("root", 0, 7, "error", details=PASSED),
    ]
    assert cause(events, "root") == "second"
    assert cause(events, "node") == "second"
    assert cause(events, "first") == "first"


def test_the_cause_is_of_the_attempt_that_failed() -> None:
    """What failed beneath another attempt is no matter."""
    events = [
        told.start("node", 0),
        told.start("early", 1, under="node"),
        told.end("early", 1, 2, "error", under="node"),
        told.end("node", 0, 3, "error", details=PASSED),
        told.start("node", 10, attempt=2),
        told.start("late", 11, under="node"),
        told.end("late", 11, 12, "error", under="node"),
        told.end("node", 10, 13, "error", attempt=2, details=PASSED),
    ]
    assert cause(events, "node") == "late"


def test_a_cause_that_is_not_in_the_journal() -> None:
    """An error that passed through from nowhere known has none."""
    events = [told.start("root", 0), told.end("root", 0, 1, "error", details=PASSED)]
    assert cause(events, "root") is None


def test_what_did_not_fail_has_no_failed_attempt() -> None:
    """Nor has one that was cancelled."""
    for outcome in ("ok", "cancelled"):
        (step,) = fold_steps([told.start("a", 0), told.end("a", 0, 1, outcome)]).steps
        assert isinstance(step, Step)
        assert failed_attempt(step) is None
