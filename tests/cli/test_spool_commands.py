"""What the gone left behind: adopted by every reader, delivered by `drain`, marked by `sweep`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from otel_agent_journal.spool.set_aside import SetAside
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded

SPOOL = ".agent-journal/spool"
AGENT = Path(__file__).with_name("dying_agent.py")


def agent(session: str, end: str, writer: str = "f" * 32, ago_s: float = 1, spool: str = SPOOL) -> None:
    """Let a process record two steps and go."""
    found = subprocess.run(
        [sys.executable, str(AGENT), spool, session, writer, end, str(ago_s)], capture_output=True, check=False
    )
    assert found.returncode == (-9 if end == "killed" else 0), found.stderr


@pytest.fixture
def living() -> Generator[str]:
    """A process that has recorded two steps and lives."""
    child = subprocess.Popen(
        [sys.executable, str(AGENT), SPOOL, "alive", "e" * 32, "alive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    yield "alive"
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()


@pytest.mark.parametrize("command", [["ls"], ["show", "s1"], ["status", "s1"], ["tail"], ["verify"]])
def test_a_reader_tells_the_truth_right_after_a_kill(command: list[str]) -> None:
    """Even where no journal was made yet: the spool of the dead is taken in before anything is read."""
    agent("s1", "killed")
    result = cli(*command)
    assert result.exit_code == 0, result.stderr
    assert "INTERRUPTED" in cli("ls").stdout
    found = rows(cli("status", "s1"))[0]
    assert (found["status"], found["reason"]) == ("INTERRUPTED", "killed")
    assert [step["name"] for step in found["open_steps"]] == ["researcher", "search"]


def test_ls_shows_a_killed_session_with_its_reason() -> None:
    """The table says killed, and the tree names the step that was running."""
    agent("s1", "killed")
    assert "killed" in terminal("ls").text
    assert "interrupted: killed, last seen" in terminal("show", "s1").text


def test_a_living_writer_is_left_alone(living: str) -> None:
    """A reader does not drain for a process that lives, and does not say that it was interrupted."""
    assert cli("ls").exit_code == 4
    assert [folder.name for folder in Path(SPOOL).iterdir()] == ["e" * 32]
    assert cli("drain").exit_code == 0
    assert [row["status"] for row in rows(cli("ls"))] == ["PROCESSING"]


def test_what_was_set_aside_is_tried_again(journal: Seeded) -> None:
    """What passes is in the journal and gone from there, the rest stays and is counted; all can be read."""
    builder = JournalBuilder("s1", writer="a" * 32)
    builder.start("AGENT", "researcher")
    shelf = SetAside(Path(SPOOL))
    for event in builder.events:
        shelf.add_event(event, "EventTooLarge: too large", 0)
    shelf.add_record(b"\xffgarbage", "a" * 32, "not a fact", 0)
    assert rows(cli("drain"))[0]["set_aside"] == 0, "it is not what is new"
    (report,) = rows(cli("drain", "--set-aside"))
    assert (report["delivered"], report["left"]) == (len(builder.events), 1)
    assert "not a fact" in report["last_error"]
    assert "1 stay: not a fact" in terminal("drain", "--set-aside").text
    assert [row["session_id"] for row in rows(cli("ls"))] == ["s1"]


def test_drain_delivers_and_says_how_much(journal: Seeded) -> None:
    """What dead writers left is in the store, counted, and the spool is empty."""
    agent("s1", "killed", "1" * 32)
    agent("s2", "closed", "2" * 32)
    (report,) = rows(cli("drain"))
    assert report["delivered"] >= 6
    assert report["folders_finished"] == 2
    assert report["interrupted"] == 1
    assert report["pending_bytes"] == 0
    assert {row["session_id"]: row["status"] for row in rows(cli("ls"))} == {"s1": "INTERRUPTED", "s2": "COMPLETED"}
    text = terminal("drain").text
    assert "delivered 0 events, 0 spools of ended processes finished" in text


def test_drain_shows_its_progress_on_a_terminal(journal: Seeded) -> None:
    """A bar on stderr where that is a terminal, and nothing of it in a pipe."""
    agent("s1", "closed")
    text = terminal("drain").text
    assert "delivering " in text
    assert "100%" in text
    assert "delivered 4 events" in text
    agent("s2", "closed")
    assert cli("drain").stderr == ""


def test_drain_without_anything_to_deliver_makes_no_journal() -> None:
    """An empty spool makes no store; that there is none to deliver to is exit code 4."""
    result = cli("drain")
    assert result.exit_code == 4
    assert "there is no journal at" in result.stderr
    assert not Path(".agent-journal").exists()


def test_drain_ends_with_4_where_the_store_cannot_be_reached(journal: Seeded) -> None:
    """The spool keeps what could not be delivered."""
    Path("file").write_text("no folder")
    agent("s1", "closed", spool="spool")
    os.environ["AGENT_JOURNAL_SPOOL"] = "spool"
    try:
        result = cli("--store", "sqlite:///file/journal.db", "drain")
        assert result.exit_code == 4, result.stderr
        (report,) = rows(cli("drain"))
    finally:
        del os.environ["AGENT_JOURNAL_SPOOL"]
    assert report["delivered"] == 4


def test_sweep_marks_the_silent_and_prints_whom(journal: Seeded) -> None:
    """A writer with an open step, silent for a minute and without a spool here, is marked once."""
    journal.running("lost", ago_s=3600)
    journal.running("busy", ago_s=5, writer="9" * 32)
    journal.completed()
    (marked,) = rows(cli("sweep"))
    assert (marked["session_id"], marked["writer"], marked["reason"]) == ("lost", "b" * 32, "lost")
    assert marked["last_seen_at"].endswith("Z")
    assert cli("sweep").stdout == ""
    event = list(journal.store.read("lost"))[-1]
    assert (event.type, event.event_id) == ("SESSION_INTERRUPTED", marked["event_id"])
    head = journal.store.head("lost")
    assert head is not None
    assert (head.status, head.reason) == ("INTERRUPTED", "lost")
    assert cli("verify").exit_code == 0


def test_sweep_prints_the_killed_too(journal: Seeded) -> None:
    """A dead writer's spool is taken in by the sweep, and the mark that this makes is printed."""
    agent("s1", "killed")
    (marked,) = rows(cli("sweep"))
    assert (marked["session_id"], marked["reason"]) == ("s1", "killed")
    agent("s2", "killed", "4" * 32)
    text = terminal("sweep").text
    assert "s2" in text
    assert "1 writer marked" in text
    assert "no session has a silent writer" in terminal("sweep").text


def test_sweep_leaves_the_living_alone(living: str, journal: Seeded) -> None:
    """A process that lives is not marked, however long it says nothing."""
    cli("drain")
    assert cli("sweep").stdout == ""
