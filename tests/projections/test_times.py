"""Durations are work: what lies between attempts is a wait, and what overlaps is counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.projections.steps import Step, fold_steps
from otel_agent_journal.projections.times import Stretch, WorkAxis, stretches, waited_ns, worked_ns
from tests.projections import told


def step_of(*spans: tuple[int, int | None], outcome: str = "interrupted") -> Step:
    """Return a step with attempts from when to when, each by a process of its own."""
    events = []
    for number, (start, end) in enumerate(spans):
        writer = f"w{number}"
        events.append(told.start("asks", start, writer=writer))
        if end is not None:
            events.append(told.end("asks", start, end, outcome, writer=writer))
    (step,) = fold_steps(events).steps
    return step


def test_a_wait_for_a_human_is_no_work() -> None:
    """A step that asked, and was taken up again two hours later, worked for the length of its attempts alone."""
    step = step_of((100, 103), (7_200, 7_204))
    assert (worked_ns(step), waited_ns(step)) == (7, 7_097)


def test_one_attempt_has_no_wait() -> None:
    """It worked from its beginning to its end, however these stand."""
    assert (worked_ns(step_of((5, 9))), waited_ns(step_of((5, 9)))) == (4, 0)
    assert worked_ns(step_of((5, 9)), 100) == 4


def test_what_runs_has_worked_until_now() -> None:
    """It has no duration as data, and one for a reader who says what time it is."""
    for step, until_now in ((step_of((5, None)), 15), (step_of((1, 3), (10, None)), 12)):
        assert (worked_ns(step), waited_ns(step)) == (None, None)
        assert worked_ns(step, 20) == until_now
    assert worked_ns(step_of((5, None)), 2) == 0


def test_attempts_side_by_side_are_counted_once() -> None:
    """Two processes that work at one step at a time work no longer than one."""
    step = step_of((0, 10), (5, 12), (20, 21))
    assert (worked_ns(step), waited_ns(step)) == (13, 8)


def test_an_axis_leaves_waits_out() -> None:
    """A moment is where the work until then has come to."""
    axis = WorkAxis(step_of((10, 20), (100, 110), (110, 115)).attempts, 0)
    assert axis.total_ns == 25
    assert axis.waits == [Stretch(20, 100)]
    assert [axis.at(moment) for moment in (0, 10, 15, 20, 60, 100, 115, 999)] == [0, 0, 5, 10, 10, 10, 25, 25]
    assert WorkAxis((), 0).total_ns == 0
    assert WorkAxis((), 0).at(7) == 0


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), min_size=1, max_size=8, unique_by=lambda one: one[0])
)
def test_work_and_waits_are_all_the_time_there_is(spans: list[tuple[int, int]]) -> None:
    """Counted moment by moment it is the same."""
    step = step_of(*((start, start + length) for start, length in spans))
    worked = {moment for start, length in spans for moment in range(start, start + length)}
    first, last = min(start for start, _ in spans), max(start + length for start, length in spans)
    assert worked_ns(step) == len(worked)
    assert waited_ns(step) == last - first - len(worked)
    assert sum(one.length_ns for one in stretches(step.attempts, 0)) == len(worked)
    axis = WorkAxis(step.attempts, 0)
    assert axis.total_ns == len(worked)
    assert [axis.at(moment) for moment in range(45)] == [sum(one < moment for one in worked) for moment in range(45)]
