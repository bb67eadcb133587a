"""`diff`: two sessions side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli import story
from tests.cli.command_line import cli, program, rows, terminal
from tests.cli.conftest import Seeded


def an_agent(session_id: str, topic: str = "journals", *, more: bool = False) -> JournalBuilder:
    """Return a session of an agent that asks its model and then searches."""
    builder = JournalBuilder(session_id)
    root = builder.start("AGENT", "reader", details={"input": "what is new?"})
    asked = [{"role": "user", "content": f"about {topic}"}]
    model = builder.start("MODEL", "m", parent=root, details={"messages": asked})
    builder.end(model, details={"output": {"role": "assistant", "content": f"search {topic}"}})
    builder.end(
        builder.start("TOOL", "search", parent=root, details={"input": {"topic": topic}}), details={"output": topic}
    )
    if more:
        builder.end(builder.start("TOOL", "extra", parent=root), "error")
    builder.end(root, details={"output": topic})
    return builder


@pytest.fixture
def two(journal: Seeded) -> None:
    """Two sessions that went different ways, and one that is as the first."""
    journal.keep(an_agent("first-one"))
    journal.keep(an_agent("second-one", "diaries", more=True))
    journal.keep(an_agent("third-one"))


def test_where_they_went_different_ways(two: None) -> None:
    """A line a step with what differs, what each has there, and which difference was the first."""
    text = terminal("diff", "first-one", "second-one").text
    for part in (
        "a first-one  b second-one",
        "2/2 ≈ model m  messages, output",
        "messages/0/content",
        "- about journals",
        "+ about diaries",
        "3/3 ≈ tool search  input, output",
        "input/topic",
        "-/4 + tool extra",
        "first difference: step 2 of a, model m",
        "3 changed, 1 in b alone",
    ):
        assert part in text
    assert "- about" not in terminal("diff", "first-one", "second-one", "--stat").text


def test_as_data(two: None) -> None:
    """One object, whose parts are a contract."""
    found: dict[str, Any] = json.loads(program("diff", "first-one", "second-one", "-o", "json").stdout)
    assert (found["a"], found["b"], found["same"], found["shared"]) == ("first-one", "second-one", False, 0)
    assert found["totals"] == {"same": 0, "changed": 3, "only_a": 0, "only_b": 1}
    assert found["spent"]["a"] == {"duration_ms": 5, "input_tokens": 0, "output_tokens": 0}
    assert found["first"]["differs"] == ["messages", "output"]
    assert found["first"]["content"]["messages"] == {"at": "/0/content", "a": "about journals", "b": "about diaries"}
    assert [(one["state"], one["a"] and one["a"]["number"], one["b"]["number"]) for one in found["steps"]] == [
        ("changed", 1, 1),
        ("changed", 2, 2),
        ("changed", 3, 3),
        ("only_b", None, 4),
    ]
    (same,) = rows(cli("diff", "first-one", "third-one", "--all"))
    assert (same["same"], same["first"], len(same["steps"])) == (True, None, 3)


def test_exit_codes(two: None) -> None:
    """5 where they differ and that is asked for."""
    assert cli("diff", "first-one", "second-one").exit_code == 0
    assert cli("diff", "first-one", "second-one", "--exit-code").exit_code == 5
    assert cli("diff", "first-one", "third-one", "--exit-code").exit_code == 0
    assert cli("diff", "first-one@2", "second-one@2", "--exit-code").exit_code == 0
    assert cli("diff", "first-one@3", "second-one@3", "--exit-code").exit_code == 5
    assert "no difference" in terminal("diff", "first-one", "third-one").text
    assert program("diff", "first-one", "none").returncode == 3
    assert program("diff", "first-one@9", "second-one").returncode == 3


def test_many_steps_differ(journal: Seeded) -> None:
    """Of the first few alone the content is fetched; all are named."""
    for name, topic in (("first-one", "x"), ("second-one", "y")):
        builder = JournalBuilder(name)
        root = builder.start("AGENT", "a")
        for number in range(30):
            builder.end(builder.start("TOOL", "t", parent=root, details={"input": f"{topic}{number}"}))
            messages = [{"role": "user", "content": f"{topic}{number}"}]
            builder.end(builder.start("MODEL", "m", parent=root, details={"messages": messages}))
        journal.keep(builder)
    (found,) = rows(cli("diff", "first-one", "second-one"))
    assert found["totals"]["changed"] == 60
    assert sum(bool(one["content"]) for one in found["steps"]) == 15  # ten tools, five models


def test_what_is_on_one_side_alone_is_folded(journal: Seeded) -> None:
    """Steps beneath one that the other side has not are counted there; --all names them, and so does data."""
    left, right = JournalBuilder("first-one"), JournalBuilder("second-one")
    for builder in (left, right):
        root = builder.start("AGENT", "a")
        if builder is right:
            node = builder.start("NODE", "more", parent=root)
            for _ in range(3):
                builder.end(builder.start("TOOL", "t", parent=node))
            builder.end(node)
        builder.end(root)
        journal.keep(builder)
    text = terminal("diff", "first-one", "second-one").text
    assert "-/2 + node more (+3 beneath)" in text
    assert "tool t" not in text
    assert terminal("diff", "first-one", "second-one", "--all").text.count("tool t") == 3
    (found,) = rows(cli("diff", "first-one", "second-one"))
    assert found["totals"]["only_b"] == 4
    assert len(found["steps"]) == 4


def test_how_much_longer_a_step_took(journal: Seeded) -> None:
    """It is no difference by itself, and is said beside one, and of both sides at the end."""
    for name, seconds in (("first-one", 1), ("second-one", 3)):
        clock = story.Clock()
        builder = JournalBuilder(name, clock=clock)
        step = builder.start("TOOL", "t", details={"input": name})
        clock.after(seconds)
        builder.end(step, details={"output": "same"})
        journal.keep(builder)
    text = terminal("diff", "first-one", "second-one").text
    assert "no difference  a 1.0 s  b 3.0 s" in text
    text = terminal("diff", "first-one", "second-one", "--all").text
    assert "= tool t  1.0 s → 3.0 s" in text


def test_a_fork_and_its_base(journal: Seeded) -> None:
    """What they share is left out, whichever is named first."""
    from otel_agent_journal import ContextService, fork
    from tests.cli.conftest import URL

    journal.keep(an_agent("first-one"))
    ContextService(URL, "first-one", session_id="first-one").append_message("user", "hello")
    made = fork("first-one", new="the-fork")
    journal.keep(an_agent(made, "diaries"))
    for order in (("first-one", made), (made, "first-one")):
        (found,) = rows(cli("diff", *order))
        assert (found["a"], found["b"]) == ("first-one", made)
