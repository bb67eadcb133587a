"""The journal in PostgreSQL: any number of writers and readers, on any number of machines.

An append is one statement, committed when it returns; writers of one session wait for one another for as long as that
takes. What is in the database is `tables`, how it is reached `database`, how it gets there `preparing`; how a reader
misses no late commit is `cursor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import psycopg
from sqlalchemy import Connection, func, select

from otel_agent_journal.codec import JSON
from otel_agent_journal.errors import ConflictError, StoreError, StoreUnreachable, StoreUnusable, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.documents import successor
from otel_agent_journal.store.protocol import (
    Arrived,
    Blob,
    Capabilities,
    ContextTip,
    Document,
    Page,
    SessionFilter,
    StoreInfo,
)
from otel_agent_journal.store.rules import is_wanted
from otel_agent_journal.store.sequence import in_pages, require_gapless, require_session_event
from otel_agent_journal_postgresql import arrivals, contexts, deleting, heads, locks, preparing, statements, values
from otel_agent_journal_postgresql.address import Address, address_of
from otel_agent_journal_postgresql.appending import Batch, Came, put, straighten
from otel_agent_journal_postgresql.cursor import Cursor, Place, cursor_of, place_of
from otel_agent_journal_postgresql.database import POOL_CONNECTIONS, Database
from otel_agent_journal_postgresql.failures import is_too_large, too_large
from otel_agent_journal_postgresql.listening import Bell, Ear
from otel_agent_journal_postgresql.rows import Row, batch_of, event_of, key_of
from otel_agent_journal_postgresql.tables import TABLES_VERSION, events, metadata, sessions

MAX_EVENT_BYTES: Final = 200_000_000  # of JSON: PostgreSQL takes apart what is given to it in one gigabyte of memory
PAGE_EVENTS: Final = 1_000
FIRST_PAGE_EVENTS: Final = 100  # whose size says how many the next page may have
PAGE_BYTES: Final = 4 * 1024 * 1024  # of content, that a reader has in memory about
_DETAILS: Final = -4  # places among the columns of an event
_EXACT: Final = -1
_DEAF_S: Final = 0.2  # between two looks while the server cannot be listened to
_RACES: Final = 20  # of append_context: between the answer that it lost and the look at why


def open_store(url: str, *, create: bool = True) -> PostgreSQLStore:
    """Return the store of a URL, `postgresql://user:password@host:port/database?option=value`; nothing is opened yet.

    Args:
        url: as libpq takes it; `?schema=NAME` and `?timeout=SECONDS` are options of our own.
        create: makes no difference: tables are made by `init` alone.

    Raises:
        ConfigError: the URL is malformed.
    """
    return PostgreSQLStore(address_of(url))


class PostgreSQLStore:
    """A journal in a PostgreSQL database. Thread-safe, and safe over a fork; connected by the first call."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._database = Database(address, lambda connection: preparing.require_prepared(connection, address))
        self._bell = Bell()
        self._ear = Ear(self._database)
        self._at_home = False

    @property
    def url(self) -> str:
        """Its URL, secrets masked."""
        return self._address.url

    @property
    def capabilities(self) -> Capabilities:
        """All there are."""
        return Capabilities(prune=True, threads=POOL_CONNECTIONS, max_event_bytes=MAX_EVENT_BYTES)

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write session events in one statement; see `JournalStore.append`.

        Raises:
            EventTooLarge: one event is over 200 MB of JSON; nothing was written.
        """
        if not events:
            return {}
        for event in events:
            require_session_event(event)
        batch = Batch(events)
        if len(batch.text) > MAX_EVENT_BYTES:
            return self._append_apart(events)

        def write(connection: Connection) -> list[Came]:
            came = put(connection, statements.APPEND, batch.parameters)
            if any(one.new for one in came):
                self._bell.ring(connection)
            return came

        try:
            came = self._database.run(write)
        except StoreError as error:
            raise _refused(error, events) from error
        repeated = batch.repeated(came)
        if repeated:
            self._database.transaction(lambda connection: straighten(connection, repeated))
        return batch.arrived(came, repeated)

    def _append_apart(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write half and half of what is too much for one statement; nothing is said of where they arrived."""
        if len(events) == 1:
            raise too_large(events[0].event_id, len(batch_of(events)), MAX_EVENT_BYTES)
        half = len(events) // 2
        self.append(events[:half])
        self.append(events[half:])
        return {}

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Write context events if the instance's next number is the expected; see `JournalStore.append_context`."""
        require_gapless(instance_id, expected_seq, events)
        if not events:
            return

        def write(connection: Connection) -> bool:
            written = contexts.try_append(connection, instance_id, expected_seq, events)
            if written:
                self._bell.ring(connection)
            return written

        for _ in range(_RACES):
            try:
                if self._database.run(write):
                    return
            except StoreError as error:
                if not isinstance(error.__cause__, psycopg.errors.UniqueViolation):
                    raise _refused(error, events) from error
                event_id = self._database.run(lambda connection: contexts.taken(connection, instance_id, events))
                raise ConflictError(event_id) from error
            outcome = self._database.transaction(
                lambda connection: contexts.judged(connection, instance_id, expected_seq, events)
            )
            if outcome == "written already":
                return
        raise StoreUnreachable(
            f"store {self.url}: instance {instance_id} changed {_RACES} times while {len(events)} events from number"
            f" {expected_seq} were to be written; nothing was written: retry"
        )

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events in order, a page at a time, no transaction left open; see `JournalStore.read`."""
        key, limit = key_of(session_id), FIRST_PAGE_EVENTS
        position = None if after is None else (after[0], key_of(after[1]))
        while True:
            if position is None:
                rows = self._rows(statements.READ, key, limit)
            else:
                rows = self._rows(statements.READ_AFTER, key, *position, limit)
            yield from map(event_of, rows)
            if len(rows) < limit:
                return
            position, limit = (rows[-1][1], rows[-1][2]), _next_page(rows)

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an instance's events from a number on; see `JournalStore.read_context`."""
        key = key_of(instance_id)

        def page(first: int, last: int, count: int) -> list[JournalEvent]:
            return self._database.run(
                lambda connection: contexts.page(connection, key, first, last, count, newest_first=newest_first)
            )

        return in_pages(page, from_seq, limit=limit, newest_first=newest_first, page_events=PAGE_EVENTS)

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends, or None where there is no such instance."""
        return self._database.run(lambda connection: contexts.tip(connection, instance_id))

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the instances that have context events in a session."""
        yield from self._database.run(lambda connection: contexts.instances_of(connection, session_id))

    def _rows(self, statement: str, *parameters: object) -> Sequence[Row]:
        return self._database.run(lambda connection: connection.exec_driver_sql(statement, parameters).all())

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival; see `JournalStore.follow`."""
        if session_id is not None:
            return self._follow_session(cursor, key_of(session_id), max(0, limit))
        moment = self._moment(cursor)
        if limit <= 0:
            return Page((), cursor or moment.start)

        def page(connection: Connection) -> Page:
            self._require_home(connection)
            return arrivals.page_of(connection, moment, limit)

        return self._database.run(page)

    def _follow_session(self, cursor: str | None, key: str, limit: int) -> Page:
        place = place_of(cursor) or self._moment(cursor)

        def page(connection: Connection) -> Page:
            if isinstance(place, Place):
                return arrivals.page_of_session(connection, key, place, limit)
            self._require_home(connection)
            found = arrivals.place_in_session(connection, place, key)
            return arrivals.page_of_session(connection, key, found, limit)

        found = self._database.run(page)
        return found if found.events or cursor is None else Page((), cursor)

    def _moment(self, cursor: str | None) -> Cursor:
        moment = cursor_of(cursor)
        if moment is None:
            raise StoreError(f"cursor '{cursor}' is not one of store {self.url}; start at None")
        return moment

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor of now; of one session, of its last event."""
        if session_id is None:
            return self._database.run(arrivals.now)
        return self._database.run(lambda connection: arrivals.tip_of_session(connection, key_of(session_id)))

    def wait(self, timeout_s: float) -> None:
        """Wait until something may have been appended, for `timeout_s` at the longest; see `Wakes`."""
        try:
            self._ear.wait(timeout_s)
        except StoreUnreachable:  # which whoever looks next is told
            time.sleep(min(timeout_s, _DEAF_S))

    def _require_home(self, connection: Connection) -> None:
        """Raise where the events are of another server's transactions; looked at once."""
        if not self._at_home and preparing.restored(connection):
            raise StoreUnusable(
                f"store {self.url} was restored from another server, whose events would not be followed here;"
                f" agent-journal store init '{self.url}' adopts them"
            )
        self._at_home = True

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, without snapshots, the latest updated first.

        The order is that of the moment of the first one; a head is as it is when it is reached, and left out if it
        is not wanted any more.
        """
        wanted = wanted or SessionFilter()
        left = None if wanted.limit is None else max(0, wanted.limit)
        limit = left if heads.is_exact(wanted) else None
        keys = self._database.run(lambda connection: heads.keys(connection, wanted, limit))
        for start in range(0, len(keys), PAGE_EVENTS):
            page = keys[start : start + PAGE_EVENTS]
            found = self._database.run(lambda connection, page=page: heads.some(connection, page))
            for head in found:
                if left == 0:
                    return
                if is_wanted(head, wanted):
                    yield head
                    left = None if left is None else left - 1

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        return self._database.run(lambda connection: heads.get(connection, session_id))

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; see `JournalStore.write_head`."""
        return self._database.run(lambda connection: heads.put(connection, head))

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that have events which their head does not know."""
        return self._session_ids(unsettled=True)

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event."""
        return self._session_ids(unsettled=False)

    def _session_ids(self, *, unsettled: bool) -> Iterator[str]:
        last: str | None = None
        while True:
            statement = statements.sessions(unsettled=unsettled, first=last is None)
            keys = [row[0] for row in self._rows(statement, last or "", PAGE_EVENTS)]
            yield from self._database.run(lambda connection, keys=keys: arrivals.names_of(connection, keys))
            if len(keys) < PAGE_EVENTS:
                return
            last = keys[-1]

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests; the first of a digest stays."""
        self._database.run(lambda connection: values.put_blobs(connection, session_id, blobs))

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests; those that are not there are left out."""
        return self._database.run(lambda connection: values.get_blobs(connection, session_id, digests))

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value; the first of a digest stays."""
        self.put_blobs(session_id, {digest: Blob(data, media_type)})

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        blob = self.get_blobs(session_id, (digest,)).get(digest)
        return None if blob is None else blob.data

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there."""
        return self._database.run(lambda connection: values.get_document(connection, scope, name))

    def put_document(self, document: Document) -> Document | None:
        """Replace a document over the version it was read at; see `DocumentStore.put_document`."""
        written = successor(document, self.url, MAX_EVENT_BYTES)
        done = self._database.run(lambda connection: values.put_document(connection, written, document.version))
        return written if done else None

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version."""
        return self._database.run(lambda connection: values.delete_document(connection, scope, name, version))

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        yield from self._database.run(lambda connection: values.documents_of(connection, scope))

    def init(self) -> None:
        """Make the tables where they are missing, bring older ones up to date; adopt what was restored elsewhere.

        Raises:
            StoreUnreachable: others hold the tables, for half a minute by now; they are named, nothing was changed.
        """
        locks.insist(self._database, lambda connection: preparing.prepare(connection, self._address))

    def init_plan(self) -> list[str]:
        """Return what `init` would do, a line each."""
        return self._database.transaction(lambda connection: preparing.plan(connection, self._address), prepared=False)

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, object]:
        """Raise UnsupportedByStore: what a role may do is granted with SQL, and the README says how."""
        raise UnsupportedByStore(
            self.url,
            f"iam_policy; the grants of a {role} are under 'Roles' in the README of otel-agent-journal-postgresql",
        )

    def info(self) -> StoreInfo:
        """Return what the store is and holds. Counts all rows: seconds for tens of millions of events."""

        def look(connection: Connection) -> StoreInfo:
            size = sum(
                connection.execute(select(func.pg_total_relation_size(name))).scalar_one() for name in metadata.tables
            )
            return StoreInfo(
                url=self.url,
                backend="postgresql",
                schema_version=TABLES_VERSION,
                sessions=connection.execute(
                    select(func.count()).select_from(sessions).where(sessions.c.part_of.is_(None))
                ).scalar_one(),
                events=connection.execute(select(func.count()).select_from(events)).scalar_one(),
                size_bytes=size,
            )

        return self._database.transaction(look, bounded=False)

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session in which nothing has happened since; see `StoreAdmin.delete_session`."""
        seen = place_of(cursor) or Place()
        return self._database.transaction(
            lambda connection: deleting.delete_session(connection, session_id, seen, version), bounded=False
        )

    def close(self) -> None:
        """Close all connections; every later call is refused."""
        self._ear.close()
        self._database.close()


def _next_page(rows: Sequence[Row]) -> int:
    """Return how many events the next page may have, if they are as large as those of this one."""
    size = sum(len(row[_DETAILS] or "") + len(row[_EXACT] or "") for row in rows)
    return max(1, min(PAGE_EVENTS, PAGE_BYTES * len(rows) // (size + 1)))


def _refused(error: StoreError, events: Sequence[JournalEvent]) -> StoreError:
    """Return the error that names what of some events the server cannot hold."""
    cause = error.__cause__
    first = events[0].event_id
    if isinstance(cause, psycopg.errors.NumericValueOutOfRange | psycopg.errors.InvalidTextRepresentation):
        return StoreError(
            f"one of {len(events)} events, the first {first}, has a number beyond 64 bits outside its details;"
            f" nothing was written: {cause}"
        )
    if isinstance(cause, psycopg.Error) and is_too_large(cause):
        size, event_id = max((len(batch_of([event])), event.event_id) for event in events)
        return too_large(event_id, size, MAX_EVENT_BYTES)
    return error
