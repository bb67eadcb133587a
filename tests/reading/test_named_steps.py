"""A step that is named is read with its content in one pass, or in two where its name said too little."""

from __future__ import annotations

from collections.abc import Iterable

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps
from otel_agent_journal.reading.named_steps import Candidates, in_full
from otel_agent_journal.testing.builders import JournalBuilder


def a_session() -> JournalBuilder:
    """Return an agent with two tools of one name, and an entry of no step."""
    builder = JournalBuilder()
    root = builder.start("AGENT", "agent", details={"input": "all"})
    for number in (1, 2):
        tool = builder.start("TOOL", "search", parent=root, details={"input": number})
        builder.note(tool, "PROGRESS", details={"message": number})
        builder.end(tool, details={"output": number})
    builder.record("NOTE", details={"text": "of nobody"})
    builder.end(root)
    return builder


def read(text: str, find: dict[str, int]) -> tuple[Step, int]:
    """Return the step, and how often the session was read. `find`: numbers of steps by what they are called."""
    events, passes = a_session().events, 0

    def again() -> Iterable[JournalEvent]:
        nonlocal passes
        passes += 1
        return events

    def found(tree: StepTree, text: str) -> Step:
        return next(step for step in tree.steps if step.number == find[text])

    tree, step = in_full(text, again, fold_steps, found)
    others = [one for one in tree.steps if one.number != step.number and one.name != text]
    assert all(not one.last.details_start for one in others)
    return step, passes


def test_by_number_name_and_id() -> None:
    """In one pass, whatever names it."""
    events = a_session().events
    step_id = [event.step_id for event in events if event.name == "search"][-1] or ""
    for text in ("3", step_id, step_id[:8]):
        step, passes = read(text, {text: 3})
        assert (step.last.details_start["input"], step.last.details_end["output"], passes) == (2, 2, 1)
        assert [note.details["message"] for note in step.last.notes] == [2]
    step, passes = read("agent", {"agent": 1})
    assert (step.last.details_start["input"], passes) == ("all", 1)


def test_by_another_name() -> None:
    """What was not foreseen takes a second pass, and gives the same."""
    step, passes = read("the second search", {"the second search": 3})
    assert (step.number, step.depth, passes) == (3, 1, 2)
    assert (step.last.details_start["input"], step.last.details_end["output"]) == (2, 2)
    assert [note.details["message"] for note in step.last.notes] == [2]


def test_no_more_than_some_are_kept() -> None:
    """A name that many have names none of them, and is no reason to hold them all."""
    candidates = Candidates("search")
    builder = JournalBuilder()
    for _ in range(300):
        builder.start("TOOL", "search", details={"input": "x"})
    kept = [event for event in map(candidates.taken, builder.events) if event.details]
    assert len(kept) == 200
