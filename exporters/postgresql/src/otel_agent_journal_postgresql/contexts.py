"""`append_context`: a number of events behind the last of an agent instance, or nothing at all.

One statement locks the instance's row, moves its last number and inserts the events; whoever comes second finds the
number moved. Only who lost asks why, in a transaction that reads what is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import ContextTip
from otel_agent_journal.store.sequence import Verdict, agent_of, verdict
from otel_agent_journal_postgresql import statements
from otel_agent_journal_postgresql.appending import Batch, put
from otel_agent_journal_postgresql.arrivals import names_of
from otel_agent_journal_postgresql.rows import event_of, for_people, is_hash, key_of
from otel_agent_journal_postgresql.tables import agent_instances, events


def try_append(connection: Connection, instance_id: str, expected_seq: int, given: Sequence[JournalEvent]) -> bool:
    """Write the events if `expected_seq` is the instance's next number; tell whether it was."""
    name, parent = agent_of(given[0])
    parameters = {
        "instance": key_of(instance_id),
        "session": key_of(given[0].session_id),
        "next": expected_seq,
        "last": expected_seq + len(given) - 1,
        "name": None if name is None else for_people(name),
        "parent": None if parent is None else key_of(parent),
        **Batch(given).parameters,
    }
    statement = statements.EXTEND_CONTEXT if expected_seq else statements.BEGIN_CONTEXT
    return bool(put(connection, statement, parameters))


def judged(connection: Connection, instance_id: str, expected_seq: int, given: Sequence[JournalEvent]) -> Verdict:
    """Say what becomes of events whose number was not the next one, in a transaction that holds the instance.

    Raises:
        WrongExpectedSequence: another writer was first.
        ConflictError: one of the events is there with another content.
    """
    instance = key_of(instance_id)
    known = connection.execute(
        select(agent_instances.c.session_id, agent_instances.c.last_seq)
        .where(agent_instances.c.id == instance)
        .with_for_update(key_share=True)
    ).first()
    if known is not None and known.session_id != key_of(given[0].session_id):
        raise StoreError(f"instance {instance_id} is of session {known.session_id}; nothing was written")
    there = page(connection, instance, expected_seq, expected_seq + len(given) - 1, len(given))
    return verdict(instance_id, expected_seq, 0 if known is None else known.last_seq + 1, there, given)


def page(
    connection: Connection, key: str, first: int, last: int, limit: int, *, newest_first: bool = False
) -> list[JournalEvent]:
    """Return events of an instance from one number to another, or down from that one."""
    statement = statements.READ_CONTEXT_DOWN if newest_first else statements.READ_CONTEXT
    return [event_of(row) for row in connection.exec_driver_sql(statement, (key, first, last, limit))]


def tip(connection: Connection, instance_id: str) -> ContextTip | None:
    """Return where an instance's sequence ends, None where there is no such instance."""
    known = connection.execute(
        select(agent_instances.c.session_id, agent_instances.c.last_seq).where(
            agent_instances.c.id == key_of(instance_id)
        )
    ).first()
    if known is None:
        return None
    (session_id,) = names_of(connection, [known.session_id])
    return ContextTip(session_id, known.last_seq + 1)


def instances_of(connection: Connection, session_id: str) -> list[str]:
    """Return the instances of a session; the id of one that is too long or strange for a key stands in its events."""
    of_session = select(agent_instances.c.id).where(agent_instances.c.session_id == key_of(session_id))
    names: list[str] = []
    for key in connection.execute(of_session).scalars().all():
        names += [str(event.instance_id) for event in page(connection, key, 0, 0, 1)] if is_hash(key) else [key]
    return names


def taken(connection: Connection, instance_id: str, given: Sequence[JournalEvent]) -> str:
    """Return the id of the first of these events that is there already: in the instance, or under its key."""
    ids = {key_of(event.event_id): event for event in given}
    of_session, of_instance = key_of(given[0].session_id), key_of(instance_id)
    there = set(
        connection.execute(
            select(events.c.event_id).where(
                events.c.event_id.in_(ids),
                (events.c.session_id == of_session) | (events.c.instance_id == of_instance),
            )
        ).scalars()
    )
    return next((event.event_id for key, event in ids.items() if key in there), given[0].event_id)
