"""`status`: where a session stands."""

from __future__ import annotations

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded


def test_a_running_session(journal: Seeded) -> None:
    """Status, stage, progress, last sign of life, and the open steps with since when."""
    builder = journal.running()
    builder.record("STAGE_CHANGED", details={"stage": "CostCalculator", "progress": 50})
    journal.keep(builder)
    (found,) = rows(cli("status", "live"))
    assert (found["status"], found["reason"], found["stage"], found["progress"]) == (
        "PROCESSING",
        None,
        "CostCalculator",
        50,
    )
    assert [(step["kind"], step["name"], step["status"]) for step in found["open_steps"]] == [
        ("AGENT", "helper", "running"),
        ("TOOL", "fetch", "running"),
    ]
    assert found["open_steps"][0]["started_at"] == found["started_at"]
    assert found["last_seen_at"] == found["updated_at"]
    text = terminal("status", "live").text
    for part in ("PROCESSING", "CostCalculator  50 %", "tool fetch  running, began", "last seen"):
        assert part in text


def test_a_session_whose_process_went_silent(journal: Seeded) -> None:
    """It is INTERRUPTED, lost, and its steps are those left open."""
    journal.running("silent", ago_s=3600)
    (found,) = rows(cli("status", "silent"))
    assert (found["status"], found["reason"]) == ("INTERRUPTED", "lost")
    assert {step["reason"] for step in found["open_steps"]} == {"lost"}
    text = terminal("status", "silent").text
    assert "INTERRUPTED (lost)" in text
    assert "left open (lost)" in text


def test_a_session_that_ended(journal: Seeded) -> None:
    """No step is open; tokens and errors are counted."""
    journal.completed()
    (found,) = rows(cli("status", "done"))
    assert found["open_steps"] == []
    assert (found["steps"], found["errors"], found["input_tokens"], found["output_tokens"]) == (4, 1, 1020, 200)
    assert found["duration_ms"] == 10
    assert "1,020 in, 200 out" in terminal("status", "done").text


def test_a_session_awaiting_input(journal: Seeded) -> None:
    """An interrupt is INTERRUPTED with reason awaiting_input, and nothing is open."""
    builder = JournalBuilder("asks")
    builder.end(builder.start("AGENT", "a"), "interrupted")
    journal.keep(builder)
    (found,) = rows(cli("status", "asks"))
    assert (found["status"], found["reason"], found["open_steps"]) == ("INTERRUPTED", "awaiting_input", [])
    assert "INTERRUPTED (awaiting input)" in terminal("status", "asks").text
    assert "awaiting input" in terminal("ls").text
    assert "awaiting input" in terminal("show", "asks").text


def refused(journal: Seeded) -> None:
    """Keep a session whose agent was never reached."""
    builder = JournalBuilder("refused")
    builder.record("SESSION_INITIATED", details={"agent": "helper"})
    builder.record("AGENT_INVOCATION_STARTED", details={"agent": "helper", "invocation": "i1"})
    error = ErrorInfo(type="botocore.exceptions.ClientError", message="Rate exceeded", code="ThrottlingException")
    builder.record("AGENT_INVOCATION_FAILED", level="ERROR", details={"invocation": "i1"}, error=error)
    journal.keep(builder)


def given_up(journal: Seeded, reason: str = "cancelled", error: str = "KeyboardInterrupt") -> None:
    """Keep a session whose caller pressed Ctrl-C, or saw its process go."""
    builder = JournalBuilder("left")
    builder.record("AGENT_INVOCATION_STARTED", details={"agent": "helper", "invocation": "i1"})
    builder.record(
        "AGENT_INVOCATION_FAILED",
        level="WARNING",
        details={"invocation": "i1", "reason": reason},
        error=ErrorInfo(type=error),
    )
    journal.keep(builder)


SAID = "botocore.exceptions.ClientError (ThrottlingException): Rate exceeded"


def test_a_session_that_failed(journal: Seeded) -> None:
    """What a failed session failed with is said: by its invocation, where no step tells, or by its root."""
    refused(journal)
    journal.failed()
    (found,) = rows(cli("status", "refused"))
    assert (found["status"], found["steps"], found["errors"]) == ("ERROR", 0, 0)
    assert found["error"]["code"] == "ThrottlingException"
    assert f"error      {SAID}" in terminal("status", "refused").text
    assert rows(cli("status", "broken"))[0]["error"] == {"type": "KeyError", "message": "'x'"}
    journal.completed()
    assert rows(cli("status", "done"))[0]["error"] is None


def test_lists_and_trees_say_it_too(journal: Seeded) -> None:
    """`ls` and `show` name the error of a session that has no step to show it at; its events carry it."""
    refused(journal)
    assert SAID in terminal("ls", columns=200).text
    assert SAID in terminal("show", "refused").text
    line = terminal("show", "refused", "--events", columns=200).text.splitlines()[-1]
    assert line.split()[1:3] == ["✗", "AGENT_INVOCATION_FAILED"]
    assert line.endswith(SAID)
    assert rows(cli("show", "refused", "--events"))[-1]["error"]["message"] == "Rate exceeded"


def test_an_invocation_whose_process_was_killed(journal: Seeded) -> None:
    """What its caller saw killed is INTERRUPTED, killed, and no error; its event's mark says so."""
    given_up(journal, "killed", "ProcessKilled")
    (found,) = rows(cli("status", "left"))
    assert (found["status"], found["reason"], found["error"]) == ("INTERRUPTED", "killed", None)
    line = terminal("show", "left", "--events", columns=200).text.splitlines()[-1]
    assert line.split()[1:] == ["‼", "AGENT_INVOCATION_FAILED", "ProcessKilled", "killed"]


def test_an_invocation_that_was_cancelled(journal: Seeded) -> None:
    """What was given up is INTERRUPTED, cancelled, wherever it is listed, and no error; its event's mark says so."""
    given_up(journal)
    (found,) = rows(cli("status", "left"))
    assert (found["status"], found["reason"], found["error"]) == ("INTERRUPTED", "cancelled", None)
    assert "INTERRUPTED (cancelled)" in terminal("status", "left").text
    assert "cancelled" in terminal("ls", columns=200).text
    assert "cancelled" in terminal("show", "left").text
    line = terminal("show", "left", "--events", columns=200).text.splitlines()[-1]
    assert line.split()[1:] == ["◼", "AGENT_INVOCATION_FAILED", "KeyboardInterrupt", "cancelled"]
