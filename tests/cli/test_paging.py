"""The pager: which it is, when it is none, and what it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_agent_journal.cli.paging import pager_of
from tests.cli.command_line import program, terminal
from tests.cli.conftest import Seeded

TERM = {"TERM": "xterm"}
TAKES_IT = "cat > paged.txt"  # stands for one that a person leaves


@pytest.fixture
def many(journal: Seeded) -> Seeded:
    """More sessions than a screen has lines."""
    for number in range(45):
        journal.failed(f"s{number:02}")
    return journal


@pytest.mark.parametrize(
    ("environ", "pager"),
    [
        ({**TERM, "AGENT_JOURNAL_PAGER": "more -e"}, "more -e"),
        ({**TERM, "AGENT_JOURNAL_PAGER": "more", "PAGER": "less"}, "more"),
        ({**TERM, "PAGER": "more"}, "more"),
        ({**TERM, "PAGER": "LESS=R more"}, "LESS=R more"),
        ({**TERM, "PAGER": "cat"}, None),
        ({**TERM, "AGENT_JOURNAL_PAGER": "", "PAGER": "more"}, None),
        ({**TERM, "PAGER": "no-such-pager-here"}, None),
        ({**TERM, "PAGER": "'unclosed"}, "'unclosed"),
        ({"TERM": "dumb", "PAGER": "more"}, None),
        ({"PAGER": "more"}, None),
    ],
)
def test_which_pager(environ: dict[str, str], pager: str | None) -> None:
    """Ours, else everybody's; none where it is empty, cat, not there, or the terminal is dumb."""
    assert pager_of(environ) == pager


def test_what_is_more_than_a_screen_is_paged(many: Seeded) -> None:
    """All of it, colours too; what the program says beside it stays on the terminal."""
    seen = terminal("ls", AGENT_JOURNAL_PAGER=TAKES_IT)
    text = Path("paged.txt").read_text()
    assert seen.code == 0
    assert len(text.splitlines()) == 46
    assert "\x1b[31mERROR" in text
    assert "ERROR" not in seen.text


def test_what_fits_is_not(journal: Seeded) -> None:
    """One screen needs no pager, and is printed as ever."""
    journal.completed()
    assert "COMPLETED" in terminal("ls", AGENT_JOURNAL_PAGER=TAKES_IT).text
    assert not Path("paged.txt").exists()


def test_a_reader_who_leaves_early(many: Seeded) -> None:
    """Who has seen enough leaves the pager; the command ends well, and says nothing."""
    seen = terminal("ls", AGENT_JOURNAL_PAGER="head -1")
    assert (seen.code, len(seen.text.splitlines())) == (0, 1)


@pytest.mark.parametrize("args", [("ls", "--no-pager"), ("--no-pager", "ls"), ("ls", "-o", "jsonl")])
def test_who_wants_none_gets_none(many: Seeded, args: tuple[str, ...]) -> None:
    """Told so, or where it is data for programs."""
    assert "s44" in terminal(*args, AGENT_JOURNAL_PAGER=TAKES_IT).text
    assert not Path("paged.txt").exists()


def test_a_pipe_is_not_paged(many: Seeded) -> None:
    """Stdout that is no terminal is never paged, tables included."""
    assert "s44" in program("ls", "-o", "table", AGENT_JOURNAL_PAGER=TAKES_IT, TERM="xterm").stdout
    assert not Path("paged.txt").exists()
