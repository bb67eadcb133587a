"""`agent-journal alerts`: once, for ever, and what fires."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerts.receiver import LocalReceiver
from tests.cli.command_line import PROGRAM, cli, rows, terminal
from tests.cli.conftest import Seeded

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RULE = '[[alert]]\nname = "silent"\nkind = "stuck"\n'


@pytest.fixture
def receiver() -> Iterator[LocalReceiver]:
    """A receiver that takes everything."""
    found = LocalReceiver()
    yield found
    found.close()


def hook(receiver: LocalReceiver) -> str:
    return f'send = "ops"\n[receiver.ops]\nkind = "webhook"\nurl = "{receiver.url}/x/hunter2"\nsecret_env = "HOOK"\n'


def test_check_ends_with_5_while_something_fires(journal: Seeded) -> None:
    """`check` prints what fires and exits with 5; with 0 where nothing does."""
    Path("alerts.toml").write_text(RULE)
    journal.completed("done")
    assert cli("alerts", "check", "-o", "jsonl").exit_code == 0
    journal.running("gone", ago_s=600)
    found = cli("alerts", "check")
    assert found.exit_code == 5
    (row,) = rows(found)
    assert (row["rule"], row["state"], row["labels"]) == ("silent", "firing", {"session_id": "gone", "agent": "helper"})
    assert row["unsent"] == []
    assert rows(cli("alerts", "list")) == [row]
    assert [one["session_id"] for one in rows(cli("ls"))] == ["gone", "done"]


def test_a_dry_run_writes_and_sends_nothing(
    journal: Seeded, receiver: LocalReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check --dry-run` says what each rule finds, and leaves no trace; it exits with 5 where anything is found."""
    monkeypatch.setenv("HOOK", SECRET)
    Path("alerts.toml").write_text(RULE + 'for = "1h"\n' + hook(receiver))
    journal.running("gone", ago_s=600)
    found = cli("alerts", "check", "--dry-run")
    assert found.exit_code == 5
    assert [(one["rule"], one["state"]) for one in rows(found)] == [("silent", None)]
    assert rows(cli("alerts", "list")) == []
    assert receiver.got == []


def test_a_receiver_that_is_away_is_shown(
    journal: Seeded, receiver: LocalReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` says on stderr that a receiver did not take a message, and `list` shows it; no URL is whole anywhere."""
    monkeypatch.setenv("HOOK", SECRET)
    receiver.status = 502
    Path("alerts.toml").write_text(RULE + hook(receiver))
    journal.running("gone", ago_s=600)
    found = cli("alerts", "check")
    assert found.exit_code == 5
    assert "receiver ops: it answered 502; silent is tried again (attempt 1)" in found.stderr
    (row,) = rows(cli("alerts", "list"))
    ((unsent),) = row["unsent"]
    assert (unsent["receiver"], unsent["attempts"], unsent["last_error"]) == ("ops", 1, "it answered 502")
    shown = terminal("alerts", "list")
    assert "receiver ops has not taken 1 message" in shown.text
    assert "it answered 502" in shown.text
    for text in (found.output, shown.text):
        assert "hunter2" not in text
        assert SECRET not in text


def test_what_is_wrong_exits_with_2(journal: Seeded) -> None:
    """No file, a malformed one, and a missing secret are errors of usage."""
    found = cli("alerts", "check")
    assert found.exit_code == 2
    assert "there is no alerts.toml in" in found.stderr
    Path("mine.toml").write_text('[[alert]]\nname = "a"\nkind = "nothing"\n')
    found = cli("alerts", "check", "--rules", "mine.toml")
    assert found.exit_code == 2
    assert "mine.toml, line 3: alert 'a': kind is 'nothing'" in found.stderr


def test_the_file_may_be_named_by_a_variable(journal: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENT_JOURNAL_ALERTS names the file, as --rules does."""
    journal.completed("done")
    Path("mine.toml").write_text(RULE)
    monkeypatch.setenv("AGENT_JOURNAL_ALERTS", "mine.toml")
    assert cli("alerts", "check").exit_code == 0


def test_tables(journal: Seeded) -> None:
    """On a terminal there is a line for each alert, and a word where there is none."""
    Path("alerts.toml").write_text(RULE)
    journal.completed("done")
    assert "nothing fires" in terminal("alerts", "check").text
    journal.running("gone", ago_s=600)
    shown = terminal("alerts", "check")
    assert shown.code == 5
    assert "firing" in shown.text
    assert "helper: session gone runs, and was last heard of 10 m ago" in shown.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch(journal: Seeded, receiver: LocalReceiver, number: signal.Signals) -> None:
    """`watch` prints and sends each change as it comes, and ends on Ctrl-C or SIGTERM when what it has is noted."""
    Path("alerts.toml").write_text(RULE + 'every = "1s"\n' + hook(receiver))
    journal.completed("done")
    child = subprocess.Popen(
        [*PROGRAM, "alerts", "watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "HOOK": SECRET},
    )
    try:
        assert child.stderr is not None
        assert child.stdout is not None
        assert "by 1 rule of" in child.stderr.readline()
        journal.running("gone", ago_s=600)
        row = json.loads(child.stdout.readline())
        assert (row["rule"], row["state"]) == ("silent", "firing")
        (got,) = receiver.wait(1)
        assert got.json["type"] == "alert.firing"
        time.sleep(0.2)
        child.send_signal(number)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.communicate(timeout=30)
    (row,) = rows(cli("alerts", "list"))
    assert row["unsent"] == []
