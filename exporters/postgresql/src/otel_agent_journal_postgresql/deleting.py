"""Deleting a session in which nothing has happened since it was judged, in one transaction."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from otel_agent_journal.store.protocol import of_session
from otel_agent_journal_postgresql.cursor import Place
from otel_agent_journal_postgresql.rows import key_of
from otel_agent_journal_postgresql.tables import agent_instances, arrivals, blobs, documents, events, sessions


def delete_session(connection: Connection, session_id: str, seen: Place, version: int) -> bool:
    """Delete what is of a session, if `seen` is behind its last event and its head has this version.

    The rows are locked in the order in which writers do it. Whoever appends meanwhile waits, and begins it anew then.
    """
    key = key_of(session_id)
    for table in (agent_instances, sessions):
        connection.execute(select(table.c.session_id).where(table.c.session_id == key).with_for_update())
    incarnation = connection.execute(
        select(arrivals.c.incarnation).where(arrivals.c.session_id == key).with_for_update()
    ).scalar()
    found = connection.execute(select(sessions.c.version).where(sessions.c.session_id == key)).scalar()
    number = seen.number if seen.incarnation == incarnation else 0
    newer = select(events.c.number).where(events.c.session_id == key, events.c.number > number).limit(1)
    if (found or 0) != version or connection.execute(newer).first() is not None:
        return False
    for table in (events, blobs, agent_instances, sessions, arrivals):
        connection.execute(delete(table).where(table.c.session_id == key))
    connection.execute(delete(documents).where(documents.c.scope == key_of(of_session(session_id))))
    return found is not None or incarnation is not None
