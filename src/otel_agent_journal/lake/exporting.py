"""A store's sessions into a lake: first all of them, then those alone in which something has changed.

What has changed is found by the store's cursor: sessions of which events arrived behind it, and those that the lake
knows as open, whose verdict time changes. Without a cursor, or within `since` and `until`, by a listing; a session that
is in the lake as it is now is not read again. One that has changed takes the place of what the lake had of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from otel_agent_journal.errors import StoreError, StoreUnreachable, UnsupportedByStore
from otel_agent_journal.lake.files import OldFile, PartWriter
from otel_agent_journal.lake.manifest import Entry, Key, Known, Lake, Move, Part, lake_of
from otel_agent_journal.lake.place import Place
from otel_agent_journal.lake.rows import SessionRows
from otel_agent_journal.lake.schema import day_of, day_text
from otel_agent_journal.projections.cost import Price
from otel_agent_journal.projections.head import PENDING, PROCESSING, SessionHead
from otel_agent_journal.projections.verdict import judged, silent_writers
from otel_agent_journal.reading.copying import has_event
from otel_agent_journal.store.identity import identity_of
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import current, current_sessions, whole_of

PART_EVENTS: Final = 500_000  # of a part: what is done again at most where an export was broken off
_OPEN: Final = frozenset((PENDING, PROCESSING))


class Exported(NamedTuple):
    """What an export did: sessions and their events, rows of all tables, files that were written, and their bytes."""

    sessions: int
    events: int
    rows: int
    files: int
    size_bytes: int


class _Due(NamedTuple):
    """A session that has to be written."""

    session_id: str
    day: int
    events: int


class Export:
    """One export of a store into a lake.

    Args:
        store: which can be read.
        place: where the lake is, or will be.
        tables: those wanted; none: those that the lake has, all of a new one.
        now_ns: when sessions are judged, UTC.
        waiting_writers: writers whose silence proves nothing, their spool holding events still.
        price: what calls are billed at.
        progress: called with how many events were written, and of how many.
    """

    def __init__(
        self,
        store: JournalStore,
        place: Place,
        *,
        tables: Sequence[str] = (),
        now_ns: int,
        waiting_writers: Collection[str] = frozenset(),
        price: Price = lambda _: None,
        progress: Callable[[int, int], object] = lambda _done, _total: None,
    ) -> None:
        if not store.capabilities.read:
            raise UnsupportedByStore(store.url, "read")
        self._store = store
        self._place = place
        self._tables = tables
        self._now_ns = now_ns
        self._waiting = waiting_writers
        self._price = price
        self._progress = progress
        self._done = self._total = 0
        self._said = Exported(0, 0, 0, 0, 0)

    def run(self, since_ns: int | None = None, until_ns: int | None = None) -> Exported:
        """Bring the lake up to date, and say what was written; of sessions last updated within the bounds, if given.

        Raises:
            LakeError: the place cannot be written, or is another store's lake.
            StoreUnreachable: and other errors of the store; what was written by then is in the lake.
        """
        lake = lake_of(self._place, identity_of(self._store.url, {}), self._tables)
        lake.recover()
        known = lake.known()
        cursor = self._store.tip()  # what comes from here on is the next export's
        is_bounded = since_ns is not None or until_ns is not None
        changed: Iterator[SessionHead] | None = None if is_bounded else self._changed(lake.cursor, known)
        if changed is None:
            changed = current_sessions(self._store, SessionFilter(since_ns=since_ns, until_ns=until_ns))
        names = frozenset(lake.names())
        due = self._due(changed, known, names)
        if due or not known:
            lake.create()
        self._total = sum(one.events for those in due.values() for one in those)
        for name in sorted(due):
            self._write(lake, name, due[name], is_old=name in names)
        if not is_bounded:
            lake.keep_cursor(cursor)
        return self._said

    # --- what is to be done -------------------------------------------------------------------------------------

    def _changed(self, cursor: str | None, known: dict[str, Known]) -> Iterator[SessionHead] | None:
        """Return the sessions that may have changed behind a cursor; None where the store knows no such cursor."""
        if cursor is None:
            return None
        touched = dict.fromkeys(one.entry.session_id for one in known.values() if one.entry.is_open)
        try:
            while True:
                page = self._store.follow(cursor, limit=1000)
                touched.update(dict.fromkeys(event.session_id for event in page.events))
                if not page.events:
                    break
                cursor = page.cursor
        except StoreUnreachable:
            raise
        except StoreError:  # the cursor is none of this store's any more: what there is says what has changed
            return None
        return self._wholes(touched)

    def _wholes(self, session_ids: Collection[str]) -> Iterator[SessionHead]:
        """Yield the heads of sessions, each once: of a part that of the session it is part of."""
        seen: set[str] = set()
        for session_id in session_ids:
            head = current(self._store, session_id)
            if head is None:
                continue
            whole = whole_of(self._store, head)
            if whole.session_id not in seen:
                seen.add(whole.session_id)
                yield whole

    def _due(
        self, heads: Iterator[SessionHead], known: dict[str, Known], names: frozenset[str]
    ) -> dict[str, list[_Due]]:
        """Return by part the sessions that are not in the lake as they are. `names`: of the parts that are there."""
        old: dict[str, list[_Due]] = {}
        new: dict[int, list[_Due]] = {}
        for head in heads:
            found = known.get(head.session_id)
            if found is not None and same(found.entry, self._judged(head)):
                continue
            due = _Due(head.session_id, day_of(head.started_ns or head.updated_ns), head.events)
            if found is not None and self._is_there(found.entry.first):
                old.setdefault(found.part, []).append(due)
            else:
                new.setdefault(due.day, []).append(due)
        return old | {name: those for day in sorted(new) for name, those in _parts(day, new[day], names)}

    def _is_there(self, key: Key | None) -> bool:
        return key is not None and has_event(self._store, key)

    def _judged(self, head: SessionHead) -> SessionHead:
        return judged(head, self._now_ns, waiting_writers=self._waiting)

    # --- doing it -----------------------------------------------------------------------------------------------

    def _write(self, lake: Lake, name: str, due: list[_Due], *, is_old: bool) -> None:
        """Write a part anew: what was in it, and these sessions as they are now."""
        part = lake.part(name) if is_old else Part(name=name, day=day_text(due[0].day), files=(), sessions=())
        ids = sorted(one.session_id for one in due)
        writer = PartWriter(self._place, name, len(part.sessions) + len(ids))
        old = [OldFile(self._place, file.table, file.path(name), ids) for file in part.files]
        rows = SessionRows(self._store, writer, lake.tables, self._price, self._move)
        entries = {entry.session_id: entry for entry in part.sessions}
        for session_id in ids:
            head = current(self._store, session_id)
            if head is None:  # deleted since; what the lake had of it would go with this rewriting
                raise StoreUnreachable(f"session {session_id} was deleted while it was exported; export again")
            if old:
                rows.flush()
                _copy(old, writer, session_id)
            entries[session_id] = self._add(rows, head)
        rows.flush()
        _copy(old, writer, None)
        files = writer.close()
        paths = {file.path(name) for file in files}
        gone = tuple(file.path(name) for file in part.files if file.path(name) not in paths)
        sessions = tuple(entries[one] for one in sorted(entries))
        lake.commit(Part(name=name, day=part.day, files=files, sessions=sessions, move=Move(files, gone)))
        said = self._said
        self._said = Exported(
            said.sessions + len(ids),
            said.events + sum(entries[one].events for one in ids),
            said.rows + rows.rows,
            said.files + len(files),
            said.size_bytes + sum(file.size_bytes for file in files),
        )

    def _add(self, rows: SessionRows, head: SessionHead) -> Entry:
        lost = silent_writers(head, self._now_ns, waiting_writers=self._waiting)
        shown = self._judged(head)
        parts = tuple((part, _cursor_of(self._store, part)) for part in head.parts)  # before they are read
        read = rows.add(head, shown, lost)
        return Entry(
            session_id=head.session_id,
            cursor=head.cursor,
            events=head.events,
            status=shown.status,
            reason=shown.reason,
            ended_ns=shown.ended_ns,
            is_open=head.status in _OPEN,
            first=read.first,
            parts=parts,
        )

    def _move(self, events: int) -> None:
        self._done += events
        self._progress(self._done, self._total)


def same(entry: Entry, head: SessionHead) -> bool:
    """Tell whether a session is in the lake as it is now, judged."""
    return (entry.cursor, entry.events, entry.status, entry.reason, entry.ended_ns) == (
        head.cursor,
        head.events,
        head.status,
        head.reason,
        head.ended_ns,
    )


def _cursor_of(store: JournalStore, session_id: str) -> str | None:
    head = current(store, session_id)
    return None if head is None else head.cursor


def _copy(old: Sequence[OldFile], writer: PartWriter, session_id: str | None) -> None:
    for file in old:
        for batch in file.before(session_id):
            writer.add(file.table, batch)


def _parts(day: int, due: list[_Due], taken: frozenset[str]) -> Iterator[tuple[str, list[_Due]]]:
    """Yield new parts of a day, named in order, each of as many sessions as fit."""
    number, those, events = 0, list[_Due](), 0
    for one in [*sorted(due), None]:
        if those and (one is None or events + one.events > PART_EVENTS):
            number += 1
            while (name := f"{day_text(day)}-{number:04d}") in taken:
                number += 1
            yield name, those
            those, events = [], 0
        if one is not None:
            those.append(one)
            events += one.events
