"""`doctor`: green where all is well, red with advice where not, and never a secret."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from otel_agent_journal.spool.set_aside import SetAside
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded


def states(*args: str) -> dict[str, str]:
    """Return the worst state of each check."""
    worst = {"absent": 0, "ok": 0, "warning": 1, "red": 2}
    found: dict[str, str] = {}
    for row in rows(cli(*args, "doctor")):
        if row["check"] not in found or worst[row["state"]] > worst[found[row["check"]]]:
            found[row["check"]] = row["state"]
    return found


def test_all_is_well(journal: Seeded) -> None:
    """A journal that works is green: exit code 0."""
    journal.completed()
    result = cli("doctor")
    assert result.exit_code == 0
    assert all(list(row) == ["check", "state", "detail", "advice"] for row in rows(result))
    assert states()["store"] == "ok"
    assert "1 session, 11 events" in result.stdout
    assert states()["otlp"] == "absent"
    text = terminal("doctor").text
    assert "✓ store" in text
    assert "- otlp" in text


def test_a_journal_not_made_yet_is_no_failure() -> None:
    """Before the first run the store is a warning, with the line that makes one."""
    result = cli("doctor")
    assert result.exit_code == 0
    store = next(row for row in rows(result) if row["check"] == "store")
    assert (store["state"], store["advice"]) == ("warning", "agent-journal run -- python my_agent.py")


def test_a_store_that_cannot_be_reached_is_red() -> None:
    """A store that was asked for and is not there fails."""
    result = cli("--store", "sqlite:////nonexistent/journal.db", "doctor")
    assert result.exit_code == 5
    assert states("--store", "sqlite:////nonexistent/journal.db")["store"] == "red"


def test_a_malformed_variable_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and nothing else is guessed from it."""
    monkeypatch.setenv("AGENT_JOURNAL_FSYNC", "sometimes")
    result = cli("doctor")
    assert result.exit_code == 5
    assert "AGENT_JOURNAL_FSYNC is 'sometimes'; it is one of: never, always" in result.stdout


def test_a_variable_that_is_none_of_ours_is_a_warning(monkeypatch: pytest.MonkeyPatch, journal: Seeded) -> None:
    """A mistyped variable changes nothing, so somebody should say so."""
    journal.completed()
    monkeypatch.setenv("AGENT_JOURNAL_STOER", "sqlite:///x.db")
    result = cli("doctor")
    assert result.exit_code == 0
    assert "did you mean AGENT_JOURNAL_STORE?" in result.stdout


def test_variables_that_are_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a secret is set is said, and nothing of it."""
    for name in ("AGENT_JOURNAL_WEBHOOK_SECRET", "AGENT_JOURNAL_SERVE_TOKEN", "AGENT_JOURNAL_MARKER_NONCE"):
        monkeypatch.setenv(name, "hunter2hunter2hunter2")
    result = cli("doctor")
    assert "AGENT_JOURNAL_WEBHOOK_SECRET=***" in result.stdout
    assert "hunter2" not in result.stdout


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords in URLs do not get into a bug report."""
    monkeypatch.setenv("AGENT_JOURNAL_STORE", "postgresql://me:hunter2@db/agents?password=hunter2")
    monkeypatch.setenv("AGENT_JOURNAL_OTLP", "http://me:hunter2@127.0.0.1:9?api_key=hunter2")
    result = cli("doctor")
    assert "hunter2" not in result.output
    assert "hunter2" not in terminal("doctor").text
    assert "me:***@db" in result.stdout


def test_an_otlp_endpoint_is_connected_to(monkeypatch: pytest.MonkeyPatch, journal: Seeded) -> None:
    """Green where something listens, red where nothing does."""
    journal.completed()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("AGENT_JOURNAL_OTLP", f"http://127.0.0.1:{port}")
        assert states()["otlp"] == "ok"
    assert states()["otlp"] == "red"
    assert cli("doctor").exit_code == 5
    monkeypatch.setenv("AGENT_JOURNAL_OTLP", "http://127.0.0.1:port")
    assert states()["otlp"] == "red"


def test_what_the_gone_left_in_the_spool_is_a_warning(journal: Seeded) -> None:
    """Dead writers and what was set aside are shown with what to do."""
    from tests.cli.test_spool_commands import agent

    agent("s1", "killed")
    result = cli("doctor")
    assert "1 dead writer left" in result.stdout
    assert "agent-journal drain" in result.stdout
    shelf = SetAside(Path(".agent-journal/spool"))
    for number in range(3):
        shelf.add_record(bytes([number]), "w", "too large" if number else "too strange", 0)
    assert states()["set aside"] == "red"
    result = cli("doctor")
    assert f"3 in {Path.cwd()}/.agent-journal/spool/set-aside" in result.stdout
    assert "2 × too large; 1 × too strange" in result.stdout
    assert "agent-journal drain --set-aside" in result.stdout
    assert cli("doctor").exit_code == 5


def test_other_spools_that_hold_something_are_named(
    journal: Seeded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of another store, or of an agent that ran elsewhere: a warning, with how it is delivered."""
    from tests.cli.test_spool_commands import agent

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    elsewhere, beside = tmp_path / "elsewhere" / "spool", Path(".agent-journal/spool-otlp-h-4317-0123")
    agent("s1", "killed", "1" * 32, spool=str(elsewhere))
    agent("s2", "killed", "2" * 32, spool=str(beside))
    SetAside(Path(".agent-journal/other.db.spool")).add_record(b"", "w", "no", 0)
    Path(".agent-journal/spool-empty").mkdir()
    found = [row for row in rows(cli("doctor")) if row["check"] == "other spools"]
    named = {row["detail"].partition(":")[0]: row for row in found}
    assert named.keys() == {str(elsewhere), str(beside.absolute()), str(tmp_path / ".agent-journal/other.db.spool")}
    assert all(row["state"] == "warning" for row in found)
    assert f"AGENT_JOURNAL_SPOOL={elsewhere} agent-journal drain" in named[str(elsewhere)]["advice"]
    assert "1 set aside" in named[str(tmp_path / ".agent-journal/other.db.spool")]["detail"]


def test_a_spool_that_cannot_be_made_is_red(journal: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents could record nothing there."""
    Path("file").write_text("")
    monkeypatch.setenv("AGENT_JOURNAL_SPOOL", "file/spool")
    assert states()["spool"] == "red"


@pytest.mark.parametrize(
    ("distribution", "instrumentor"),
    [
        ("langgraph", "agent_journal_langgraph"),
        ("strands-agents", "agent_journal_strands"),
        ("boto3", "agent_journal_bedrock_agents"),
        ("bedrock-agentcore", "agent_journal_agentcore"),
    ],
)
def test_frameworks_are_shown_with_their_instrumentor(journal: Seeded, distribution: str, instrumentor: str) -> None:
    """Where a framework is installed its instrumentor is loaded, and said to be usable."""
    journal.completed()
    found = next(row for row in rows(cli("doctor")) if row["check"] == distribution)
    assert found["state"] == "ok"
    assert f"journaled by '{instrumentor}'" in found["detail"]
