"""What is asked of the tables of a journal in SQLite, within the transaction that the caller is in.

Which transaction, and what its answers mean, is `sqlite`'s; which tables there are is `sqlite_tables`'.
"""

# ruff: noqa: S608 - the statements are made of constants of ours, every value is a parameter

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_agent_journal.errors import EventTooLarge
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import Arrived, ContextTip, SessionFilter
from otel_agent_journal.store.sqlite_tables import (
    ARRIVED,
    EVENT_COLUMNS,
    HEAD_COLUMNS,
    NEW_BY_SESSION,
    TIP_OF_SESSION,
    Row,
    event_of,
    head_of,
)

PAGE_BYTES: Final = 1 * 1024 * 1024  # of details; a page ends with the event that goes over it
_ROWS_AT_ONCE: Final = 16
_DETAILS: Final = -3  # their place among the columns of an event


def context_events(
    connection: sqlite3.Connection, instance_id: str, first: int, last: int, limit: int, *, newest_first: bool = False
) -> list[JournalEvent]:
    """Return an instance's events by their numbers, `last` among them, at most `limit`."""
    rows = connection.execute(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE instance_id = ? AND sequence_number BETWEEN ? AND ?"
        f" AND sequence_number IS NOT NULL ORDER BY sequence_number {'DESC' if newest_first else 'ASC'} LIMIT ?",
        (instance_id, first, last, limit),
    ).fetchall()
    return [event_of(row) for row in rows]


def tip_of_context(connection: sqlite3.Connection, instance_id: str) -> ContextTip | None:
    """Return where an instance's sequence ends, or None where there is no such instance."""
    row = connection.execute("SELECT session_id, last_seq FROM agent_instances WHERE id = ?", (instance_id,)).fetchone()
    return None if row is None else ContextTip(row[0], row[1] + 1)


def page_of(found: sqlite3.Cursor) -> tuple[list[Row], bool]:
    """Return the first rows of what was found, as many as there is room for in a page, and whether there are more."""
    rows: list[Row] = []
    size = 0
    while some := found.fetchmany(_ROWS_AT_ONCE):
        rows += some
        size += sum(len(row[_DETAILS] or "") for row in some)
        if size > PAGE_BYTES:
            found.close()
            return rows, True
    return rows, False


def tip_of(connection: sqlite3.Connection) -> int:
    """Return the number of the event that arrived last, 0 where none did."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if row is None else row[0]


def note_arrivals(connection: sqlite3.Connection, tip: int, given: Mapping[str, int]) -> dict[str, Arrived]:
    """Note what arrived behind a tip; return where that was, of the sessions whose given events were all new."""
    arrived: dict[str, Arrived] = {}
    new = connection.execute(NEW_BY_SESSION, (tip,)).fetchall()
    for session_id, count, last in new:
        before = connection.execute(TIP_OF_SESSION, (session_id,)).fetchone()
        if count == given.get(session_id):
            arrived[session_id] = Arrived(None if before is None else str(before[0]), str(last))
    connection.executemany(ARRIVED, [(session_id, last) for session_id, _, last in new])
    return arrived


def stored_head(connection: sqlite3.Connection, session_id: str) -> SessionHead | None:
    """Return a session's head as it is stored."""
    row = connection.execute(f"SELECT {HEAD_COLUMNS} FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
    return None if row is None else head_of(row)


def condition_of(wanted: SessionFilter) -> tuple[str, list[Any]]:
    """Return a filter of sessions as a condition of SQL, and the values of its parameters."""
    clauses, values = ["TRUE" if wanted.parts else "part_of IS NULL"], list[Any]()
    if wanted.statuses:
        clauses.append(f"status IN ({', '.join('?' * len(wanted.statuses))})")
        values.extend(wanted.statuses)
    for clause, value in (
        ("agent = ?", wanted.agent),
        ("updated_ns >= ?", wanted.since_ns),
        ("updated_ns <= ?", wanted.until_ns),
    ):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    if wanted.id_prefix:
        clauses.append("session_id >= ? AND session_id < ?")
        values.extend((wanted.id_prefix, wanted.id_prefix + "\U0010ffff"))
    return " AND ".join(clauses), values


def too_large(rows: Sequence[Row], connection: sqlite3.Connection) -> EventTooLarge:
    """Return the error for the largest of some rows, which SQLite refuses."""
    limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    size, event_id = max((sum(len(str(value)) for value in row), row[2]) for row in rows)
    return EventTooLarge(event_id, size, limit, "lower the field limit, so that large values become blobs")
