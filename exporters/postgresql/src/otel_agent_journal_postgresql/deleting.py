"""Deleting a session in which nothing has happened since it was judged, in one transaction of few statements."""

# ruff: noqa: S608 - made of constants of ours

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from otel_agent_journal.store.protocol import of_session
from otel_agent_journal_postgresql.cursor import Place
from otel_agent_journal_postgresql.rows import key_of

_LOCK: Final = tuple(
    f"SELECT FROM {table} WHERE session_id = %s FOR UPDATE" for table in ("agent_instances", "sessions", "arrivals")
)
# What is of a session once its rows are locked; whether an event is behind a number of one incarnation.
_LOOK: Final = """
SELECT (SELECT version FROM sessions WHERE session_id = %(key)s), place.incarnation, EXISTS (
    SELECT FROM events WHERE session_id = %(key)s
        AND number > CASE WHEN place.incarnation = %(incarnation)s THEN %(number)s ELSE 0 END
)
FROM (SELECT %(key)s) AS given LEFT JOIN arrivals AS place ON place.session_id = %(key)s"""
_OWN: Final = ("events", "blobs", "agent_instances", "sessions", "arrivals")
DELETE: Final = (
    f"WITH {', '.join(f'of_{table} AS (DELETE FROM {table} WHERE session_id = %(key)s)' for table in _OWN)},"
    " of_documents AS (DELETE FROM documents WHERE scope = %(scope)s) SELECT"
)


def delete_session(connection: Connection, session_id: str, seen: Place, version: int) -> bool:
    """Delete what is of a session, if `seen` is behind its last event and its head has this version.

    The rows are locked in the order in which writers do it. Whoever appends meanwhile waits, and begins it anew then.
    """
    key = key_of(session_id)
    for statement in _LOCK:
        connection.exec_driver_sql(statement, (key,))
    place = {"key": key, "incarnation": seen.incarnation, "number": seen.number}
    found, incarnation, has_newer = connection.exec_driver_sql(_LOOK, place).one()
    if (found or 0) != version or has_newer:
        return False
    connection.exec_driver_sql(DELETE, {"key": key, "scope": key_of(of_session(session_id))})
    return found is not None or incarnation is not None
