"""Which journal it is, from below the project too; and hints that a shell takes as they are printed."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import PROGRAM, cli, program, rows
from tests.cli.conftest import Seeded

AGENT = """
import otel_agent_journal as journal
journal.configure()
with journal.session("from below"), journal.step("TOOL", "look"):
    pass
"""
ODD = "it's  $HOME; `date` \x1b[2J\n漢字 -x"


@pytest.fixture
def below(journal: Seeded, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a subfolder of a project that has a journal."""
    journal.completed()
    (home / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(home / "src" / "deep")
    return home


def test_the_projects_journal_is_found_and_it_is_said(below: Path) -> None:
    """From below it is read, and stderr says which it is; of a journal that is named nothing is said."""
    done = cli("ls")
    assert [row["session_id"] for row in rows(done)] == ["done"]
    said = f"agent-journal: the journal is {below}/.agent-journal, found above the working directory\n"
    assert done.stderr == said
    named = cli("ls", "--store", f"sqlite:///{below}/.agent-journal/journal.db")
    assert (named.exit_code, named.stderr) == (0, "")
    assert cli("ls", "--store", "sqlite:///.agent-journal/journal.db").exit_code == 4


@pytest.mark.parametrize("under_run", [False, True])
def test_an_agent_below_writes_where_readers_look(below: Path, under_run: bool) -> None:
    """By itself and under `run`: in the project's journal, none is made below."""
    command = [sys.executable, "-c", AGENT]
    subprocess.run([*PROGRAM, "run", "--", *command] if under_run else command, check=True, timeout=120)
    assert {row["session_id"] for row in rows(cli("ls"))} == {"done", "from below"}
    assert not Path(".agent-journal").exists()


def test_what_a_first_run_makes_is_private(home: Path) -> None:
    """Whatever the umask: no file of the journal and its spool can be read by others, and git takes none of it up."""
    before = os.umask(0)
    try:
        subprocess.run([sys.executable, "-c", AGENT], check=True, timeout=120)
    finally:
        os.umask(before)
    made = [Path(".agent-journal"), *Path(".agent-journal").rglob("*")]
    assert {path.name for path in made} >= {".agent-journal", ".gitignore", "journal.db", "spool"}
    assert [str(path) for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_a_hint_can_be_pasted(journal: Seeded) -> None:
    """What an error says to type next does that, whatever is in the session's id."""
    builder = JournalBuilder(ODD)
    root = builder.start("AGENT", "a")
    builder.end(builder.start("TOOL", "t", parent=root))
    builder.end(builder.start("TOOL", "t", parent=root))
    journal.keep(builder)
    hints = [
        re.search(r"agent-journal (status .*)", program("status").stderr),
        re.search(r"as (.*)", program("show", f"{ODD}/t").stderr),
    ]
    lines = [found[1] for found in hints if found is not None]
    assert len(lines) == 2
    for line, command in zip(lines, ("", "show "), strict=True):
        shell = f'agent-journal() {{ "{PROGRAM[0]}" -c "{PROGRAM[2]}" "$@"; }}; agent-journal {command}{line} -o jsonl'
        done = subprocess.run(["bash", "-c", shell], capture_output=True, encoding="utf-8", timeout=60, check=False)
        assert done.returncode == 0, (line, done.stderr)
        assert rows(done)[0]["session_id"] == ODD
