"""`ls`: filters, and what a table says beside the contract."""

from __future__ import annotations

import re
import time
from hashlib import blake2b

import pytest
from syrupy.assertion import SnapshotAssertion

from otel_agent_journal.cli.cells import cell_len
from otel_agent_journal.codec import DIGEST_BYTES, format_timestamp, parse_timestamp
from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.store.protocol import BlobStore
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import SteppingClock
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


@pytest.fixture
def told(journal: Seeded) -> Seeded:
    """Sessions of two users and tenants, one of which says something, in a value that is kept apart too."""
    for session_id, user, tenant in (("a1", "ann", "acme"), ("b1", "bob", "acme"), ("a2", "ann", "other")):
        builder = JournalBuilder(session_id)
        root = builder.start("AGENT", "x", details={"user": user, "metadata": {"tenant": tenant}, "tags": ["eu"]})
        tool = builder.start("TOOL", "search", parent=root, details={"input": {"query": f"Straße of {user}"}})
        builder.end(tool, "error", error=ErrorInfo(type="KeyError", message=f"no such {tenant}"))
        builder.end(root)
        journal.keep(builder)
    data = b'"a long tale of a needle in a haystack"'
    digest = blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
    assert isinstance(journal.store, BlobStore)
    journal.store.put_blob("big", digest, data)
    builder = JournalBuilder("big")
    builder.end(builder.start("TOOL", "read"), details={"output": {"$blob": digest, "preview": "a long"}})
    journal.keep(builder)
    return journal


def test_user_and_metadata_filter(told: Seeded) -> None:
    """By whose a session is, and what its run was given; all that is asked for must be there."""
    assert sorted(ids("--user", "ann")) == ["a1", "a2"]
    assert ids("--user", "ann", "--meta", "tenant=acme") == ["a1"]
    assert ids("--meta", "tenant=acme", "--meta", "user=bob", "--tag", "eu") == ["b1"]
    assert ids("--user", "nobody") == []
    assert cli("ls", "--meta", "tenant").exit_code == 2


def test_dates_filter(many: Seeded) -> None:
    """A date is a day of the reader's: --since its first moment, --until its last."""
    built = JournalBuilder("old", clock=SteppingClock(parse_timestamp("2026-01-15T23:30:00Z")))
    built.end(built.start("AGENT", "a"))
    many.keep(built)
    assert ids("--until", "2026-01-15", "--since", "2026-01-15") == ["old"]
    assert ids("--until", "2026-01-15 23:30", "--since", "2026-01-15T23:30") == ["old"]
    assert ids("--until", "2026-01-15 23:29", "--since", "2026-01-15") == []
    assert "old" not in ids("--since", "2026-01-16")
    assert "live" in ids("--since", "yesterday", "--until", "today")
    assert cli("ls", "--since", "2026-13-01").exit_code == cli("ls", "--until", "soon").exit_code == 2


def test_a_text_is_found_in_content(told: Seeded) -> None:
    """In whatever case, in inputs, errors, names, and in what is kept apart; where is said, and how much was read."""
    assert sorted(ids("--grep", "STRASSE OF ANN")) == ["a1", "a2"]
    assert ids("--grep", "no such other") == ["a2"]
    assert ids("--grep", "needle in") == ["big"]
    assert sorted(ids("--grep", "search", "--meta", "tenant=acme")) == ["a1", "b1"]
    assert ids("--grep", "nowhere") == []
    assert len(ids("--grep", "search", "-n", "1")) == 1
    done = cli("ls", "--grep", "no such other")
    assert rows(done)[0]["match"] | {"event_id": "", "step_id": ""} == {
        "event_id": "",
        "event_type": "TOOL_ERROR",
        "step_id": "",
        "number": 2,
        "name": "search",
        "text": "no such other",
    }
    assert "searched 4 sessions: names, inputs, outputs" in done.stderr
    text = terminal("ls", "--grep", "needle").text
    assert "tale of a needle in" in text


WIDE = ("会议记录-二〇二六年十一月三十日-东京大阪名古屋-1", "👩‍👩‍👧" * 12 + "-end", "שלום-עולם-" * 6)
ARN = "arn:aws:bedrock-agentcore:eu-central-1:123456789012:runtime/support-agent/session/" + "0" * 17


@pytest.mark.parametrize("columns", [20, 60, 80, 120, 200])
def test_ids_of_any_script_and_length(journal: Seeded, columns: int, snapshot: SnapshotAssertion) -> None:
    """No line is wider than the terminal, every session can be told from every other, what has no room is named."""
    for number, session_id in enumerate((*WIDE, f"{ARN}1", f"{ARN}2")):
        builder = JournalBuilder(session_id, clock=SteppingClock(time.time_ns() - 9000 * 10**9))
        root = builder.start("AGENT", ("研究助手", "emoji 👍🏽", "support-agent-with-a-long-name")[number % 3])
        error = ErrorInfo(type="KeyError", message="the quick brown fox jumps over the lazy dog, 二〇二六")
        builder.end(root, "error", error=error) if number == 4 else builder.end(root)
        journal.keep(builder)
    lines = terminal("ls", columns=columns).text.splitlines()
    table = lines[1:6]
    assert max(map(cell_len, lines)) <= columns
    assert len({line.split("  ")[0] for line in table}) == len(table)
    assert all(name in lines[0] for name in ("SESSION", "STATUS")) or columns < 30
    assert columns < 80 or all(name in lines[0] for name in ("STEPS", "STARTED"))
    left_out = [name for name in ("AGENT", "STEPS", "ERR", "TOKENS", "STARTED", "DURATION") if name not in lines[0]]
    assert all(name in lines[-1] for name in left_out) or columns < 60
    assert "\n".join(lines) == snapshot


def test_colours_are_those_of_the_terminals_own_theme(many: Seeded) -> None:
    """Only the six of the palette, bold and dim: every theme, light or dark, makes these readable on its ground."""
    raw = terminal("ls").raw
    used = {code for codes in re.findall(r"\x1b\[([\d;]*)m", raw) for code in codes.split(";")}
    assert used <= {"0", "1", "2", "31", "32", "33", "34", "35", "36"}
