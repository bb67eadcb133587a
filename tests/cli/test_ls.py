"""`ls`: filters, and what a table says beside the contract."""

from __future__ import annotations

import time

import pytest

from otel_agent_journal.codec import format_timestamp
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded


def ids(*args: str) -> list[str]:
    result = cli("ls", *args)
    assert result.exit_code == 0, result.stderr
    return [row["session_id"] for row in rows(result)]


@pytest.fixture
def many(journal: Seeded) -> Seeded:
    """A session of every kind."""
    journal.completed("done")
    journal.failed("broken")
    journal.running("live")
    journal.running("silent", ago_s=3600, writer="d" * 32)
    return journal


def test_sessions_come_latest_first(many: Seeded) -> None:
    """The session with the latest event stands first."""
    assert ids() == ["live", "silent", "done", "broken"]


def test_status_filters_by_what_is_shown(many: Seeded) -> None:
    """A session whose process went silent is found as INTERRUPTED, and not as PROCESSING, though stored as such."""
    assert ids("--status", "PROCESSING") == ["live"]
    assert ids("--status", "interrupted") == ["silent"]
    assert ids("--status", "ERROR", "--status", "COMPLETED") == ["done", "broken"]
    assert ids("--status", "interrupted", "--status", "processing") == ["live", "silent"]
    assert ids("--status", "PENDING") == []


def test_a_limit_counts_after_the_filter(many: Seeded) -> None:
    """-n gives so many of what was asked for."""
    assert ids("-n", "1", "--status", "INTERRUPTED") == ["silent"]
    assert ids("-n", "2") == ["live", "silent"]


def test_agent_and_since_filter(many: Seeded) -> None:
    """--agent is exact; --since is a span or a time."""
    assert ids("--agent", "researcher") == ["done"]
    assert ids("--since", "10m") == ["live"]
    assert ids("--since", format_timestamp(time.time_ns() - 2 * 3600 * 10**9)) == ["live", "silent"]


def test_the_table_says_what_runs_and_why_it_stopped(many: Seeded) -> None:
    """PROCESSING names the step it is in, INTERRUPTED the reason and since when."""
    text = terminal("ls").text
    live, silent = (next(line for line in text.splitlines() if line.startswith(name)) for name in ("live", "silent"))
    assert "▶ tool fetch" in live
    assert "lost 1 h ago" in silent


def test_the_table_shows_the_latest_fifty(journal: Seeded) -> None:
    """A person gets a screen and is told so; data is all of it; -n says otherwise."""
    for number in range(55):
        journal.failed(f"s{number:02}")
    text = terminal("ls").text
    assert len(text.splitlines()) == 52
    assert "the latest 50; -n N shows more" in text
    assert len(terminal("ls", "-n", "55").text.splitlines()) == 56
    assert len(ids()) == 55


def test_an_empty_listing_says_so(journal: Seeded) -> None:
    """A table without rows is a sentence; data without rows is nothing."""
    journal.store.tip()
    assert "no sessions match" in terminal("ls").text
    assert cli("ls").stdout == ""
