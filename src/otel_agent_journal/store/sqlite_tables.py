"""The tables of a SQLite journal, and events and heads to their rows and back. Pure.

The columns are named for people who query the file with SQL. `events.arrival` is the catch-up cursor: SQLite has one
writer at a time, so a lower number is never committed after a higher one, and AUTOINCREMENT never gives one twice.
The unique index on the event's key is what makes an append idempotent; there is none on `event_id` alone, which
would cost three quarters of the ingest at a few million rows. `arrivals` has the arrival of each session's last event,
and of the last that its head knows: where they differ, the session is unsettled.
"""

# ruff: noqa: S608 - the statements are made of constants of ours, every value is a parameter

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import decode_value, encode_value, from_neutral, to_neutral, valid_text
from otel_agent_journal.errors import NewerSchema
from otel_agent_journal.event import EMPTY, SCHEMA_VERSION, ErrorInfo, JournalEvent, Usage
from otel_agent_journal.projections.about import decode_about, encode_about
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import Document

APPLICATION_ID: Final = 0x4F414A31  # "OAJ1", what `file journal.db` and we know the file by
TABLES_VERSION: Final = 6  # PRAGMA user_version

Row = tuple[Any, ...]

# What a tool call and its result have in common. json_valid: SQLite reads no JSON that is nested deeply, and an
# index that could not be written would lose the event.
_CALL_ID: Final = """
    CASE type
        WHEN 'TOOL_CALL' THEN CASE WHEN json_valid(details) THEN json_extract(details, '$.call.id') END
        WHEN 'TOOL_RESULT' THEN CASE WHEN json_valid(details) THEN json_extract(details, '$.message.tool_call_id') END
    END
"""
# For people who join the context of agents with tables of their own (docs/context.md).
_CONTEXT_EVENTS: Final = (
    f"CREATE INDEX IF NOT EXISTS events_tool_call ON events ({_CALL_ID}) WHERE sequence_number IS NOT NULL",
    f"""
    CREATE VIEW IF NOT EXISTS agent_context_events AS
    SELECT event_id AS id, instance_id, sequence_number, type AS event_type,
        CASE WHEN json_valid(details)
            THEN COALESCE(json_extract(details, '$.message'), json_extract(details, '$.call'), details)
            ELSE details
        END AS content,
        {_CALL_ID} AS tool_call_id,
        strftime('%Y-%m-%dT%H:%M:%S', timestamp_ns / 1000000000, 'unixepoch')
            || printf('.%09dZ', timestamp_ns % 1000000000) AS created_at
    FROM events WHERE sequence_number IS NOT NULL
    """,
)

CREATE: Final = (
    """
    CREATE TABLE IF NOT EXISTS events (
        arrival INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL, timestamp_ns INTEGER NOT NULL, event_id TEXT NOT NULL,
        type TEXT NOT NULL, level TEXT NOT NULL, name TEXT, writer TEXT,
        instance_id TEXT, sequence_number INTEGER,
        step_id TEXT, parent_step_id TEXT, attempt INTEGER, trace_id TEXT, span_id TEXT,
        outcome TEXT, duration_ns INTEGER,
        error_type TEXT, error_message TEXT, error_code TEXT,
        input_tokens INTEGER, output_tokens INTEGER,
        cache_read_tokens INTEGER, cache_write_tokens INTEGER, reasoning_tokens INTEGER,
        details TEXT, digest TEXT, schema_version INTEGER NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS events_key ON events (session_id, timestamp_ns, event_id)",
    """
    CREATE UNIQUE INDEX IF NOT EXISTS events_sequence ON events (instance_id, sequence_number)
        WHERE sequence_number IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX IF NOT EXISTS events_in_instance ON events (instance_id, event_id)
        WHERE sequence_number IS NOT NULL
    """,
    """
    CREATE TABLE IF NOT EXISTS agent_instances (
        id TEXT PRIMARY KEY, session_id TEXT NOT NULL, last_seq INTEGER NOT NULL, name TEXT, parent_id TEXT
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS agent_instances_of_session ON agent_instances (session_id)",
    """
    CREATE TABLE IF NOT EXISTS sessions (
        session_id TEXT PRIMARY KEY, status TEXT NOT NULL, reason TEXT, agent TEXT, stage TEXT, progress REAL,
        events INTEGER NOT NULL, steps INTEGER NOT NULL, errors INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
        started_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, ended_ns INTEGER,
        writers TEXT NOT NULL, open_writers TEXT NOT NULL,
        part_of TEXT, parts TEXT NOT NULL, forked_from TEXT, forks TEXT NOT NULL, about TEXT NOT NULL,
        version INTEGER NOT NULL, cursor TEXT, snapshot BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS arrivals (
        session_id TEXT PRIMARY KEY, last INTEGER NOT NULL, in_head INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS arrivals_unsettled ON arrivals (session_id) WHERE last > in_head",
    "CREATE INDEX IF NOT EXISTS sessions_by_time ON sessions (updated_ns DESC, session_id)",
    "CREATE INDEX IF NOT EXISTS sessions_by_status ON sessions (status, updated_ns DESC, session_id)",
    "CREATE INDEX IF NOT EXISTS sessions_by_agent ON sessions (agent, updated_ns DESC, session_id)",
    """
    CREATE TABLE IF NOT EXISTS blobs (
        session_id TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (session_id, digest)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS documents (
        scope TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, version INTEGER NOT NULL,
        PRIMARY KEY (scope, name)
    ) WITHOUT ROWID
    """,
    *_CONTEXT_EVENTS,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {TABLES_VERSION}",
)

# By the version that they make of the one before.
MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    6: (
        "ALTER TABLE agent_instances RENAME COLUMN instance_id TO id",
        "ALTER TABLE agent_instances ADD COLUMN name TEXT",
        "ALTER TABLE agent_instances ADD COLUMN parent_id TEXT",
        """
        UPDATE agent_instances SET (name, parent_id) = (
            SELECT json_extract(details, '$.agent.name'), json_extract(details, '$.agent.parent') FROM events
            WHERE instance_id = id AND sequence_number = 0 AND json_valid(details)
        )
        """,
        *_CONTEXT_EVENTS,
        "PRAGMA user_version = 6",
    ),
}
OLDEST_VERSION: Final = min(MIGRATIONS) - 1  # what can be brought up to date

EVENT_COLUMNS: Final = (
    "session_id, timestamp_ns, event_id, type, level, name, writer, instance_id, sequence_number, step_id,"
    " parent_step_id, attempt, trace_id, span_id, outcome, duration_ns, error_type, error_message, error_code,"
    " input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, details, digest,"
    " schema_version"
)
# Stands for NULL among an event's values: the sqlite3 module takes 0.5 µs to bind a None, which most values are.
_ABSENT: Final = -(2**63)
_ALWAYS_THERE: Final = ("session_id", "timestamp_ns", "event_id", "type", "level", "schema_version")
_EVENT_MARKS: Final = ", ".join(
    "?" if column in _ALWAYS_THERE else f"NULLIF(?, {_ABSENT})" for column in EVENT_COLUMNS.split(", ")
)
# A conflict in anything but the key, such as a number taken in an instance, is an error and not a repetition.
APPEND: Final = (
    f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({_EVENT_MARKS})"
    " ON CONFLICT (session_id, timestamp_ns, event_id) DO NOTHING"
)
APPEND_ONCE: Final = f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({_EVENT_MARKS})"

EXTEND_INSTANCE: Final = (
    "INSERT INTO agent_instances (id, session_id, last_seq, name, parent_id) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET last_seq = excluded.last_seq"
)

TIP_OF_SESSION: Final = "SELECT last FROM arrivals WHERE session_id = ?"
NEW_BY_SESSION: Final = (  # by the rowid: to save the sorting, SQLite would scan the index of all sessions instead
    "SELECT session_id, count(*), max(arrival) FROM events NOT INDEXED WHERE arrival > ? GROUP BY session_id"
)
ARRIVED: Final = (
    "INSERT INTO arrivals (session_id, last, in_head) VALUES (?, ?, 0)"
    " ON CONFLICT (session_id) DO UPDATE SET last = excluded.last"
)
DELETE_SESSION: Final = tuple(
    f"DELETE FROM {table} WHERE session_id = ?"
    for table in ("events", "agent_instances", "blobs", "sessions", "arrivals")
)
DELETE_DOCUMENTS: Final = "DELETE FROM documents WHERE scope = ?"
UNSETTLED: Final = "SELECT session_id FROM arrivals WHERE last > in_head"

DOCUMENT_COLUMNS: Final = "scope, name, data, version"
ADD_DOCUMENT: Final = f"INSERT INTO documents ({DOCUMENT_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
REPLACE_DOCUMENT: Final = "UPDATE documents SET data = ?3, version = ?4 WHERE scope = ?1 AND name = ?2 AND version = ?5"

_HEAD_FIELDS: Final = SessionHead.__struct_fields__
_HEAD_LISTS: Final = ("open_writers", "parts", "forks")
HEAD_COLUMNS: Final = ", ".join(_HEAD_FIELDS)
LISTED_COLUMNS: Final = HEAD_COLUMNS.replace("snapshot", "x'' AS snapshot")  # it would be most of a listing
WRITE_HEAD: Final = f"INSERT OR REPLACE INTO sessions ({HEAD_COLUMNS}) VALUES ({', '.join('?' * len(_HEAD_FIELDS))})"


def row_of(event: JournalEvent) -> Row:
    """Return an event as the values that `APPEND` wants."""
    error, usage = event.error, event.usage
    return (
        event.session_id,
        event.timestamp_ns,
        event.event_id,
        event.type,
        event.level,
        _ABSENT if event.name is None else event.name,
        _ABSENT if event.writer is None else event.writer,
        _ABSENT if event.instance_id is None else event.instance_id,
        _ABSENT if event.seq is None else event.seq,
        _ABSENT if event.step_id is None else event.step_id,
        _ABSENT if event.parent_step_id is None else event.parent_step_id,
        _ABSENT if event.attempt is None else event.attempt,
        _ABSENT if event.trace_id is None else event.trace_id,
        _ABSENT if event.span_id is None else event.span_id,
        _ABSENT if event.outcome is None else event.outcome,
        _ABSENT if event.duration_ns is None else event.duration_ns,
        *(_NO_ERROR if error is None else _error_row(error)),
        *(_NO_USAGE if usage is None else msgspec.structs.astuple(usage)),
        encode_value(event.details).decode() if event.details else _ABSENT,
        _ABSENT if event.digest is None else event.digest,
        event.schema_version,
    )


_NO_ERROR: Final = (_ABSENT, _ABSENT, _ABSENT)
_NO_USAGE: Final = (_ABSENT, _ABSENT, _ABSENT, _ABSENT, _ABSENT)


def _error_row(error: ErrorInfo) -> Row:
    return error.type, error.message, _ABSENT if error.code is None else error.code


def with_valid_text(row: Row) -> Row:
    """Return a row with its lone surrogates, which SQLite cannot hold, as their escapes."""
    return tuple([value if not isinstance(value, str) or value.isascii() else valid_text(value) for value in row])


def event_of(row: Row) -> JournalEvent:
    """Return the event of a row, old versions upcast.

    Raises:
        NewerSchema: a newer version of this package wrote it.
    """
    (session_id, timestamp_ns, event_id, kind, level, name, writer, instance_id, seq, step_id) = row[:10]
    (parent_step_id, attempt, trace_id, span_id, outcome, duration_ns) = row[10:16]
    (error_type, error_message, error_code) = row[16:19]
    details, digest, version = row[24:]
    event = JournalEvent(
        session_id=session_id,
        event_id=event_id,
        type=kind,
        timestamp_ns=timestamp_ns,
        level=level,
        name=name,
        writer=writer,
        instance_id=instance_id,
        seq=seq,
        step_id=step_id,
        parent_step_id=parent_step_id,
        attempt=attempt,
        trace_id=trace_id,
        span_id=span_id,
        outcome=outcome,
        duration_ns=duration_ns,
        error=None if error_type is None else ErrorInfo(type=error_type, message=error_message, code=error_code),
        usage=None if row[19] is None else _usage_of(row[19:24]),
        details=EMPTY if details is None else cast("Mapping[str, Any]", decode_value(details)),
        digest=digest,
        schema_version=version,
    )
    return event if version == SCHEMA_VERSION else _upcast(event)


def _usage_of(tokens: Row) -> Usage:
    return Usage(
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cache_read_tokens=tokens[2],
        cache_write_tokens=tokens[3],
        reasoning_tokens=tokens[4],
    )


def _upcast(event: JournalEvent) -> JournalEvent:
    if event.schema_version > SCHEMA_VERSION:
        raise NewerSchema(f"event {event.event_id}", event.schema_version, SCHEMA_VERSION)
    return from_neutral(to_neutral(event))


def document_of(row: Row) -> Document:
    """Return the document of a row of `DOCUMENT_COLUMNS`."""
    scope, name, data, version = row
    return Document(scope=scope, name=name, data=data, version=version)


def head_row(head: SessionHead) -> Row:
    """Return a head as the values of `HEAD_COLUMNS`."""
    values = {field: getattr(head, field) for field in _HEAD_FIELDS}
    values["writers"] = encode_value(head.writers).decode()
    values |= {field: encode_value(values[field]).decode() for field in _HEAD_LISTS}
    values["about"] = encode_about(head.about)
    return tuple(values.values())


def head_of(row: Row) -> SessionHead:
    """Return the head of a row."""
    values: dict[str, Any] = dict(zip(_HEAD_FIELDS, row, strict=True))
    values["writers"] = decode_value(values["writers"])
    values |= {field: tuple(decode_value(values[field])) for field in _HEAD_LISTS}
    values["about"] = decode_about(values["about"])
    return SessionHead(**values)
