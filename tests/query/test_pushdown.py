"""What a query reads of the store is what it needs: counted at the store itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from otel_agent_journal.query import query
from otel_agent_journal.query.bounds import Bounds
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.query.conftest import SESSIONS
from tests.query.journals import EACH, HOUR_NS, Counted, a_session, keep, rows_of

ALL = SESSIONS * EACH


@pytest.mark.parametrize(
    ("sql", "sessions", "events"),
    [
        ("SELECT * FROM events WHERE session_id = 's1'", ["s1"], EACH),
        ("SELECT * FROM events WHERE 's1' = session_id AND level = 'INFO'", ["s1"], EACH),
        ("SELECT * FROM events WHERE session_id IN ('s1', 's4', 'none')", ["none", "s1", "s4"], 2 * EACH),
        ("SELECT * FROM events WHERE session_id = 's1' OR session_id = 's2'", ["s1", "s2"], 2 * EACH),
        ("SELECT * FROM events WHERE session_id = 's1' AND session_id = 's2'", [], 0),
        ("SELECT * FROM (SELECT * FROM events) WHERE session_id = 's5'", ["s5"], EACH),
        ("WITH e AS (SELECT * FROM events) SELECT count(*) FROM e WHERE session_id = 's5'", ["s5"], EACH),
        ("SELECT count(*) FROM steps WHERE session_id = 's3'", ["s3"], EACH),
        ("SELECT count(*) FROM tools JOIN models USING (session_id) WHERE session_id = 's3'", ["s3", "s3"], 2 * EACH),
        ("SELECT count(*) FROM model_calls WHERE session_id = 's3'", ["s3"], EACH),
        ("SELECT * FROM events WHERE session_id LIKE 's2%'", ["s2"], EACH),
        ("SELECT * FROM events WHERE starts_with(session_id, 's2')", ["s2"], EACH),
        ("SELECT * FROM events WHERE timestamp >= '2026-01-01 04:00:00'", ["s4", "s5"], 2 * EACH),
        ("SELECT * FROM events WHERE timestamp_ns >= 1767240000000000000", ["s4", "s5"], 2 * EACH),
        ("SELECT * FROM events WHERE timestamp < '2026-01-01 01:00:00'", ["s0", "s1"], EACH + 2),
        (
            "SELECT * FROM events WHERE timestamp BETWEEN '2026-01-01 02:00:00.003' AND '2026-01-01 02:00:00.005'",
            ["s2"],
            4,
        ),
        ("SELECT * FROM events WHERE timestamp = '2026-01-01 02:00:00.003'", ["s2"], 2),
        ("SELECT * FROM events WHERE timestamp > ago(INTERVAL 1 hour)", [], 0),
        ("SELECT * FROM events WHERE session_id = 's2' AND timestamp >= '2026-01-01 02:00:00.008'", ["s2"], 1),
        ("SELECT * FROM steps WHERE started_at >= '2026-01-01 04:00:00'", ["s4", "s5"], 2 * EACH),
        ("SELECT * FROM tools WHERE ended_ns < 1767229200000000000", ["s0", "s1"], 2 * EACH),
        (
            "SELECT * FROM events WHERE session_id = 's1' OR (session_id = 's2' AND level = 'ERROR')",
            ["s1", "s2"],
            2 * EACH,
        ),
        (
            "SELECT count(*) FROM events a JOIN events b USING (session_id) WHERE a.session_id = 's1'",
            ["s1", "s1"],
            2 * EACH,
        ),
    ],
)
def test_only_what_is_needed_is_read(counted: Counted, sql: str, sessions: list[str], events: int) -> None:
    """Sessions and spans of time that a query names, and no other events, are read."""
    plain = len(rows_of(counted, sql))
    assert sorted(session_id for session_id, _ in counted.reads) == sessions
    assert counted.events_read == events
    assert plain <= max(events, 1) * EACH


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM events WHERE level = 'ERROR'",
        "SELECT * FROM events WHERE session_id = 's1' OR level = 'ERROR'",
        "SELECT * FROM events WHERE session_id != 's1'",
        "SELECT * FROM events WHERE NOT session_id = 's1'",
        "SELECT * FROM events WHERE lower(session_id) = 's1'",
        "SELECT * FROM events WHERE session_id > 's1'",
        "SELECT * FROM events WHERE date_trunc('hour', timestamp) = '2026-01-01 02:00:00'",
        "SELECT * FROM events WHERE session_id IN (SELECT 's1')",
        "SELECT count(*) FROM events a, (SELECT * FROM events WHERE session_id = 's1') b",
        "SELECT * FROM events WHERE session_id = 's1' OR timestamp > '2026-01-01 04:00:00'",
        "SELECT * FROM events WHERE timestamp = 'infinity' OR timestamp < 'infinity'",
    ],
)
def test_what_cannot_be_left_to_the_store_is_read_and_filtered(counted: Counted, sql: str) -> None:
    """Any other condition reads every event, and is right all the same."""
    rows_of(counted, sql)
    assert counted.events_read >= ALL


@pytest.mark.parametrize(("table", "kind"), [("steps", "AGENT"), ("tools", "TOOL"), ("models", "MODEL")])
def test_a_step_may_begin_before_its_session(counted: Counted, table: str, kind: str) -> None:
    """A step of which only the END is there began a duration earlier, before any event, and is found by that time."""
    journal = JournalBuilder("headless", clock=SteppingClock(EPOCH_2026_NS - HOUR_NS))
    ending = journal.end(journal.start(kind, "search"))
    keep(counted, [ending])
    began_ns = ending.timestamp_ns - (ending.duration_ns or 0)
    assert began_ns < ending.timestamp_ns
    for condition in (
        f"started_ns <= {began_ns}",
        f"started_ns = {began_ns}",
        "started_at < '2025-12-31 23:00:00.0005'",
    ):
        assert rows_of(counted, f"SELECT session_id FROM {table} WHERE {condition}") == [("headless",)]


def test_the_first_time_there_is(counted: Counted) -> None:
    """A bound that is the least number of 64 bits leaves no place before it to begin at: all is read."""
    sql = "SELECT count(*) FROM events WHERE timestamp_ns > -9223372036854775808"
    assert rows_of(counted, sql) == [(ALL,)]
    assert {after for _, after in counted.reads} == {None}


@pytest.mark.parametrize(
    ("sql", "wanted", "heads"),
    [
        ("SELECT * FROM sessions", SessionFilter(), SESSIONS),
        ("SELECT * FROM sessions WHERE session_id LIKE 's4%'", SessionFilter(id_prefix="s4"), 1),
        (
            "SELECT * FROM sessions WHERE updated_at >= '2026-01-01 04:00:00'",
            SessionFilter(since_ns=EPOCH_2026_NS + 4 * HOUR_NS),
            2,
        ),
        (
            "SELECT * FROM sessions WHERE updated_at < '2026-01-01 02:00:00'",
            SessionFilter(until_ns=EPOCH_2026_NS + 2 * HOUR_NS),
            2,
        ),
        ("SELECT * FROM sessions WHERE status = 'ERROR'", SessionFilter(statuses=("ERROR",)), 2),
        (
            "SELECT * FROM sessions WHERE status IN ('ERROR', 'PENDING')",
            SessionFilter(statuses=("ERROR", "PENDING")),
            2,
        ),
        # A head in PROCESSING may be judged to be INTERRUPTED.
        (
            "SELECT * FROM sessions WHERE status = 'INTERRUPTED'",
            SessionFilter(statuses=("INTERRUPTED", "PROCESSING")),
            0,
        ),
        ("SELECT * FROM sessions WHERE status != 'ERROR'", SessionFilter(), SESSIONS),
        ("SELECT * FROM sessions WHERE agent = 'nobody'", SessionFilter(agent="nobody"), 0),
        ("SELECT count(*) FROM sessions WHERE agent IN ('nobody', 'researcher')", SessionFilter(brief=True), SESSIONS),
        (
            "SELECT agent, count(*) FROM sessions WHERE agent = 'researcher' AND status = 'ERROR' GROUP BY agent",
            SessionFilter(statuses=("ERROR",), agent="researcher", brief=True),
            2,
        ),
        (
            "SELECT * FROM sessions WHERE status = 'ERROR' AND ended_at >= '2026-01-01 04:00:00'",
            SessionFilter(statuses=("ERROR",), since_ns=EPOCH_2026_NS + 4 * HOUR_NS),
            1,
        ),
        (
            "SELECT * FROM sessions WHERE started_at BETWEEN '2026-01-01 02:00:00' AND '2026-01-01 03:30:00'",
            SessionFilter(since_ns=EPOCH_2026_NS + 2 * HOUR_NS),
            4,
        ),
    ],
)
def test_listings_are_narrowed(counted: Counted, sql: str, wanted: SessionFilter, heads: int) -> None:
    """Conditions on a session's id and times reach the store's listing; no event is read for it."""
    rows_of(counted, sql)
    assert counted.listings == [wanted]
    assert (counted.heads_read, counted.events_read) == (heads, 0)


@pytest.mark.parametrize(
    ("sql", "brief"),
    [
        ("SELECT agent, count(*) FROM sessions GROUP BY agent", True),
        ("SELECT count(*) FROM sessions", True),
        ("SELECT count(*) FROM sessions WHERE status = 'ERROR' AND lower(agent) = 'researcher'", True),
        ("SELECT session_id FROM sessions WHERE updated_at > '2026-01-01 02:00:00' ORDER BY updated_at DESC", True),
        ("SELECT status, max(updated_ns) FROM sessions WHERE session_id LIKE 's%' GROUP BY status", True),
        ("SELECT count(*) FROM sessions WHERE steps > 1", False),
        ("SELECT agent FROM sessions ORDER BY started_at", False),
        ("SELECT count(*) FROM sessions WHERE started_at < '2026-01-01 02:00:00'", False),
        ("SELECT count(*) FROM sessions WHERE ended_at > '2026-01-01 02:00:00'", False),
        ("SELECT agent, sum(errors) FROM sessions GROUP BY agent", False),
        ("SELECT count(*) FROM events JOIN sessions USING (session_id)", True),
        ("SELECT count(*) FROM events", False),
    ],
)
def test_a_brief_listing_will_do(counted: Counted, sql: str, brief: bool) -> None:
    """A store is told where a query needs no more of sessions than a listing shows, filters included."""
    rows_of(counted, sql)
    assert any(wanted is not None and wanted.brief for wanted in counted.listings) == brief


def test_what_can_match_no_session_reads_none(counted: Counted) -> None:
    """A session has one status and one agent; what asks for two at once is not even listed."""
    assert rows_of(counted, "SELECT * FROM sessions WHERE agent = 'researcher' AND agent = 'other'") == []
    assert counted.listings == []


def test_what_was_lost_has_ended_after_its_last_event(counted: Counted) -> None:
    """Of a process that has gone silent the last heartbeat is the end: it is found by that time, and by its status."""
    journal = JournalBuilder("lost", clock=SteppingClock(EPOCH_2026_NS - 10 * HOUR_NS))
    journal.start("AGENT", "researcher")
    keep(counted, journal.events)
    head = counted.head("lost")
    assert head is not None
    seen_ns = EPOCH_2026_NS + 5 * HOUR_NS + HOUR_NS // 2
    assert counted.write_head(msgspec.structs.replace(head, writers=dict.fromkeys(head.writers, seen_ns))) is not None
    for condition in (
        "ended_at >= '2026-01-01 05:00:00'",
        "ended_ns >= 1767243600000000000 AND status = 'INTERRUPTED'",
    ):
        counted.forget()
        found = rows_of(counted, f"SELECT session_id FROM sessions WHERE {condition} ORDER BY ALL")
        assert found == [("lost",), ("s5",)][: 1 if "INTERRUPTED" in condition else 2]
        assert counted.heads_read <= 2


def test_a_named_session_needs_no_listing(counted: Counted) -> None:
    """A session that is named is read by its id."""
    rows_of(counted, "SELECT * FROM sessions WHERE session_id = 's1'")
    rows_of(counted, "SELECT * FROM events WHERE session_id = 's1'")
    rows_of(counted, "SELECT * FROM models WHERE session_id = 's1'")
    assert counted.listings == []


def test_tables_that_are_not_named_are_not_read(counted: Counted) -> None:
    """SQL without a table reads nothing; with one, nothing for the others."""
    rows_of(counted, "SELECT 1")
    assert (counted.listings, counted.reads) == ([], [])
    with query(counted, "SELECT agent FROM sessions") as result:
        list(result)
        assert [read.table for read in result.read] == ["sessions"]


def test_sessions_that_are_given_are_the_only_ones(counted: Counted) -> None:
    """`sessions` narrows every table, whatever the SQL says."""
    sql = "SELECT count(*) FROM events"
    assert rows_of(counted, sql, sessions=["s1", "s2"]) == [(2 * EACH,)]
    assert rows_of(counted, sql + " WHERE session_id = 's3'", sessions=["s1"]) == [(0,)]
    assert rows_of(counted, "SELECT session_id FROM sessions", sessions=["s1"]) == [("s1",)]
    assert {session_id for session_id, _ in counted.reads} == {"s1", "s2"}
    assert counted.listings == []


def test_a_limit_ends_the_reading(counted: Counted) -> None:
    """Rows stream: who takes a few of many does not wait for all."""
    for number in range(SESSIONS, 900):
        keep(counted, a_session(number).events)
    counted.forget()
    assert len(rows_of(counted, "SELECT event_id, details FROM events LIMIT 5")) == 5
    assert counted.events_read < 3_000
    with query(counted, "SELECT * FROM events") as result:
        counted.forget()
        next(iter(result))
        assert 0 < counted.events_read < 900 * EACH


def test_what_was_read_is_said(counted: Counted) -> None:
    """A result tells, table by table, how much of the store was read and within which bounds."""
    sql = "SELECT * FROM events JOIN sessions USING (session_id) WHERE session_id = 's1'"
    with query(counted, sql) as result:
        assert {read.events for read in result.read} == {0}
        list(result)
        read = {one.table: one for one in result.read}
        assert (read["events"].sessions, read["events"].events, read["events"].scans) == (1, EACH, 1)
        assert (read["sessions"].sessions, read["sessions"].events) == (1, 0)
        assert read["events"].bounds == Bounds(session_ids=frozenset(("s1",)))
        assert "Scan" in result.plan


BOUNDS: list[dict[str, Any]] = [
    {},
    {"session_ids": frozenset("ab")},
    {"session_ids": frozenset("b"), "since_ns": 5},
    {"id_prefix": "a"},
    {"id_prefix": "ab", "until_ns": 7},
    {"since_ns": 1, "until_ns": 3, "updated_until_ns": 3},
    {"statuses": frozenset(("ERROR",)), "ended_since_ns": 5},
    {"statuses": frozenset(("ERROR", "PENDING")), "agents": frozenset("x"), "ended_since_ns": 6},
]


@pytest.mark.parametrize("one", BOUNDS)
@pytest.mark.parametrize("two", BOUNDS)
def test_bounds_never_lose_a_row(one: dict[str, Any], two: dict[str, Any]) -> None:
    """What lies within both bounds lies within their meeting, what lies within one of them within their union."""
    left, right = Bounds(**one), Bounds(**two)
    for session_id in ("a", "ab", "b", "c"):
        for at in (0, 1, 3, 5, 6, 9):
            for status in ("ERROR", "PENDING"):
                inside = [_holds(bounds, session_id, at, status) for bounds in (left, right)]
                assert _holds(left.both(right), session_id, at, status) >= all(inside)
                assert _holds(left.either(right), session_id, at, status) >= any(inside)


def _holds(bounds: Bounds, session_id: str, at: int, status: str) -> bool:
    return (
        (bounds.statuses is None or status in bounds.statuses)
        and (bounds.agents is None or session_id[0] in bounds.agents)
        and (bounds.ended_since_ns is None or at >= bounds.ended_since_ns)
        and (bounds.session_ids is None or session_id in bounds.session_ids)
        and (bounds.id_prefix is None or session_id.startswith(bounds.id_prefix))
        and (bounds.since_ns is None or at >= bounds.since_ns)
        and (bounds.until_ns is None or at <= bounds.until_ns)
        and (bounds.updated_until_ns is None or at <= bounds.updated_until_ns)
    )
