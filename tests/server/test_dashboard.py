"""The dashboard's panels: what each shows is what its SQL makes of the same journal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.query import query
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.server.dashboard import Asked, Board
from otel_agent_journal.server.wire_dashboard import Dashboard, Shares
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.query.journals import keep

HOUR_NS = 3_600 * 10**9
NOW_NS = EPOCH_2026_NS + 30 * HOUR_NS
SESSIONS = 24


def a_session(number: int) -> list[JournalEvent]:
    """Return session `number`, which begins so many hours after the epoch, as an agent's that has a user and tags."""
    clock = SteppingClock(EPOCH_2026_NS + number * HOUR_NS, step_ns=(number + 1) * 7_000_000)
    journal = JournalBuilder(f"s{number}", writer=f"w{number}", clock=clock)
    about = {"user": ("ann", "bo'b")[number % 2], "tags": ["vip", "eu"][: number % 3], "metadata": {"plan": "gold"}}
    root = journal.start("AGENT", ("researcher", "support")[number % 2], details=about)
    model = journal.start("MODEL", "claude", parent=root)
    reported = {"attributes": {"gen_ai.usage.cost": 0.25}} if number % 4 else {}
    journal.end(model, usage=Usage(input_tokens=100 + number, output_tokens=20), details=reported)
    for name in ("search", "fetch")[: 1 + number % 2]:
        tool = journal.start("TOOL", name, parent=root, details={"input": {"query": "x"}})
        if number % 5 == 0:
            journal.end(tool, "error", error=ErrorInfo(type="TimeoutError", message="no answer", code="Slow"))
        else:
            journal.end(tool, details={"output": "a page"})
    if number % 7 == 3:
        return journal.events  # its process is silent: lost
    if number % 5 == 0:
        journal.end(root, "error", details={"passed_through": True})
    else:
        journal.end(root)
    return journal.events


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JournalStore]:
    """Two dozen sessions."""
    made = SqliteStore(tmp_path / "j.db")
    for number in range(SESSIONS):
        keep(made, a_session(number))
    yield made
    made.close()


@pytest.fixture
def journal(store: JournalStore, tmp_path: Path) -> Journal:
    """The sessions as readers see them, thirty hours after the first began."""
    found = Journal(store, tmp_path / "spool")
    found.clock = lambda: NOW_NS
    return found


def rows(journal: Journal, sql: str) -> list[dict[str, Any]]:
    """Return what a panel's SQL makes of the journal, `ago()` counted from the journal's now."""
    now = f"(TIMESTAMP '1970-01-01' + INTERVAL {NOW_NS // 1000} microseconds)"
    asked = sql.replace("ago(", f"({now} - ")
    with query(journal.store, asked, now_ns=NOW_NS, price=journal.price) as result:
        return [dict(zip(result.columns, row, strict=True)) for row in result]


FILTERS = [
    {"since": "all"},
    {"since": "24h", "agent": "support"},
    {"since": "2026-01-01T12:00:00.5Z", "user": "bo'b", "tags": ("vip", "plan=gold")},
    {"since": "24h", "states": ("ERROR", "lost"), "until": "2026-01-01T20:00:00Z"},
]


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_panels_show_what_their_sql_says(journal: Journal, asked: dict[str, Any]) -> None:
    """Each panel's SQL, as it is copied, makes of the journal what the panel shows, under every filter."""
    board = Board(lambda: journal).dashboard(Asked(**asked))
    assert not board.reading
    (totals,) = rows(journal, board.totals.sql)
    for name, value in totals.items():
        assert getattr(board.totals, name) == (pytest.approx(value) if value is not None else None) or (
            value is None and getattr(board.totals, name) == 0
        ), name
    assert [(one["status"], one["reason"], one["sessions"]) for one in rows(journal, board.states.sql)] == [
        (one.status, one.reason, one.sessions) for one in board.states.rows
    ]
    for panel in (board.agents, board.users, board.tags):
        same_shares(panel, rows(journal, panel.sql))
    assert rows(journal, board.causes.sql) == [
        {name: getattr(one, name) for name in ("cause", "name", "errors", "sessions")} for one in board.causes.rows
    ]
    assert rows(journal, board.tools.sql) == [
        {name: getattr(one, name) for name in ("name", "calls", "failed", "p50_ms", "p95_ms")}
        for one in board.tools.rows
    ]
    same_lanes(board, rows(journal, board.lanes.sql))


def same_shares(panel: Shares, found: list[dict[str, Any]]) -> None:
    """Assert that a panel shows these rows."""
    assert [one["name"] for one in found] == [one.name for one in panel.rows]
    for row, one in zip(found, panel.rows, strict=True):
        for name, value in row.items():
            assert getattr(one, name) == (None if value is None else pytest.approx(value) if name != "name" else value)
        assert sum(one.began) <= one.sessions


def same_lanes(board: Dashboard, found: list[dict[str, Any]]) -> None:
    """Assert that the timeline shows these rows."""
    shown = {
        (lane.type, round(board.lanes.from_ms + number * board.lanes.width_ms)): events
        for lane in board.lanes.rows
        for number, events in lane.points
    }
    assert shown == {(one["event_type"], _ms(one["at"])): one["events"] for one in found}
    assert all(board.lanes.from_ms <= at <= board.lanes.until_ms for _, at in shown)


def _ms(text: str) -> int:
    from otel_agent_journal.codec import parse_timestamp

    return parse_timestamp(text) // 1_000_000


def test_the_timeline_lists_the_latest_events(journal: Journal) -> None:
    """The timeline's table has the latest events of the chosen types, as its SQL does, and counts the others."""
    found = Board(lambda: journal).timeline(Asked(since="all"))
    assert [row["event_id"] for row in rows(journal, found.sql)] == [one.event_id for one in found.events]
    assert len(found.events) + found.more == sum(lane.events for lane in found.lanes.rows)
    ended = Board(lambda: journal).timeline(Asked(since="24h", agent="support"), ["TOOL_END", "TOOL_ERROR"])
    assert [row["event_id"] for row in rows(journal, ended.sql)] == [one.event_id for one in ended.events]
    assert {one.type for one in ended.events} == {"TOOL_END", "TOOL_ERROR"}
    assert {one.text for one in ended.events} == {"a page", "TimeoutError: no answer"}


def test_a_number_leads_to_what_it_counts(journal: Journal) -> None:
    """The sessions that a cause or a tool is counted in are those that its number leads to."""
    board = Board(lambda: journal)
    shown = board.dashboard(Asked(since="all"))
    for cause in shown.causes.rows:
        found = board.sessions_with(Asked(since="all"), cause=cause.cause)
        assert len(found) >= cause.sessions
    assert board.sessions_with(Asked(since="all"), cause="lost") == {"s3", "s10", "s17"}
    assert len(board.sessions_with(Asked(since="all"), tool="fetch")) == SESSIONS // 2


def test_a_window_is_chosen_that_has_something(store: JournalStore, journal: Journal) -> None:
    """Where no window is asked for, it is the shortest of a day, a week, a month and all that has a session."""
    assert Board(lambda: journal).dashboard(Asked()).window == "24h"
    journal.clock = lambda: NOW_NS + 72 * HOUR_NS
    assert Board(lambda: journal).dashboard(Asked()).window == "7d"
    journal.clock = lambda: NOW_NS + 7_200 * HOUR_NS
    assert Board(lambda: journal).dashboard(Asked()).window == "all"
    empty = Journal(MemoryStore("memory://empty"), journal.spool)
    assert Board(lambda: empty).dashboard(Asked()).totals.sessions == 0


def test_what_there_was_no_time_to_read_shortens_the_window(journal: Journal) -> None:
    """Of events that there was no time to read none are counted, the panels say since when, and go on later."""
    steps = count()
    board = Board(lambda: journal, monotonic=lambda: next(steps) * 0.2, at_once_s=0.7)
    first = board.dashboard(Asked(since="all"))
    assert first.reading
    assert first.events_since_ms is not None
    assert rows(journal, first.tools.sql) == [
        {name: getattr(one, name) for name in ("name", "calls", "failed", "p50_ms", "p95_ms")}
        for one in first.tools.rows
    ]
    same_lanes(first, rows(journal, first.lanes.sql))
    for _ in range(200):
        last = board.dashboard(Asked(since="all"))
        if not last.reading:
            break
    assert not last.reading
    assert sum(lane.events for lane in last.lanes.rows) == last.totals.events


def test_what_arrives_is_counted_once(store: JournalStore, journal: Journal) -> None:
    """What arrives after a first look, late or in time, is counted once, and costs no second reading of the rest."""
    seconds = count(step=1000)
    board = Board(lambda: journal, monotonic=lambda: float(next(seconds)), at_once_s=1e9)
    before = board.dashboard(Asked(since="all"))
    late = JournalBuilder("s2", writer="w9", clock=SteppingClock(EPOCH_2026_NS + HOUR_NS))
    late.end(late.start("TOOL", "late"))
    keep(store, late.events)
    keep(store, a_session(SESSIONS))
    after = board.dashboard(Asked(since="all"))
    arrived = len(late.events) + len(a_session(SESSIONS))
    assert sum(lane.events for lane in after.lanes.rows) == sum(lane.events for lane in before.lanes.rows) + arrived
    assert rows(journal, after.tools.sql)[0]["calls"] == after.tools.rows[0].calls


def test_many_who_ask_cost_what_one_does(store: JournalStore, journal: Journal) -> None:
    """An answer holds for seconds: who asks again in that time has it without a look at the store."""
    asked: list[object] = []
    heads = journal.heads
    journal.heads = lambda *args, **kwargs: asked.append(args) or heads(*args, **kwargs)  # type: ignore[method-assign]
    board = Board(lambda: journal)
    assert all(board.dashboard(Asked(since="24h")) is board.dashboard(Asked(since="24h")) for _ in range(50))
    assert len(asked) == 1


def test_a_time_that_is_none_is_refused(journal: Journal) -> None:
    """A time that is none is named, with the forms that are taken."""
    with pytest.raises(ValueError, match="'soon' is no time"):
        Board(lambda: journal).dashboard(Asked(since="soon"))
