"""No command concludes anything from a head alone: what is behind it counts, and a session without one is there."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import cli, rows
from tests.cli.conftest import Seeded

S = 1_000_000_000
AGO_NS = 600 * S


def told(session_id: str, *, ended: bool = True, outcome: str = "ok", ago_ns: int = AGO_NS) -> Sequence[JournalEvent]:
    """An agent's session, begun so long ago."""
    begun = time.time_ns() - ago_ns
    session = JournalBuilder(session_id, clock=iter(range(begun, begun + 99)).__next__)
    root = session.start("AGENT", "helper")
    session.end(session.start("TOOL", "search", parent=root))
    if ended:
        session.end(root, outcome)
    return session.events


@pytest.fixture
def behind(journal: Seeded) -> Seeded:
    """`done` ended, and its head says that it runs; `orphan` failed, and has no head; `whole` is as its head says."""
    events = told("done")
    journal.store.append(events[:-1])
    journal.write_head("done")
    journal.store.append(events[-1:])
    journal.store.append(told("orphan", outcome="error", ago_ns=AGO_NS + S))
    journal.store.append(told("whole", ago_ns=AGO_NS + 2 * S))
    journal.write_head("whole")
    return journal


def listed(*options: str) -> list[tuple[str, str]]:
    return [(row["session_id"], row["status"]) for row in rows(cli("ls", *options))]


def test_ls(behind: Seeded) -> None:
    """Sessions are listed, filtered and ordered as their events have them."""
    assert listed() == [("done", "COMPLETED"), ("orphan", "ERROR"), ("whole", "COMPLETED")]
    assert listed("--status", "completed") == [("done", "COMPLETED"), ("whole", "COMPLETED")]
    assert listed("--status", "error") == [("orphan", "ERROR")]
    assert listed("--status", "interrupted") == listed("--status", "processing") == []
    assert listed("-n", "2") == [("done", "COMPLETED"), ("orphan", "ERROR")]


@pytest.mark.parametrize(("name", "status"), [("done", "COMPLETED"), ("orphan", "ERROR"), ("orp", "ERROR")])
def test_status_and_show(behind: Seeded, name: str, status: str) -> None:
    """One session is shown as its events have it, by its id or the beginning of it."""
    assert rows(cli("status", name))[0]["status"] == status
    assert cli("show", name, "-o", "table").stdout.count("tool search") == 1


def test_query(behind: Seeded) -> None:
    """Rows and the bounds of time that leave sessions out are those of the events."""
    pytest.importorskip("duckdb")
    (row,) = rows(cli("query", "SELECT count(*) AS n, (SELECT count(*) FROM events) AS e FROM sessions"))
    assert (row["n"], row["e"]) == (3, 12)
    since = msgspec.json.decode(cli("show", "done", "--events", "-o", "jsonl").stdout.splitlines()[-1])["timestamp"]
    (row,) = rows(cli("query", f"SELECT count(*) AS n FROM events WHERE timestamp >= '{since}'"))
    assert row["n"] == 1


def test_sweep(behind: Seeded) -> None:
    """Nobody is called interrupted whose ending is there, and what only waited for a head gets one."""
    assert rows(cli("sweep")) == []
    assert [event.type for event in behind.store.read("done")].count("SESSION_INTERRUPTED") == 0
    assert list(behind.store.unsettled()) == []
    assert [head.status for head in behind.store.sessions()] == ["COMPLETED", "ERROR", "COMPLETED"]


def test_verify(behind: Seeded) -> None:
    """A head that lags is no damage; an event that was changed is found in a session without a head, too."""
    assert cli("verify").exit_code == 0
    behind.store.append([msgspec.structs.replace(event, digest="0" * 32) for event in told("changed")])
    result = cli("verify")
    assert result.exit_code == 5
    assert {row["session_id"] for row in rows(result)} == {"changed"}


def test_copy(behind: Seeded) -> None:
    """A copy has all sessions, and says of each what the original says."""
    (row,) = rows(cli("store", "copy", "sqlite:///.agent-journal/journal.db", "sqlite:///copy.db"))
    assert (row["sessions"], row["events"], row["differences"]) == (3, 12, [])
    assert listed("--store", "sqlite:///copy.db") == listed()


def test_prune(behind: Seeded) -> None:
    """A session that was come back to a moment ago stays whole, whatever its head says; the others go."""
    new = told("whole", ago_ns=S)
    behind.store.append(new)
    (row,) = rows(cli("store", "prune", "--older-than", "5m", "--yes"))
    assert row["sessions"] == 2
    assert {event.event_id for event in new} <= {event.event_id for event in behind.store.read("whole")}
    assert listed() == [("whole", "COMPLETED")]


def test_repair(behind: Seeded) -> None:
    """Heads are written for all, and it is said what was found; a second time there is nothing."""
    head = behind.store.head("whole")
    assert head is not None
    behind.store.write_head(msgspec.structs.replace(head, steps=77))
    result = cli("store", "repair")
    assert {(row["session_id"], row["found"], row["written"]) for row in rows(result)} == {
        ("done", "1 event behind", True),
        ("orphan", "no head", True),
        ("whole", "other than its events", True),
    }
    assert "looked at 3 sessions: 3 findings, 3 heads written" in result.stderr
    assert rows(again := cli("store", "repair")) == []
    assert "nothing wrong" in again.stderr
    for name in ("done", "orphan", "whole"):
        assert current(behind.store, name) == behind.store.head(name)
