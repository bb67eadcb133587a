"""What is different between two sessions, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.event import ErrorInfo, Usage
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.reading.differing import (
    CHANGED,
    ONLY_A,
    ONLY_B,
    SAME,
    Difference,
    differences,
    fingerprinted,
    first_of,
    first_within,
)
from otel_agent_journal.testing.builders import JournalBuilder

CALL = {"name": "search", "args": {"q": "x"}}


def a_session(session_id: str, **changed: Any) -> JournalBuilder:
    """Return an agent that asks a model once and calls a tool, its details as they are given."""
    builder = JournalBuilder(session_id)
    root = builder.start("AGENT", "agent", details={"input": f"about {session_id}"})
    request = {"model": "m", "messages": {"digest": "d1", "count": 1, "parts": ["d1"]}, "tools": "t1"}
    model = builder.start(
        "MODEL", changed.get("model", "m"), parent=root, details={"request": request | changed.get("request", {})}
    )
    answer = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{**CALL, "id": f"call-{session_id}"}],
        "id": session_id,
    }
    builder.end(model, details={"output": answer | changed.get("answer", {})}, usage=changed.get("usage"))
    tool = builder.start(
        "TOOL",
        "search",
        parent=root,
        details={
            "input": changed.get("input", {"q": "x"}),
            "attributes": {"gen_ai.tool.call.id": f"call-{session_id}"},
        },
    )
    error = changed.get("error")
    builder.end(tool, "error" if error else "ok", error=error, details={"output": changed.get("output", "found")})
    builder.end(root, details={"output": changed.get("output", "found")})
    return builder


def between(left: JournalBuilder, right: JournalBuilder) -> list[Difference]:
    """Return the differences of two sessions."""
    trees = [fold_steps(fingerprinted(event, one.session_id) for event in one.events) for one in (left, right)]
    return differences(trees[0], trees[1])


def test_ids_times_and_the_session_are_no_difference() -> None:
    """Of messages, of calls, and wherever the session's own id stands in what was given."""
    found = between(a_session("first-one"), a_session("second"))
    assert [one.state for one in found] == [SAME, SAME, SAME]
    assert first_of(found) is None
    assert between(a_session("a"), a_session("b"))[0].what == ("input",)  # an id so short may be a word


@pytest.mark.parametrize(
    ("changed", "step", "what"),
    [
        ({"request": {"messages": {"digest": "d2", "count": 1, "parts": ["d2"]}}}, 2, ("messages",)),
        ({"request": {"tools": "t2"}}, 2, ("tools",)),
        ({"request": {"params": "p"}}, 2, ("params",)),
        ({"model": "other"}, 2, ("model",)),
        ({"usage": Usage(input_tokens=3)}, 2, ("usage",)),
        ({"answer": {"content": "hm"}}, 2, ("output",)),
        ({"input": {"q": "y"}}, 3, ("input",)),
        ({"error": ErrorInfo(type="KeyError")}, 3, ("status", "error")),
        ({"output": "nothing"}, 3, ("output",)),
    ],
)
def test_what_differs_is_named(changed: dict[str, Any], step: int, what: tuple[str, ...]) -> None:
    """And the first difference is that which no other one within explains."""
    found = between(a_session("first-one"), a_session("second", **changed))
    first = first_of(found)
    assert first is not None
    assert first.pair.left is not None
    assert (first.pair.left.number, first.what, first.state) == (step, what, CHANGED)


def test_steps_of_one_side() -> None:
    """Are told which, and how often each was tried counts."""
    left, right = a_session("first-one"), a_session("second")
    tool = left.start("TOOL", "extra")
    left.end(tool, "error")
    right.end(right.start("TOOL", "more"))
    assert [one.state for one in between(left, right)][-2:] == [ONLY_A, ONLY_B]
    once, twice = JournalBuilder("first-one"), JournalBuilder("second")
    for builder in (once, twice):
        builder.end(builder.start("TOOL", "t", step_id="f" * 32))
    twice.end(twice.start("TOOL", "t", step_id="f" * 32, attempt=2))
    assert [one.what for one in between(once, twice)] == [("attempts",)]


def test_requests_of_others_are_compared_by_their_messages() -> None:
    """A step by hand tells what it was given."""
    sessions: list[JournalBuilder] = []
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        builder = JournalBuilder(name)
        builder.start("MODEL", "m", details={"messages": [{"role": "user", "content": text, "id": name}]})
        sessions.append(builder)
    assert [one.state for one in between(sessions[0], sessions[1])] == [SAME]
    assert [one.what for one in between(sessions[0], sessions[2])] == [("messages",)]


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ("x", "x", None),
        ("x", "y", ("", "x", "y")),
        ({"a": 1, "id": 1}, {"a": 1, "id": 2}, None),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ("/a/b/1", 2, 3)),
        ([1], [1, 2], ("/1", None, 2)),
        ([1, 2], [1], ("/1", 2, None)),
        ([1], [1], None),
        ({"a": 1}, {"b": 1}, ("/a", 1, None)),
        ([{"role": "user", "id": 1}], [{"role": "user", "id": 2}], None),
    ],
)
def test_where_two_values_differ_first(left: Any, right: Any, found: Any) -> None:
    """As a JSON pointer, with what each has there."""
    assert first_within(left, right) == found


def test_text_that_is_no_unicode() -> None:
    """Is compared as anything else."""
    sessions = [a_session(name, input={"q": "\ud800"}) for name in ("first-one", "second")]
    assert [one.state for one in between(*sessions)] == [SAME] * 3
