"""`show` of a session as teams have them, on terminals of every width, in several scripts: snapshots, what they mean.

AGENT_JOURNAL_WRITE_GOLDEN=1 pytest tests/cli/test_show_story.py     writes the snapshots anew; look at the difference
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import pytest
from rich.cells import cell_len

from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli import story
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded

GOLDEN: Final = Path(__file__).resolve().parents[1] / "golden" / "show"
VIEWS: Final[dict[str, tuple[str, ...]]] = {
    "tree": (),
    "errors": ("--errors",),
    "messages": ("--messages",),
}
WRITES: Final = bool(os.environ.get("AGENT_JOURNAL_WRITE_GOLDEN"))


@pytest.fixture
def told(journal: Seeded, monkeypatch: pytest.MonkeyPatch) -> Seeded:
    """The story, kept."""
    monkeypatch.delenv("AGENT_JOURNAL_WRITE_GOLDEN", raising=False)
    story.keep(journal)
    return journal


def snapshot(name: str, text: str) -> None:
    """Compare a text with the one that is kept under a name."""
    path = GOLDEN / f"{name}.txt"
    if WRITES:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} is another: see the docstring of this module"


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("view", VIEWS)
def test_on_terminals_of_every_width(told: Seeded, view: str, columns: int) -> None:
    """The text is what is kept, and no line but that of the id, and those of a stack, is wider than the terminal."""
    text = terminal("show", "tenant", *VIEWS[view], columns=columns).text
    snapshot(f"{view}-{columns}", text)
    wide = [line for line in text.splitlines() if cell_len(line) > columns]
    assert all(line.startswith(("session ", "    ")) for line in wide)


def test_a_step_on_a_terminal(told: Seeded) -> None:
    """One step in full, and one that a model was asked in."""
    snapshot("step-80", terminal("show", "tenant/7", columns=80).text)
    snapshot("model-80", terminal("show", "tenant/2", columns=80).text)


def test_colours_are_read_on_light_and_on_dark(told: Seeded) -> None:
    """Only the terminal's own colours, of which it knows what they are to be read on; no black, white or background."""
    raw = terminal("show", "tenant", columns=120).raw
    snapshot("tree-120-colours", raw.replace("\r\n", "\n"))
    codes = {int(code) for found in re.findall(r"\x1b\[([\d;]*)m", raw) for code in found.split(";") if code}
    assert codes <= {0, 1, 2, 31, 32, 33, 34, 35, 36}


def test_the_head_says_why_where_and_since_when(told: Seeded) -> None:
    """Work and all the time there was, host and version, and the step in which the error began."""
    head = terminal("show", "tenant", columns=140).text.splitlines()[:4]
    assert head[0] == "旅行エージェント  ERROR  7 steps  2 errors  1.3k tokens  10.6 s of work in 2h 00m"
    assert head[1].endswith("started 2026-01-01 00:00:00")
    assert head[2] == "travel 1.4.2 on worker-7 pid 4121  the latest of 2 processes"
    assert head[3] == "✗ step 7 tool book_hotel ×2: BookingError: no booking (tools.py:43 in book)"


def test_waits_are_folded_and_count_as_no_work(told: Seeded) -> None:
    """Two hours for a human are a line; the node that asked worked for a third of a second."""
    text = terminal("show", "tenant", columns=120).text
    assert "  ⋯ 2h 00m for a human ⋯\n" in text
    found = {(row["name"], row["started_at"]): row for row in rows(cli("show", "tenant"))}
    asked = [(row["duration_ms"], row["waited_ms"]) for row in found.values() if row["name"] == "approve"]
    assert asked[0] == (201, 0)
    sql = cli("query", "SELECT duration_ms, waited_ms FROM steps WHERE name = 'approve'", "-o", "jsonl")
    (whole,) = rows(sql)
    assert whole["duration_ms"] == 302
    assert whole["waited_ms"] > 7_200_000


def test_warnings_are_counted_and_said(told: Seeded) -> None:
    """A call that was throttled says so."""
    assert "⚠ throttled; attempt 2 of 5 follows in 3 s" in terminal("show", "tenant", columns=120).text
    assert [row["warnings"] for row in rows(cli("show", "tenant", "--kind", "model"))] == [1]


def test_errors_as_data(told: Seeded) -> None:
    """Where an error began comes before what it passed through, with its stack."""
    found = rows(cli("show", "tenant", "--errors"))
    assert [row["name"] for row in found] == ["book_hotel", "旅行エージェント", "book"]
    assert found[0]["error"]["raised_at"] == "/srv/agent/tools.py:43 in book"
    assert "passed_through" not in found[0]["error"]
    assert found[2]["error"]["passed_through"] is True


def test_what_is_left_of_a_tree(told: Seeded) -> None:
    """Turns, levels, kinds, the slowest: each by itself and together, for people and as data."""

    def names(*options: str) -> list[str]:
        return [row["name"] for row in rows(cli("show", "tenant", *options))]

    agent = "旅行エージェント"
    assert names("--last", "1") == [agent, "approve", "book", "book_hotel"]
    assert names("--depth", "1") == [agent, agent]
    assert names("--kind", "tool") == ["search", "book_hotel"]
    assert names("--kind", "tool,model", "--last", "1") == ["book_hotel"]
    assert names("--slowest", "2") == ["claude-sonnet", "book_hotel"]
    assert names("--kind", "tool", "--errors") == ["book_hotel"]
    text = terminal("show", "tenant", "--depth", "2", columns=100).text
    assert "node book (+1 beneath)" in text
    assert "no step is so" in terminal("show", "tenant", "--kind", "retrieval").text
    assert names("--kind", "retrieval") == []
    assert [row["name"] for row in rows(cli("show", "tenant/6", "--tree"))] == ["book", "book_hotel"]
    assert [row["name"] for row in rows(cli("show", "tenant/6", "--kind", "tool"))] == ["book_hotel"]


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "sandwich"),
        ("--last", "0"),
        ("--depth", "-1"),
        ("--messages", "--errors"),
        ("--messages", "--depth", "2"),
        ("--events", "--last", "1"),
        ("--tree", "--as", "openai"),
        ("--as", "openai"),
        ("--as", "gemini"),
        ("--prompt",),
    ],
)
def test_options_that_say_nothing_together(told: Seeded, options: tuple[str, ...]) -> None:
    """They are mistakes, and end with 2."""
    assert cli("show", "tenant", *options).exit_code == 2


def test_the_last_turns_of_a_conversation(told: Seeded) -> None:
    """Of a session in which nothing was said since there is nothing."""
    assert len(rows(cli("show", "tenant", "--messages"))) == 4
    assert rows(cli("show", "tenant", "--messages", "--last", "1")) == []
    assert len(rows(cli("show", "tenant", "--messages", "--last", "2"))) == 4
    said = rows(cli("show", "tenant", "--messages"))
    assert [row["number"] for row in said] == [2, 2, 2, 3]
    assert [row["content"] for row in rows(cli("show", "tenant/3", "--messages"))] == [said[3]["content"]]


def test_a_step_says_what_it_does_to_the_world_and_where_it_is(told: Seeded) -> None:
    """Effects, the steps above it, the process, every attempt."""
    (found,) = rows(cli("show", "tenant/7"))
    assert (found["effects"], found["process"]["host"]) == ("write", "worker-7")
    assert [(step["number"], step["name"]) for step in found["above"]] == [(5, "旅行エージェント"), (6, "book")]
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["error", "error"]
    assert (found["duration_ms"], found["waited_ms"]) == (2702, 2001)


def long_prompts() -> JournalBuilder:
    """Return a session with much to fold, a picture, and a window that leaves out what was said."""
    builder = JournalBuilder("long")
    picture = {"type": "image_url", "image_url": {"$blob": "d" * 32, "bytes": 147_456, "media_type": "image/png"}}
    listed: list[dict[str, Any]] = [
        {"role": "system", "content": "Rule.\n" * 50, "digest": "s"},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture], "digest": "q1"},
        {"role": "assistant", "content": "A cat.", "digest": "a1"},
        {"role": "user", "content": "And this?", "digest": "q2"},
    ]
    root = builder.start("AGENT", "seer")
    told: dict[str, Any] = {"digest": "l1", "count": 2, "parts": ["s", "q1"]}
    first = builder.start("MODEL", "m", parent=root, details={"request": {"messages": told}, "messages": listed[:2]})
    thought = {"type": "thinking", "thinking": "Look.\n" * 50}
    answer = {**listed[2], "content": [thought, {"type": "text", "text": "A cat."}]}
    builder.end(first, details={"output": answer})
    told = {"digest": "l2", "after": "l1", "count": 3, "parts": [[0, 2], "a1"]}
    builder.end(builder.start("MODEL", "m", parent=root, details={"request": {"messages": told}, "messages": []}))
    told = {"digest": "l3", "after": "l2", "count": 3, "parts": [[0, 1], [2, 3], "q2"]}
    last = builder.start("MODEL", "m", parent=root, details={"request": {"messages": told}, "messages": listed[3:]})
    builder.end(last, details={"output": {"role": "assistant", "content": "A dog."}})
    builder.end(root)
    return builder


def test_what_is_long_is_folded(journal: Seeded) -> None:
    """System prompts and thoughts to a few lines, media to what they are; --full unfolds, and fetches no medium."""
    journal.keep(long_prompts())
    text = terminal("show", "long", "--messages", columns=80).text
    assert "[image/png 147 KB]" in text
    assert "thought: Look.\n  Look.\n  ⋯ 288 more characters; --full shows them ⋯" in text
    assert text.count("Rule.") == 3
    assert terminal("show", "long", "--messages", "--full", columns=80).text.count("Rule.") == 50


def test_a_prompt_says_what_was_trimmed(journal: Seeded) -> None:
    """For people a line where it stood, as data the place and how many."""
    journal.keep(long_prompts())
    text = terminal("show", "long/4", "--prompt", columns=80).text
    assert "⋯ 1 message of before trimmed: not in this prompt ⋯\n\nassistant\n" in text
    (found,) = rows(cli("show", "long/4", "--prompt"))
    assert found["trimmed"] == [{"before": 1, "messages": 1}]
    assert "trimmed" not in rows(cli("show", "long/3", "--prompt"))[0]


def test_a_prompt_as_a_request(journal: Seeded) -> None:
    """One document of JSON, in every format, with notes on stderr; --as alone is enough."""
    journal.keep(long_prompts())
    for options in (("-o", "json"), ("-o", "table"), ()):
        result = cli("show", "long/4", "--as", "openai", *options)
        body = json.loads(result.stdout)
        assert [message["role"] for message in body["messages"]] == ["system", "assistant", "user"]
    result = cli("show", "long/4", "--prompt", "--as", "anthropic")
    assert json.loads(result.stdout)["system"].startswith("Rule.")
    assert "max_tokens" in result.stderr
    assert cli("show", "long/seer", "--as", "openai").exit_code == 2


def test_what_was_streamed_before_it_was_cut_off(journal: Seeded) -> None:
    """Of an answer that never came whole the pieces are shown, together; with an answer they are not."""
    builder = JournalBuilder("cut")
    root = builder.start("AGENT", "a")
    for name in ("whole", "half"):
        model = builder.start("MODEL", name, parent=root, details={"input": "go on"})
        builder.note(model, "CHUNK", details={"text": "I will "})
        builder.note(model, "CHUNK", details={"text": "look"})
        if name == "whole":
            builder.end(model, details={"output": "I will look into it"})
    journal.keep(builder)
    assert "streamed  I will look\n" in terminal("show", "cut/half").text
    text = terminal("show", "cut/whole").text
    assert "streamed" not in text
    assert "CHUNK" not in text
    assert terminal("show", "cut/whole", "--full").text.count("CHUNK") == 2
