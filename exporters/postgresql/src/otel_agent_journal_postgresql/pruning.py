"""Deleting old sessions, some in a transaction: whether one is old is asked again while its head is locked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, select

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.rules import is_prunable
from otel_agent_journal_postgresql import heads
from otel_agent_journal_postgresql.rows import key_of
from otel_agent_journal_postgresql.tables import agent_instances, blobs, events, sessions

SESSIONS_AT_ONCE: Final = 50  # so that nobody waits long for their locks


def delete_sessions(connection: Connection, old: Sequence[SessionHead], older_than_ns: int) -> int:
    """Delete those of some sessions that are still old, with all that is theirs; return how many, parts not counted."""
    keys = sorted(key_of(head.session_id) for head in old)  # in one order for all who prune: no deadlock
    connection.execute(
        select(sessions.c.session_id)
        .where(sessions.c.session_id.in_(keys))
        .order_by(sessions.c.session_id)
        .with_for_update()
    )
    locked = {key_of(head.session_id): head for head in heads.some(connection, keys)}
    going = [key for key, head in locked.items() if is_prunable(head, older_than_ns)]
    for table in (events, blobs, agent_instances, sessions):
        connection.execute(delete(table).where(table.c.session_id.in_(going)))
    return sum(locked[key].part_of is None for key in going)
