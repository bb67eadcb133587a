"""Heads, and their listing as statements of SQLAlchemy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, and_, bindparam, cast, literal, or_, select

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import merged_writers
from otel_agent_journal_postgresql import statements
from otel_agent_journal_postgresql.cursor import Place, place_of
from otel_agent_journal_postgresql.rows import for_people, head_of, head_row, key_of
from otel_agent_journal_postgresql.tables import HEAD_FIELDS, sessions

_JSON: Final = ("writers", "open_writers", "parts", "forks", "about", "exact")  # read as text
_COLUMNS: Final = [
    cast(sessions.c[name], Text).label(name) if name in _JSON else sessions.c[name] for name in (*HEAD_FIELDS, "exact")
]
_LISTED: Final = [column if column.name != "snapshot" else literal(b"").label("snapshot") for column in _COLUMNS]
_AFTER_ANY_TEXT: Final = "\U0010ffff"


# Made once: to build and to look up a statement takes several times what it takes to run it.
_GET: Final = select(*_COLUMNS).where(sessions.c.session_id == bindparam("key"))


def get(connection: Connection, session_id: str) -> SessionHead | None:
    """Return a session's head."""
    row = connection.execute(_GET, {"key": key_of(session_id)}).first()
    return None if row is None else head_of(row)


def put(connection: Connection, head: SessionHead) -> SessionHead | None:
    """Write a head over the version it was read at; None where another writer was first."""
    stored = get(connection, head.session_id)
    if head.version != (stored.version if stored else 0):
        return None
    written = msgspec.structs.replace(head, writers=merged_writers(stored, head), version=head.version + 1)
    known = place_of(head.cursor) or Place()
    values = {**head_row(written), "incarnation": known.incarnation, "number": known.number}
    statement = statements.REPLACE_HEAD if head.version else statements.ADD_HEAD
    return None if connection.exec_driver_sql(statement, values).first() is None else written


def keys(connection: Connection, wanted: SessionFilter, limit: int | None) -> list[str]:
    """Return the keys of the sessions that a listing may want, the latest updated first."""
    query = select(sessions.c.session_id).where(*_conditions(wanted))
    query = query.order_by(sessions.c.updated_ns.desc(), sessions.c.session_id).limit(limit)
    return list(connection.execute(query).scalars())


def some(connection: Connection, keys: Sequence[str]) -> list[SessionHead]:
    """Return the heads of these keys that are there, without snapshots, in their order."""
    query = select(*_LISTED).where(sessions.c.session_id.in_(keys))
    by_key = {row.session_id: head_of(row) for row in connection.execute(query)}
    return [by_key[key] for key in keys if key in by_key]


def is_exact(wanted: SessionFilter) -> bool:
    """Tell whether `keys` are those of wanted sessions alone, so that a limit of them is one of the listing."""
    return not wanted.id_prefix and not any("\0" in value for value in (*wanted.statuses, wanted.agent or ""))


def _conditions(wanted: SessionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [] if wanted.parts else [sessions.c.part_of.is_(None)]
    if wanted.statuses:
        conditions.append(sessions.c.status.in_([for_people(status) for status in wanted.statuses]))
    if wanted.agent is not None:
        conditions.append(sessions.c.agent == for_people(wanted.agent))
    if wanted.since_ns is not None:
        conditions.append(sessions.c.updated_ns >= wanted.since_ns)
    if wanted.until_ns is not None:
        conditions.append(sessions.c.updated_ns <= wanted.until_ns)
    if wanted.id_prefix:
        conditions.append(_may_begin_with(valid_text(wanted.id_prefix)))
    return conditions


def _may_begin_with(prefix: str) -> ColumnElement[bool]:
    key = sessions.c.session_id
    hashed = and_(key >= "~", key < "~" + _AFTER_ANY_TEXT)  # of long or strange ids, which the heads have
    return hashed if "\0" in prefix else or_(and_(key >= prefix, key < prefix + _AFTER_ANY_TEXT), hashed)
