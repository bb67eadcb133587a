"""What a step took and gave, in a few words."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.reading.gists import GIST, LONGEST, call_in_words, gist_of, with_failures, with_gist
from otel_agent_journal.testing.builders import JournalBuilder

CALL = {"id": "c1", "name": "search", "args": {"topic": "spans", "pages": 3}}


def took(kind: str, **details: Any) -> str:
    """Return the gist of a START."""
    builder = JournalBuilder()
    builder.start(kind, "a", details=details)
    return gist_of(builder.events[0])


def gave(output: Any) -> str:
    """Return the gist of an ending."""
    builder = JournalBuilder()
    return gist_of(builder.end(builder.start("TOOL", "a"), details={"output": output}))


@pytest.mark.parametrize(
    ("value", "gist"),
    [
        (None, ""),
        ("a  b\nc", "a b c"),
        (True, "true"),
        (1.5, "1.5"),
        ([], ""),
        (["a page"], "a page"),
        ([1, 2], "1, 2"),
        (list(range(9)), "0, 1, 2, 3, 4, 5, …"),
        ({"topic": "spans", "deep": {"x": 1}, "none": {}, "list": [1, 2]}, "topic=spans, deep={…}, none={}, list=[2]"),
        ({str(number): number for number in range(9)}, "0=0, 1=1, 2=2, 3=3, 4=4, 5=5, …"),
        ({"role": "tool", "content": "three pages"}, "three pages"),
        ({"role": "assistant", "content": "", "tool_calls": [CALL]}, "search(topic=spans, pages=3)"),
        ({"role": "assistant", "content": "let me", "tool_calls": [CALL]}, "let me search(topic=spans, pages=3)"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "b"),
        ({"messages": []}, ""),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "b"),
        ({"$blob": "d", "preview": "the beginning"}, "the beginning"),
        ({"update": {"$blob": "d", "preview": "p"}}, "update=p"),
        ([{"type": "text", "text": "a"}, {"type": "image"}], "a [image]"),
    ],
)
def test_values(value: Any, gist: str) -> None:
    """Messages by their words, calls as they are written, objects by their first names, all on one line."""
    assert gave(value) == gist
    assert took("NODE", input=value) == gist


def test_a_long_one_is_cut() -> None:
    """However long it is, no more of it is looked at than is shown."""
    assert gave("x" * 10**6) == "x" * (LONGEST - 1) + "…"


def test_what_a_model_was_asked() -> None:
    """The last of what is new; where nothing is, how many results it was given."""
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
    assert took("MODEL", messages=said) == "Where?"
    assert took("MODEL", input="Where?") == "Where?"
    assert took("MODEL", input={"messages": said}) == "Where?"
    assert took("MODEL", messages=[{"$message": "x"}]) == ""
    for keys, gist in ((["tool:a", "tool:b", [0, 2], "c"], "2 results"), (["tool:a"], "1 result"), (["c"], "")):
        assert took("MODEL", messages=[], request={"messages": {"parts": keys}}) == gist
    assert took("MODEL", request={"messages": {"digest": "x"}}) == ""


def test_warnings_have_one_and_other_notes_none() -> None:
    """What was noted as a warning or worse."""
    builder = JournalBuilder()
    step = builder.start("MODEL", "m")
    warned = builder.note(step, "WARNING", level="WARNING", details={"message": "throttled"})
    assert with_gist(warned).details == {GIST: "throttled"}
    assert with_gist(builder.note(step, "ODD", level="ERROR", details={"reason": "why"})).details[GIST] == "why"
    assert with_gist(builder.note(step, "CHUNK", details={"text": "a"})).details == {}


def test_a_failure_keeps_its_stack() -> None:
    """For who lists failures; no more than that is kept of others."""
    builder = JournalBuilder()
    told = {"raised_at": "a.py:1 in f", "stack": "Traceback", "causes": ["x"], "more": "left out"}
    failed = builder.end(builder.start("TOOL", "a"), "error", details=told)
    kept = {name: told[name] for name in ("raised_at", "stack", "causes")}
    assert with_failures(failed).details == kept
    assert with_gist(failed).details == {"raised_at": "a.py:1 in f"}
    fine = builder.end(builder.start("TOOL", "a"), details={"stack": "mine", "output": "x"})
    assert with_failures(fine).details == {GIST: "x"}


def test_calls() -> None:
    """Arguments that are no object stand as they are."""
    assert call_in_words({"name": "f", "arguments": '{"a": '}) == 'f({"a": )'
    assert call_in_words({"name": "f", "arguments": None}) == "f()"
