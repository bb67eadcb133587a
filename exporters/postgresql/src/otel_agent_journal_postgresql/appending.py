"""Events into the tables, and what is known then of the sessions they are of.

A batch is one statement, which no writer leaves half done. It takes as many numbers of a session as it reaches far
into the batch: where some of its events were there already, the session is straightened afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import Arrived
from otel_agent_journal_postgresql import statements
from otel_agent_journal_postgresql.cursor import Place
from otel_agent_journal_postgresql.rows import batch_of, key_of


class Came(NamedTuple):
    """What came of a session: how many new events, and the number of the last that it may have now."""

    key: str
    incarnation: int
    last: int
    new: int


class Batch:
    """Events, as statements take them."""

    def __init__(self, events: Sequence[JournalEvent]) -> None:
        self._events = events
        reached = {event.session_id: place for place, event in enumerate(events, 1)}
        self._keys = {session_id: key_of(session_id) for session_id in reached}
        self._lengths: dict[str, int] = {}  # by key, how far into the batch the session reaches
        for session_id, place in reached.items():
            key = self._keys[session_id]
            self._lengths[key] = max(place, self._lengths.get(key, 0))
        self.text = batch_of(events)

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of `statements.APPEND`; the keys in the one order in which all lock them: nobody waits in a circle."""
        keys = sorted(self._lengths)
        return {"keys": keys, "lengths": [self._lengths[key] for key in keys], "batch": self.text}

    def repeated(self, came: Sequence[Came]) -> list[str]:
        """Return the keys of the sessions of which some events were there already, in order."""
        if sum(one.new for one in came) == len(self._events):
            return []
        given = Counter(self._keys[event.session_id] for event in self._events)
        return sorted(one.key for one in came if one.new < given[one.key])

    def arrived(self, came: Sequence[Came], repeated: Collection[str]) -> Mapping[str, Arrived]:
        """Return where the events of the other sessions arrived."""
        by_key: dict[str, Arrived] = {}
        for one in came:
            if one.key not in repeated:
                before = Place(one.incarnation, one.last - self._lengths[one.key])
                after = str(before) if before.number else None
                by_key[one.key] = Arrived(after, str(before._replace(number=one.last)))
        return {session_id: by_key[key] for session_id, key in self._keys.items() if key in by_key}


def put(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[Came]:
    """Write a batch."""
    return [Came(*row) for row in connection.exec_driver_sql(statement, dict(parameters))]


def straighten(connection: Connection, keys: Sequence[str]) -> None:
    """Give back the numbers that some sessions' last batches took for nothing, in one transaction."""
    for statement in (statements.LOCK_ARRIVALS, statements.STRAIGHTEN):
        connection.exec_driver_sql(statement, (list(keys),))
