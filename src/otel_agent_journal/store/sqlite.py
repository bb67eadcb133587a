"""The embedded store: a journal in one SQLite file, on the standard library alone.

Any number of processes may use one file at a time; readers never wait for the writer. By default a commit is synced
to the disk before `append` returns, because the spool forgets what was appended (docs/adr/0004). Where the file is
opened and its errors are explained is `sqlite_file`, what is in it `sqlite_tables`, what is asked of that
`sqlite_queries`.
"""

# ruff: noqa: S608 - the statements are made of constants of ours, every value is a parameter

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from otel_agent_journal.codec import JSON, valid_text
from otel_agent_journal.errors import (
    ConfigError,
    ConflictError,
    StoreError,
    UnsupportedByStore,
)
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.masking import masked
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store import sqlite_values
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
    of_session,
)
from otel_agent_journal.store.registry import options_of, refuse_credentials
from otel_agent_journal.store.rules import merged_writers
from otel_agent_journal.store.sequence import agent_of, in_pages, require_gapless, require_session_event, verdict
from otel_agent_journal.store.sqlite_file import SqliteFile, Synchronous
from otel_agent_journal.store.sqlite_queries import (
    condition_of,
    context_events,
    note_arrivals,
    page_of,
    stored_head,
    tip_of,
    tip_of_context,
    too_large,
)
from otel_agent_journal.store.sqlite_tables import (
    APPEND,
    APPEND_ONCE,
    DELETE_DOCUMENTS,
    DELETE_SESSION,
    EVENT_COLUMNS,
    EXTEND_INSTANCE,
    LISTED_COLUMNS,
    TABLES_VERSION,
    TIP_OF_SESSION,
    UNSETTLED,
    WRITE_HEAD,
    Row,
    event_of,
    head_of,
    head_row,
    row_of,
    with_valid_text,
)

MAX_EVENT_BYTES: Final = 1_000_000_000  # SQLITE_MAX_LENGTH, the bound of a row as SQLite is built everywhere
TIMEOUT_S: Final = 2.0  # how long to wait for another process's transaction; the drain retries after that
PAGE_EVENTS: Final = 500
_FORMS: Final = "sqlite:///relative.db or sqlite:////absolute.db"


def open_store(url: str, *, create: bool = True) -> SqliteStore:
    """Return the store of a URL, `sqlite:///relative.db` or `sqlite:////absolute.db`; nothing is opened yet.

    Percent escapes in the path are resolved. `?timeout=SECONDS` is the wait for other processes' transactions,
    `?synchronous=normal` leaves the sync to the disk to SQLite: faster, and a power loss may take the last seconds.

    Args:
        url: the store's URL.
        create: whether a file that is not there is made; readers say no and get `StoreUnreachable`.

    Raises:
        ConfigError: the URL is malformed.
    """
    refuse_credentials(url, "a file needs none, and who may read it is said by its permissions")
    place = url.partition("?")[0]
    if not place.startswith("sqlite:///") or place.endswith("/") or place == "sqlite:///:memory:":
        advice = "use memory:// for a journal in memory" if ":memory:" in place else f"the form is {_FORMS}"
        raise ConfigError(f"store {masked(url)} names no file; {advice}")
    options = options_of(url)
    synchronous = options.pop("synchronous", "full").lower()
    timeout = options.pop("timeout", str(TIMEOUT_S))
    if options:
        raise ConfigError(
            f"store {masked(url)}: '{next(iter(options))}' is no option; there are timeout and synchronous"
        )
    if synchronous not in ("full", "normal"):
        raise ConfigError(f"store {masked(url)}: synchronous may be full or normal")
    if not timeout.replace(".", "", 1).isdecimal():
        raise ConfigError(f"store {masked(url)}: timeout is no number of seconds")
    path = Path(unquote(place.removeprefix("sqlite:///")))
    return SqliteStore(path, create=create, timeout_s=float(timeout), synchronous=synchronous)


def url_of(path: Path) -> str:
    """Return the URL of a journal's file."""
    return "sqlite:///" + quote(str(path))


class SqliteStore:
    """A journal in a SQLite file. Thread-safe; opened by the first call, again after whatever goes wrong."""

    def __init__(
        self, path: Path, *, create: bool = True, timeout_s: float = TIMEOUT_S, synchronous: Synchronous = "full"
    ) -> None:
        self._url = url_of(path)
        self._file = SqliteFile(path, create=create, timeout_s=timeout_s, synchronous=synchronous)

    @property
    def url(self) -> str:
        """Its URL, without options; there are no secrets in it."""
        return self._url

    @property
    def capabilities(self) -> Capabilities:
        """All."""
        return Capabilities(prune=True, max_event_bytes=MAX_EVENT_BYTES)

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived]:
        """Write session events in one transaction; see `JournalStore.append`.

        Raises:
            EventTooLarge: one event is over a gigabyte; nothing was written.
        """
        if not events:
            return {}
        for event in events:
            require_session_event(event)
        rows = [row_of(event) for event in events]
        try:
            return self._insert(rows)
        except UnicodeEncodeError:
            return self._insert([with_valid_text(row) for row in rows])
        except OverflowError as error:
            raise StoreError(
                f"one of {len(events)} events, the first {events[0].event_id}, has a number beyond 64 bits outside"
                " its details; nothing was written"
            ) from error

    def _insert(self, rows: Sequence[Row]) -> Mapping[str, Arrived]:
        given = Counter(row[0] for row in rows)
        with self._file.writing() as connection:
            tip = tip_of(connection)
            try:
                connection.executemany(APPEND, rows)
            except sqlite3.DataError as error:
                raise too_large(rows, connection) from error
            return note_arrivals(connection, tip, given)

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Write context events if the instance's next sequence is the expected; see `JournalStore.append_context`."""
        require_gapless(instance_id, expected_seq, events)
        if not events:
            return
        session_id, last_seq = events[0].session_id, expected_seq + len(events) - 1
        rows = [with_valid_text(row_of(event)) for event in events]
        with self._file.writing() as connection:
            known = tip_of_context(connection, instance_id)
            if known is not None and known.session_id != session_id:
                raise StoreError(f"instance {instance_id} is of session {known.session_id}; nothing was written")
            there = context_events(connection, instance_id, expected_seq, last_seq, len(events))
            next_seq = 0 if known is None else known.next_seq
            if verdict(instance_id, expected_seq, next_seq, there, events) == "written already":
                return
            tip = tip_of(connection)
            for event, row in zip(events, rows, strict=True):
                try:
                    connection.execute(APPEND_ONCE, row)
                except sqlite3.IntegrityError as error:
                    raise ConflictError(event.event_id) from error
            agent = with_valid_text(agent_of(events[0]))
            connection.execute(EXTEND_INSTANCE, (instance_id, session_id, last_seq, *agent))
            note_arrivals(connection, tip, {})

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events in order, a page at a time, no transaction left open; see `JournalStore.read`."""
        beginning = "" if after is None else "AND (timestamp_ns, event_id) > (?, ?)"
        position = () if after is None else after
        while True:
            with self._file.reading() as connection:
                rows, more = page_of(
                    connection.execute(
                        f"SELECT {EVENT_COLUMNS} FROM events WHERE session_id = ? {beginning}"
                        f" ORDER BY timestamp_ns, event_id LIMIT {PAGE_EVENTS}",
                        (session_id, *position),
                    )
                )
            yield from map(event_of, rows)
            if not more and len(rows) < PAGE_EVENTS:
                return
            beginning, position = "AND (timestamp_ns, event_id) > (?, ?)", rows[-1][1:3]

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an instance's events from a sequence number on; see `JournalStore.read_context`."""

        def page(first: int, last: int, count: int) -> list[JournalEvent]:
            with self._file.reading() as connection:
                return context_events(connection, instance_id, first, last, count, newest_first=newest_first)

        return in_pages(page, from_seq, limit=limit, newest_first=newest_first, page_events=PAGE_EVENTS)

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends."""
        with self._file.reading() as connection:
            return tip_of_context(connection, instance_id)

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the instances of a session."""
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT id FROM agent_instances WHERE session_id = ?", (valid_text(session_id),)
            ).fetchall()
        yield from (instance_id for (instance_id,) in rows)

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival; see `JournalStore.follow`."""
        limit = max(0, limit)
        with self._file.reading() as connection:
            tip = tip_of(connection)
            position = self._position(cursor, tip)
            # By the session's index where much lies ahead, by arrival where little does: the unary plus forbids the
            # index of the other column.
            if session_id is None:
                condition, values = "arrival > ?", (position,)
            elif tip - position > 4 * limit:
                condition, values = "+arrival > ? AND session_id = ?", (position, session_id)
            else:
                condition, values = "arrival > ? AND +session_id = ?", (position, session_id)
            rows, more = page_of(
                connection.execute(
                    f"SELECT arrival, {EVENT_COLUMNS} FROM events WHERE {condition} AND +arrival <= ?"
                    " ORDER BY arrival LIMIT ?",
                    (*values, tip, limit),
                )
            )
        end = rows[-1][0] if rows else position
        if session_id is None and not more and len(rows) < limit:
            end = tip
        return Page(tuple(event_of(row[1:]) for row in rows), str(end))

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor of now."""
        with self._file.reading() as connection:
            if session_id is None:
                return str(tip_of(connection))
            row = connection.execute(TIP_OF_SESSION, (valid_text(session_id),)).fetchone()
        return None if row is None else str(row[0])

    def _position(self, cursor: str | None, tip: int) -> int:
        position = self._number(cursor)
        if not 0 <= position <= tip:
            raise StoreError(f"cursor '{cursor}' is not one of store {self._url}, which is at {tip}; start at None")
        return position

    @staticmethod
    def _number(cursor: str | None) -> int:
        return 0 if cursor is None else int(cursor) if cursor.isascii() and cursor.isdigit() else -1

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first.

        The order is that of the moment of the first one; a head is as it is when it is reached, and left out if it
        is not wanted any more.
        """
        condition, values = condition_of(wanted or SessionFilter())
        limit = -1 if wanted is None or wanted.limit is None else max(0, wanted.limit)
        with self._file.reading() as connection:
            found = connection.execute(
                f"SELECT session_id FROM sessions WHERE {condition} ORDER BY updated_ns DESC, session_id LIMIT ?",
                (*values, limit),
            ).fetchall()
        for start in range(0, len(found), PAGE_EVENTS):
            page = [session_id for (session_id,) in found[start : start + PAGE_EVENTS]]
            with self._file.reading() as connection:
                rows = connection.execute(
                    f"SELECT {LISTED_COLUMNS} FROM sessions WHERE {condition}"
                    f" AND session_id IN ({', '.join('?' * len(page))})",
                    (*values, *page),
                ).fetchall()
            by_id = {row[0]: row for row in rows}
            yield from (head_of(by_id[session_id]) for session_id in page if session_id in by_id)

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        with self._file.reading() as connection:
            return stored_head(connection, session_id)

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; see `JournalStore.write_head`."""
        with self._file.writing() as connection:
            stored = stored_head(connection, head.session_id)
            if head.version != (stored.version if stored else 0):
                return None
            writers = merged_writers(stored, head)
            written = msgspec.structs.replace(head, writers=writers, version=head.version + 1)
            row = with_valid_text(head_row(written))
            connection.execute(WRITE_HEAD, row)
            connection.execute(
                "UPDATE arrivals SET in_head = ? WHERE session_id = ?", (self._number(written.cursor), row[0])
            )
        return written

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that have events which their head does not know."""
        with self._file.reading() as connection:
            found = connection.execute(UNSETTLED).fetchall()
        yield from (session_id for (session_id,) in found)

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests; the first of a digest stays."""
        with self._file.writing() as connection:
            sqlite_values.put_blobs(connection, session_id, blobs)

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests; those that are not there are left out."""
        with self._file.reading() as connection:
            return sqlite_values.get_blobs(connection, session_id, digests)

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value; the first of a digest stays."""
        self.put_blobs(session_id, {digest: Blob(data, media_type)})

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        blob = self.get_blobs(session_id, (digest,)).get(digest)
        return None if blob is None else blob.data

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there."""
        with self._file.reading() as connection:
            return sqlite_values.get_document(connection, scope, name)

    def put_document(self, document: Document) -> Document | None:
        """Replace a document over the version it was read at; see `DocumentStore.put_document`."""
        written = successor(document, self._url, MAX_EVENT_BYTES)
        with self._file.writing() as connection:
            return sqlite_values.put_document(connection, written, document.version)

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version."""
        with self._file.writing() as connection:
            return sqlite_values.delete_document(connection, scope, name, version)

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        with self._file.reading() as connection:
            found = sqlite_values.documents(connection, scope)
        yield from found

    def erase(self) -> None:
        """Have no file keep what was replaced or deleted: what is freed is overwritten, and here the log is emptied."""
        with self._file.reading() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def incarnation(self) -> int:
        """Return how often the file was opened: what was written before may have been removed with it."""
        with self._file.reading():
            return self._file.openings

    def init_plan(self) -> list[str]:
        """Return what of the file and its tables is not there yet."""
        return [*self._file.missing()]

    def init(self) -> None:
        """Create the file and its tables where they are missing."""
        with self._file.reading():
            pass

    def info(self) -> StoreInfo:
        """Return what the store is and holds. Counting takes about a second for five million events."""
        with self._file.reading() as connection:
            (sessions,) = connection.execute("SELECT count(*) FROM sessions WHERE part_of IS NULL").fetchone()
            (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
        return StoreInfo(
            url=self._url,
            backend="sqlite",
            schema_version=TABLES_VERSION,
            sessions=sessions,
            events=events,
            size_bytes=self._file.size_bytes(),
        )

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event, each found in the index of their keys behind the one before."""
        after: tuple[str, ...] = ()
        while True:
            with self._file.reading() as connection:
                row = connection.execute(
                    f"SELECT min(session_id) FROM events {'WHERE session_id > ?' if after else ''}", after
                ).fetchone()
            if row[0] is None:
                return
            yield row[0]
            after = row

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session in which nothing has happened since; see `StoreAdmin.delete_session`.

        In a transaction of its own, so that writers come in between two. The file keeps its size: what was freed is
        written to again first.
        """
        key = valid_text(session_id)
        with self._file.writing() as connection:
            head, last = stored_head(connection, key), connection.execute(TIP_OF_SESSION, (key,)).fetchone()
            if (head.version if head else 0) != version or (last is not None and last[0] > self._number(cursor)):
                return False
            for statement in DELETE_SESSION:
                connection.execute(statement, (key,))
            connection.execute(DELETE_DOCUMENTS, (of_session(key),))
        return head is not None or last is not None

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Raise UnsupportedByStore: who may use a file is its permissions' matter."""
        raise UnsupportedByStore(self._url, "iam_policy")

    def close(self) -> None:
        """Close the file; every later call is refused."""
        self._file.close()
