"""Sessions of unusual shapes mean the same however they are told, to the tree and to the head."""

from __future__ import annotations

import msgspec
import pytest

from otel_agent_journal.event import EMPTY, JournalEvent
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.status import _ENDED_KEPT, StatusState, _close, apply, fold
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.projections.verdict import head_of
from tests.projections import shapes, told
from tests.projections.shapes import SHAPES

SIZE = 7


@pytest.mark.parametrize("shape", SHAPES)
def test_a_head_is_the_same_from_either_end(shape: str) -> None:
    """The events of a session forwards, backwards and twice amount to one head, and so does what is still open."""
    events = SHAPES[shape](SIZE)
    forwards, backwards, twice = fold(events), fold(reversed(events)), fold([*events, *events])
    assert head_of(forwards, told.SESSION) == head_of(backwards, told.SESSION) == head_of(twice, told.SESSION)
    assert forwards.open == backwards.open == twice.open


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tree_needs_no_content(shape: str) -> None:
    """Of its events without content a session has the same tree, and it is the same from either end."""
    events = SHAPES[shape](SIZE)
    tree, bare = fold_steps(events), fold_steps(map(outline, reversed(events)))
    assert [(step.step_id, step.depth, step.status, step.orphan) for step in tree.walk()] == [
        (step.step_id, step.depth, step.status, step.orphan) for step in bare.walk()
    ]
    assert (tree.resumes, tree.totals()) == (bare.resumes, bare.totals())


def test_the_outline_of_an_event_has_none_of_its_content() -> None:
    """An outline keeps ids and reasons, as far as they are some, and of everything else nothing."""
    content = {"input": "x" * 5000, "checkpoint_id": "c", "reason": "x" * 5000, "writer": 1}
    event = told.start("root", 1, details=content)
    assert outline(event).details == {"checkpoint_id": "c"}
    passed = msgspec.structs.replace(event, details={"passed_through": True, "output": "x"})
    assert outline(passed).details == {"passed_through": True}
    assert outline(told.start("root", 1, details={"reason": "x" * 5000})).details == EMPTY
    assert outline(told.start("root", 1, details={"output": "x"})).details == EMPTY
    bare = told.start("root", 1)
    assert outline(bare) is bare


def test_an_ending_before_its_start_closes_it_alone() -> None:
    """Of several attempts of one number, one ended before it began, by its clock: the others stay open."""
    starts = [told.start("t", at, under="root") for at in (10, 20, 30)]
    state = fold([*starts, told.end("t", 20, 5, under="root")])
    assert sorted(one.start_ns for one in state.open.values()) == [10, 30]
    state = fold([told.end("t", 20, 5, under="root"), *starts], state)
    assert sorted(one.start_ns for one in state.open.values()) == [10, 30]


def test_what_was_indexed_is_forgotten() -> None:
    """A state that looked for an ending's attempt once does not keep all attempts that have ended since."""
    state = StatusState()

    def last(kept: list[JournalEvent]) -> None:
        for event in kept:
            apply(state, event)

    last(shapes.instants(1))
    for number in range(3 * _ENDED_KEPT):
        at = 1000 + 10 * number
        last([told.start(f"t{number}", at, under="r"), told.end(f"t{number}", at, at + 1, under="r")])
    assert len(state.open) == 1
    assert state.open_by_ending is None or state.open_by_ending.size <= _ENDED_KEPT + 2


def test_an_attempt_that_ended_is_remembered_once() -> None:
    """However often it is closed: by its ending, by that of another process, by a mark."""
    state = StatusState()
    for _ in range(2):
        _close(state, 7, 1)
    assert list(state.ended_from_ns) == [1]
