"""Steps by their names: each way that people name them, which comes first, and what an ambiguous one says."""

from __future__ import annotations

import re

import pytest

from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.naming import NoSuchStep, SeveralSteps, find_step
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder


@pytest.fixture
def tree() -> StepTree:
    """An agent with two model calls, of the same name, and the tools search, search and book."""
    built = JournalBuilder("s1")
    root = built.start("AGENT", "researcher", step_id="r0")
    for kind, name, step_id in (
        ("MODEL", "gpt-4.1", "m1"),
        ("TOOL", "search", "t1"),
        ("MODEL", "gpt-4.1", "m2"),
        ("TOOL", "search", "t2"),
        ("TOOL", "book", "3"),
    ):
        built.end(built.start(kind, name, parent=root, step_id=step_id))
    built.end(root)
    return fold_steps(built.events)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("5", 5),
        ("m2", 4),
        ("book", 6),
        ("search.1", 3),
        ("search.2", 5),
        ("model.2", 4),
        ("MODEL.1", 2),
        ("gpt-4.1.2", 4),
        ("agent", 1),
        ("r", 1),
        ("bo", 6),
        ("Resea", 1),
    ],
)
def test_a_step_has_many_names(tree: StepTree, text: str, number: int) -> None:
    """Its number, id, name, the second of a name or kind, its kind, and the beginnings of these."""
    assert find_step(tree, text).number == number


def test_several_are_listed(tree: StepTree) -> None:
    """An ambiguous name lists its candidates, with number, time and outcome, and says what to type."""
    for text, numbers in (("search", (3, 5)), ("gpt-4.1", (2, 4)), ("model", (2, 4)), ("t", (3, 5)), ("gp", (2, 4))):
        with pytest.raises(SeveralSteps) as failed:
            find_step(tree, text, "s1")
        assert failed.value.numbers == numbers
        assert failed.value.exit_code == 3
    with pytest.raises(
        SeveralSteps, match=r"2 steps of session s1 match 'search': 3 tool search \d\d:\d\d:\d\d ok; 5 tool"
    ):
        find_step(tree, "search", "s1")
    with pytest.raises(SeveralSteps, match="as s1/3") as failed:
        find_step(tree, "search", "s1")
    told = r"2 steps of session s1 match 'search': 3 tool search \d\d:\d\d:\d\d ok; 5 tool search "
    assert re.match(told, str(failed.value))


def test_a_number_that_is_an_id_too(tree: StepTree) -> None:
    """Where one step's id is another's number, both are meant, and it is said."""
    with pytest.raises(SeveralSteps) as failed:
        find_step(tree, "3")
    assert failed.value.numbers == (3, 6)


def test_none_says_which_there_are(tree: StepTree) -> None:
    """What nobody is called, and a count that is too high, say what there is."""
    for text in ("nobody", "search.3", "search.0", "99", ""):
        with pytest.raises(NoSuchStep, match=r"1 to 6: researcher, gpt-4\.1, search, book"):
            find_step(tree, text, "s1")
    with pytest.raises(NoSuchStep, match="it has none"):
        find_step(fold_steps(()), "x")


def test_many_are_listed_in_part() -> None:
    """Of many candidates the first are named, and how many more there are."""
    built = JournalBuilder("s1")
    for number in range(30):
        built.end(built.start("TOOL", "search", step_id=f"x{number}"))
    with pytest.raises(SeveralSteps, match="and 22 more"):
        find_step(fold_steps(built.events), "search")


@pytest.mark.parametrize(
    ("text", "session_id", "step"),
    [
        ("s1", "s1", None),
        ("s1/7", "s1", "7"),
        ("s1@7", "s1", "7"),
        ("s1@model.2", "s1", "model.2"),
        ("s1/", "s1", None),
        ("a/b", "a/b", None),
        ("a/b/c", "a/b", "c"),
        ("a/c", "a", "c"),
        ("x@y@2", "x@y", "2"),
        ("x@y", "x@y", None),
        ("long-n/3", "long-name", "3"),
        ("x@y/search/again", "x@y", "search/again"),
    ],
)
def test_a_session_and_its_step(text: str, session_id: str, step: str | None, tmp_path: object) -> None:
    """A slash and an @ mean the same; an id that holds them comes before a shorter one with a step."""
    store = MemoryStore()
    for name in ("s1", "a", "a/b", "x@y", "long-name"):
        built = JournalBuilder(name)
        built.start("AGENT", "x")
        store.append(built.events)
    from pathlib import Path

    head, found = Journal(store, Path(str(tmp_path))).session_and_step(text)
    assert (head.session_id, found) == (session_id, step)
