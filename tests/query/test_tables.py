"""What SQL says is what plain Python says of the same events, on the store in memory and on SQLite."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from otel_agent_journal.codec import format_timestamp, parse_timestamp, to_neutral
from otel_agent_journal.event import Usage
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.query import TABLES, query
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.testing.builders import JournalBuilder
from tests.query.conftest import DIALOG, SESSIONS
from tests.query.journals import EACH, a_session, keep, rows_of

IDS = [f"s{number}" for number in range(SESSIONS)]


def of(session_id: str) -> list[Any]:
    """Return the events of a session."""
    return [event for event in DIALOG if event.session_id == session_id]


def tree(session_id: str) -> StepTree:
    """Return the steps of a session."""
    return fold_steps(of(session_id))


def records(store: JournalStore, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a query by column."""
    with query(store, sql) as result:
        return [dict(zip(result.columns, row, strict=True)) for row in result]


def test_events_are_the_json_lines(store: JournalStore) -> None:
    """Each row of events has what the event's JSON line has, under its names; what is absent is null."""
    rows = records(store, "SELECT * FROM events ORDER BY timestamp, event_id")
    assert [row["event_id"] for row in rows] == [event.event_id for event in DIALOG]
    for row, event in zip(rows, DIALOG, strict=True):
        line = to_neutral(event)
        usage = line.pop("usage", {})
        said = {key: row[key] for key in line}
        assert said == line
        assert row["timestamp_ns"] == event.timestamp_ns
        used = (0 if event.usage else None,)
        assert [row[name] for name in Usage.__struct_fields__] == [
            usage.get(name, used[0]) for name in Usage.__struct_fields__
        ]
        absent = row.keys() - line.keys() - {*Usage.__struct_fields__, "timestamp_ns", "duration_ms"}
        assert {row[key] for key in absent if not key.startswith("error_")} <= {None}
        assert row["error_code"] == (event.error.code if event.error else None)
        assert row["duration_ms"] == (None if event.duration_ns is None else event.duration_ns / 1e6)


def test_sessions_are_the_heads(store: JournalStore) -> None:
    """Each row of sessions is the head that its events fold to."""
    heads: list[SessionHead] = [head_of(fold(of(one)), one) for one in IDS]
    rows = records(store, "SELECT * FROM sessions ORDER BY session_id")
    for row, head in zip(rows, heads, strict=True):
        same = ("session_id", "status", "reason", "agent", "events", "steps", "errors", "started_ns", "updated_ns")
        assert [row[name] for name in same] == [getattr(head, name) for name in same]
        assert row["input_tokens"] == head.input_tokens
        assert row["ended_at"] == format_timestamp(head.ended_ns or 0)
        assert row["duration_ns"] == (head.ended_ns or 0) - head.started_ns
        assert row["writers"] == list(head.writers)
    assert Counter(row["status"] for row in rows) == {"COMPLETED": 4, "ERROR": 2}


def test_steps_are_those_of_the_tree(store: JournalStore) -> None:
    """Each row of steps is a step of the fold, whole, its attempts counted."""
    rows = records(store, "SELECT * FROM steps ORDER BY started_ns, step_id")
    steps = sorted(
        ((one, step) for one in IDS for step in tree(one).steps), key=lambda pair: (pair[1].start_ns, pair[1].step_id)
    )
    for row, (session_id, step) in zip(rows, steps, strict=True):
        assert row["session_id"] == session_id
        for name in ("step_id", "parent_step_id", "kind", "name", "depth", "status"):
            assert row[name] == getattr(step, name)
        assert row["attempts"] == len(step.attempts)
        assert row["errors"] == sum(attempt.outcome == "error" for attempt in step.attempts)
        assert parse_timestamp(row["started_at"]) == row["started_ns"] == step.start_ns
        whole_ns = (step.end_ns or 0) - step.start_ns
        assert row["duration_ns"] == sum(attempt.duration_ns or 0 for attempt in step.attempts)
        assert row["duration_ns"] + row["waited_ns"] == whole_ns
        assert (row["duration_ms"], row["waited_ms"]) == (row["duration_ns"] / 1e6, row["waited_ns"] / 1e6)
        assert (row["details"] or {}) == {**step.last.details_start, **step.last.details_end}
        assert row["error_type"] == (step.last.error.type if step.last.error else None)
        assert row["input_tokens"] == (step.last.usage.input_tokens if step.last.usage else None)


def test_tools_and_models_are_attempts(store: JournalStore) -> None:
    """Each attempt at a call is a row, numbered, with what it was given and what it gave."""
    tools = records(store, "SELECT * FROM tools ORDER BY started_ns")
    assert [(row["session_id"], row["attempt"], row["status"]) for row in tools] == [
        pair for one in IDS for pair in ((one, 1, "error"), (one, 2, "ok"))
    ]
    assert [row["input"] for row in tools[:2]] == [{"query": "q0"}, None]
    assert [row["output"] for row in tools[:2]] == [None, ["a page"]]
    assert {(row["error_type"], row["error_message"], row["error_code"]) for row in tools[::2]} == {
        ("TimeoutError", "no answer", "Slow")
    }
    models = records(store, "SELECT * FROM models ORDER BY started_ns")
    assert [row["input_tokens"] for row in models] == [100 + number for number in range(SESSIONS)]
    assert models[0]["messages"] == [{"role": "user", "content": "hi"}]
    assert models[0]["output"] == "let me look"


@pytest.mark.parametrize("table", TABLES)
def test_every_column_can_be_asked_for_alone(dialog: MemoryStore, table: str) -> None:
    """A column alone is what it is among all, and has the type that the table says."""
    with query(dialog, f"SELECT * FROM {table}") as result:
        whole = {
            name: [row[place] for row in rows] for rows in [list(result)] for place, name in enumerate(result.columns)
        }
        assert list(result.columns) == [column.name for column in TABLES[table].columns]
        assert list(result.types) == [column.kind for column in TABLES[table].columns]
    for name, values in whole.items():
        assert [row[0] for row in rows_of(dialog, f"SELECT {name} FROM {table}")] == values


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM events", len(DIALOG)),
        ("SELECT count(DISTINCT session_id) FROM events", SESSIONS),
        ("SELECT sum(input_tokens) FROM models", sum(100 + number for number in range(SESSIONS))),
        ("SELECT sum(input_tokens) FROM sessions", sum(100 + number for number in range(SESSIONS))),
        ("SELECT count(*) FROM events WHERE event_type LIKE 'TOOL%'", 4 * SESSIONS),
        ("SELECT count(*) FROM events WHERE details->>'message' = 'half'", SESSIONS),
        ("SELECT max(details->'input'->>'query') FROM events WHERE session_id = 's4'", "q4"),
        ("SELECT count(*) FROM tools t JOIN steps s USING (session_id, step_id) WHERE s.attempts = 2", 2 * SESSIONS),
        ("SELECT count(*) FROM events a JOIN events b USING (event_id)", len(DIALOG)),
        (
            "SELECT count(*) FROM events a, sessions s WHERE a.session_id = s.session_id AND s.status = 'ERROR'",
            2 * EACH,
        ),
        (
            """WITH failed AS (SELECT session_id FROM sessions WHERE status = 'ERROR')
            SELECT count(*) FROM events WHERE session_id IN (SELECT session_id FROM failed)""",
            2 * EACH,
        ),
        ("SELECT count(*) FROM events WHERE timestamp > ago(INTERVAL 1 day)", 0),
        (
            """SELECT count(*) FROM (SELECT * FROM events WHERE session_id = 's1'
            UNION ALL SELECT * FROM events WHERE session_id = 's2')""",
            2 * EACH,
        ),
        ("SELECT count(*) FROM events WHERE NOT (session_id = 's1' OR timestamp < '2026-01-01 02:00:00')", 4 * EACH),
        ("SELECT count(*) FROM events WHERE session_id >= 's4'", 2 * EACH),
        ("SELECT count(*) FROM events WHERE session_id IS NULL", 0),
        ("SELECT count(*) FROM events WHERE session_id = 'it''s'", 0),
        ("SELECT count(*) FROM events WHERE starts_with(session_id, 'x'') OR (''s')", 0),
    ],
)
def test_answers_are_right(store: JournalStore, sql: str, expected: Any) -> None:
    """Aggregates, joins, subqueries and conditions of every form come out as Python counts them."""
    assert rows_of(store, sql) == [(expected,)]


def test_rows_come_in_the_order_that_is_asked_for(store: JournalStore) -> None:
    """ORDER BY holds to the last row."""
    times = [row[0] for row in rows_of(store, "SELECT timestamp_ns FROM events ORDER BY timestamp_ns DESC")]
    assert times == sorted((event.timestamp_ns for event in DIALOG), reverse=True)


def test_a_session_whose_process_went_silent_is_interrupted() -> None:
    """Sessions and steps are judged as `ls` and `show` judge them: at the moment of the query."""
    store = MemoryStore()
    journal = JournalBuilder("left")
    root = journal.start("AGENT", "helper")
    journal.start("TOOL", "fetch", parent=root)
    keep(store, journal.events)
    at_once = journal.events[-1].timestamp_ns + 10**9
    assert rows_of(store, "SELECT status, reason FROM sessions", now_ns=at_once) == [("PROCESSING", None)]
    assert rows_of(store, "SELECT DISTINCT status FROM steps", now_ns=at_once) == [("running",)]
    assert rows_of(store, "SELECT status, reason FROM sessions") == [("INTERRUPTED", "lost")]
    assert rows_of(store, "SELECT status, reason FROM tools") == [("interrupted", "lost")]
    waiting = {journal.writer}
    assert rows_of(store, "SELECT status FROM tools", waiting_writers=waiting) == [("running",)]


def test_a_session_without_a_head_is_found() -> None:
    """Events whose head is not written yet are there, for a query that names their session and for any other."""
    store = MemoryStore()
    keep(store, a_session(1).events, head=False)
    assert rows_of(store, "SELECT count(*) FROM events") == [(EACH,)]
    assert rows_of(store, "SELECT count(*) FROM events WHERE session_id = 's1'") == [(EACH,)]
    assert rows_of(store, "SELECT status, steps FROM sessions WHERE session_id = 's1'") == [("COMPLETED", 3)]
    assert rows_of(store, "SELECT count(*) FROM steps WHERE session_id = 's1'") == [(3,)]


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_journal_has_empty_tables(table: str) -> None:
    """No sessions, no rows, and the columns all the same."""
    with query(MemoryStore(), f"SELECT * FROM {table}") as result:
        assert list(result) == []
        assert len(result.columns) == len(TABLES[table].columns)
