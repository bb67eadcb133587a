"""What other programs do to a journal: a connection of their own, a transaction they hold open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from otel_agent_journal.event import JournalEvent
from otel_agent_journal_postgresql.appending import Batch
from otel_agent_journal_postgresql.statements import APPEND


def outside(url: str) -> psycopg.Connection:
    """Connect as any other program would, to the schema of a store's URL."""
    place, _, schema = url.partition("?schema=")
    connection = psycopg.connect(place, autocommit=True)
    if schema:
        connection.execute(f"SET search_path TO {schema}")
    return connection


class SlowWriter:
    """A writer whose append is done, and not yet committed."""

    def __init__(self, connection: psycopg.Connection, events: Sequence[JournalEvent]) -> None:
        self._connection = connection
        connection.execute("BEGIN")
        connection.execute(APPEND, Batch(events).parameters)

    def commit(self) -> None:
        """Commit at last."""
        self._connection.execute("COMMIT")

    def abort(self) -> None:
        """Take it back."""
        self._connection.execute("ROLLBACK")


@contextmanager
def appending(url: str, events: Sequence[JournalEvent]) -> Iterator[SlowWriter]:
    """Append events in a transaction that stays open until it is told."""
    with outside(url) as connection:
        yield SlowWriter(connection, events)
