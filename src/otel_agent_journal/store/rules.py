"""What is the same for every store, built once on the small calls of its port: judging heads, pruning, repairing.

A stored head is a cache and an index. Whoever judges a session takes the head and what is behind it: `current` for
one, `current_sessions` for a listing, which looks behind no other heads but those of sessions that are `unsettled`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import PROCESSING, SessionHead, bounded_writers
from otel_agent_journal.projections.links import MAX_LISTED, parts_of
from otel_agent_journal.projections.snapshot import restored, snapshot_of
from otel_agent_journal.projections.status import StatusState, apply, fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.protocol import DeletesBesideOthers, JournalStore, PutByOthers, SessionFilter, StoreAdmin
from otel_agent_journal.threads import side_by_side

# A writer that was heard of so short a time before the limit may still be alive: heartbeats come every 15 s, and
# readers take a writer for gone after 60 s.
_ALIVE_NS: Final = 60 * 1_000_000_000
_HEAD_TRIES: Final = 8  # against others that write the same head
_DELETE_TRIES: Final = 2  # as it was listed, and as it is


Through = Callable[[Iterator[JournalEvent]], Iterator[JournalEvent]]


class Folded(NamedTuple):
    """A session's fold, and the cursor of the session up to which it has all events; None where it has none."""

    state: StatusState
    cursor: str | None

    def head(self, session_id: str, *, version: int = 0) -> SessionHead:
        """Return the head that this amounts to, with all that others need to go on from it."""
        return msgspec.structs.replace(
            head_of(self.state, session_id, version=version),
            cursor=self.cursor,
            snapshot=snapshot_of(self.state, session_id),
        )


# --- a head and what is behind it ---------------------------------------------------------------------------------


def fold_on(store: JournalStore, session_id: str, folded: Folded) -> Folded:
    """Take what has arrived in a session behind a fold into it, and return it with its new cursor.

    Raises:
        StoreUnreachable: and other errors of the store; the fold has some of it then, and is to be dropped.
    """
    state, cursor = folded
    while True:
        page = store.follow(cursor, session_id=session_id)
        if not page.events:
            return Folded(state, cursor)
        for event in page.events:
            apply(state, event)
        cursor = page.cursor


def fold_from_beginning(store: JournalStore, session_id: str, through: Through = lambda events: events) -> Folded:
    """Fold a session from its first event on, with its parts. Raises as `fold_on`.

    Args:
        store: which can be read.
        session_id: the session.
        through: what the events go through as they are read, as to count them.
    """
    if isinstance(store, PutByOthers):  # its `read` also has what has not arrived yet, and comes behind the cursor then
        state, cursor = fold(through(store.put_by_others(session_id))), None
    else:
        cursor = store.tip(session_id)  # what arrives from here on is perhaps read, and is not taken twice then
        state = fold(through(store.read(session_id)))
    folded = fold_on(store, session_id, Folded(state, cursor))
    for part in parts_of(state.links, session_id):
        fold(through(store.read(part)), state)
    return folded


def fold_from_head(store: JournalStore, head: SessionHead, through: Through = lambda events: events) -> Folded:
    """Fold a session on from what its stored head has, or else from its beginning. Raises as `fold_on`."""
    state = None if head.cursor is None else restored(head.snapshot)
    if state is None:
        return fold_from_beginning(store, head.session_id, through)
    folded = fold_on(store, head.session_id, Folded(state, head.cursor))
    return fold_from_beginning(store, head.session_id, through) if parts_of(state.links, head.session_id) else folded


def current(
    store: JournalStore, session_id: str, stored: SessionHead | None = None, *, through: Through = lambda events: events
) -> SessionHead | None:
    """Return the head of a session as its events have it now, or None where it has no event and no head.

    Costs what is behind the stored head; of a session with parts, or without a head, what the session is.

    Args:
        store: which can be read.
        session_id: the session.
        stored: its head, where it is at hand.
        through: what events go through that are read from the first one on.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    if stored is None:
        stored = store.head(session_id)
    if stored is None:
        folded = fold_from_beginning(store, session_id, through)
        return folded.head(session_id) if len(folded.state.seen) else None
    folded = fold_from_head(store, stored, through)
    if folded.cursor == stored.cursor and stored.snapshot:
        return stored
    if not len(folded.state.seen):
        return stored
    head = folded.head(session_id, version=stored.version)
    return msgspec.structs.replace(head, writers=merged_writers(stored, head))


class Opened(NamedTuple):
    """A session's events in order, and the cursor of the session behind them; None where it has none."""

    events: list[JournalEvent]
    cursor: str | None


def open_session(store: JournalStore, session_id: str) -> Opened:
    """Return a session's own events and the cursor to follow it from: what is there and what comes, nothing left out.

    An event that arrives while this looks is among the events, and not behind the cursor; one that others put by
    themselves (`PutByOthers`), or that is written and not yet logged, may be given behind it once more.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    cursor = store.tip(session_id)
    by_key = {event.key: event for event in store.read(session_id)}
    while (page := store.follow(cursor, session_id=session_id)).events:
        by_key |= {event.key: event for event in page.events}
        cursor = page.cursor
    return Opened(sorted(by_key.values(), key=lambda event: (event.timestamp_ns, event.event_id)), cursor)


class HeadPage(NamedTuple):
    """The heads of the sessions in which something has arrived, as their events have them, and the cursor behind it."""

    heads: list[SessionHead]
    cursor: str


def follow_heads(store: JournalStore, cursor: str | None, *, limit: int = 1000) -> HeadPage:
    """Return the heads of the sessions whose events arrived behind a cursor of `JournalStore.follow`, each once.

    Costs what has arrived, and for each session that it is of what is behind its stored head. No heads means that
    nothing has arrived. A part's head is followed by that of the session which it is part of.

    Args:
        store: which can be read.
        cursor: of all sessions; None for the beginning, `store.tip()` for now.
        limit: how many events to look at, at most.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    page = store.follow(cursor, limit=limit)
    found: dict[str, SessionHead] = {}
    for session_id in dict.fromkeys(event.session_id for event in page.events):
        one: str | None = session_id
        while one is not None and one not in found:
            head = current(store, one)
            if head is not None:
                found[one] = head
            one = None if head is None else head.part_of
    return HeadPage(list(found.values()), page.cursor)


def whole_of(store: JournalStore, head: SessionHead) -> SessionHead:
    """Return the head of the session that one is part of; the head itself where that is none, or gone."""
    whole = None if head.part_of is None else current(store, head.part_of)
    return head if whole is None else whole


def current_sessions(store: JournalStore, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
    """Yield the sessions that are wanted, the latest updated first: each as its events have it now.

    Costs the listing of stored heads, and for each session that is unsettled what is behind its head: several of these
    are read at once where the store is read so.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    wanted = wanted or SessionFilter()
    behind: dict[str, SessionHead] = {}
    asked_for = list(store.unsettled()) if store.capabilities.read else []
    while asked_for:
        found = side_by_side(partial(current, store), asked_for, store.capabilities.threads)
        new = {session_id: head for session_id, head in zip(asked_for, found, strict=True) if head is not None}
        behind |= new
        wholes = dict.fromkeys(head.part_of for head in new.values())  # what comes for a part is its session's too
        asked_for = [session_id for session_id in wholes if session_id is not None and session_id not in behind]
    limit = None if wanted.limit is None else max(0, wanted.limit)
    asked = msgspec.structs.replace(wanted, limit=None if limit is None else limit + len(behind))
    settled = (head for head in store.sessions(asked) if head.session_id not in behind)
    unsettled = sorted((head for head in behind.values() if is_wanted(head, wanted)), key=_latest_first)
    yield from islice(merge(settled, unsettled, key=_latest_first), limit)


def _latest_first(head: SessionHead) -> tuple[int, str]:
    return -head.updated_ns, head.session_id


# --- heads --------------------------------------------------------------------------------------------------------


def merged_writers(stored: SessionHead | None, head: SessionHead) -> dict[str, int]:
    """Return when the writers of either head were last seen, the later time of each, as many as a head names."""
    writers = dict(stored.writers) if stored else {}
    for writer, last_seen_ns in head.writers.items():
        writers[writer] = max(last_seen_ns, writers.get(writer, last_seen_ns))
    return bounded_writers(writers, head.open_writers)


def is_wanted(head: SessionHead, wanted: SessionFilter) -> bool:
    """Tell whether a listing wants this head."""
    return (
        (not wanted.statuses or head.status in wanted.statuses)
        and (wanted.agent is None or head.agent == wanted.agent)
        and (wanted.since_ns is None or head.updated_ns >= wanted.since_ns)
        and (wanted.until_ns is None or head.updated_ns <= wanted.until_ns)
        and (wanted.id_prefix is None or head.session_id.startswith(wanted.id_prefix))
        and (wanted.parts or head.part_of is None)
    )


# --- what an operator does ----------------------------------------------------------------------------------------


def prune(
    store: JournalStore,
    older_than_ns: int,
    *,
    dry_run: bool = False,
    only: Callable[[SessionHead], bool] = lambda _: True,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> int:
    """Delete whole sessions last updated before a time, and return how many there are, or with `dry_run` would be.

    Many are deleted at a time, where the store may be used so. Of a session in which anything has happened since it was
    listed nothing is deleted; it is judged anew by its events. A part goes behind its session, and is not counted. One
    that was forked goes with the prune after that of its forks. One in progress stays while its writers are heard of. A
    prune that was broken off is simply repeated.

    Args:
        store: which can prune.
        older_than_ns: UTC nanoseconds.
        dry_run: delete nothing.
        only: tells of a session or part, as it is when it goes, whether it may.
        progress: called with how many sessions and parts were looked at, and of how many.

    Raises:
        UnsupportedByStore: where the store cannot.
        StoreUnreachable: and other errors of the store; what was deleted by then is.
    """
    if not store.capabilities.prune:
        raise UnsupportedByStore(store.url, "prune")
    wanted = SessionFilter(until_ns=older_than_ns - 1, parts=True, brief=True)
    listed = [head for head in current_sessions(store, wanted) if is_prunable(head, older_than_ns)]

    def goes(head: SessionHead) -> bool:
        return _goes(store, head, older_than_ns, only, dry_run=dry_run) and head.part_of is None

    count, done = 0, 0
    for those in ([head for head in listed if head.part_of is None], [head for head in listed if head.part_of]):
        with closing(side_by_side(goes, those, store.capabilities.threads)) as found:
            for gone in found:
                count, done = count + gone, done + 1
                progress(done, len(listed))
    return count


def _goes(
    store: JournalStore, listed: SessionHead, older_than_ns: int, only: Callable[[SessionHead], bool], *, dry_run: bool
) -> bool:
    """Delete a session or a part if it may go; tell whether it did, or would."""
    head: SessionHead | None = listed
    for _ in range(_DELETE_TRIES):
        if head is None or not is_prunable(head, older_than_ns) or not _whole_goes(store, head, older_than_ns):
            return False
        if _is_referred_to(store, head) or not only(head):
            return False
        if dry_run or not isinstance(store, DeletesBesideOthers):
            if isinstance(store, PutByOthers) and any(store.put_by_others(head.session_id, older_than_ns)):
                return False
            if dry_run or _delete(store, head):
                return True
        elif store.delete_before(head.session_id, head.cursor, head.version, older_than_ns):
            return True
        head = current(store, listed.session_id)  # something has happened since, or it is gone
    return False


def _delete(store: JournalStore, head: SessionHead) -> bool:
    assert isinstance(store, StoreAdmin)
    return store.delete_session(head.session_id, head.cursor, head.version)


def _is_referred_to(store: JournalStore, head: SessionHead) -> bool:
    """Tell whether a session was forked, and a fork of it is there, which is read through it."""
    return len(head.forks) >= MAX_LISTED or any(current(store, fork) is not None for fork in head.forks)


def _whole_goes(store: JournalStore, head: SessionHead, older_than_ns: int) -> bool:
    """Tell whether the session that this one is part of goes, too, or is gone."""
    return is_prunable(whole_of(store, head), older_than_ns)


def is_prunable(head: SessionHead, older_than_ns: int) -> bool:
    """Tell whether a session may be deleted: last updated before that time, and nobody is at work in it.

    A step may take days without an event, so of a session in PROCESSING no writer with an open step may have been
    heard of since, nor in the minute before.
    """
    if head.updated_ns >= older_than_ns:
        return False
    alive_ns = older_than_ns - _ALIVE_NS
    seen_ns = (head.writers.get(writer, head.updated_ns) for writer in head.open_writers)
    return head.status != PROCESSING or all(last_seen_ns < alive_ns for last_seen_ns in seen_ns)


def settle(store: JournalStore, before_ns: int) -> int:
    """Write the heads of unsettled sessions that were last updated before a time and go on no more; return how many.

    Of what died before it had written them: until then every listing looks behind them.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    count = 0
    for session_id in list(store.unsettled()):
        head = current(store, session_id)
        if head is not None and not head.open_writers and head.updated_ns < before_ns:
            count += store.write_head(head) is not None
    return count


class Repaired(NamedTuple):
    """A session whose head was not what its events amount to: what was found, and whether it was put right."""

    session_id: str
    found: str
    written: bool


def repair(store: JournalStore, session_id: str) -> Repaired | None:
    """Fold a session from its beginning and write its head where that is missing or another; None: it was right.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    found = None
    for _ in range(_HEAD_TRIES):
        stored = store.head(session_id)
        folded = fold_from_beginning(store, session_id)
        if not len(folded.state.seen):
            return None if stored is None else Repaired(session_id, "a head without events", written=False)
        head = folded.head(session_id, version=stored.version if stored else 0)
        difference = _difference(stored, head)
        if difference is None and stored is not None and stored.cursor == head.cursor:
            return None if found is None else Repaired(session_id, found, written=True)
        found = found or difference
        if store.write_head(head) is not None:
            return None if found is None else Repaired(session_id, found, written=True)
    return Repaired(session_id, found or "it is written to all the time", written=False)


def _difference(stored: SessionHead | None, head: SessionHead) -> str | None:
    if stored is None:
        return "no head"
    if same_head(stored, head):
        return None
    behind = head.events - stored.events
    return f"{behind} event{'' if behind == 1 else 's'} behind" if behind > 0 else "other than its events"


def same_head(one: SessionHead, two: SessionHead) -> bool:
    """Tell whether two heads say the same of a session's events: times of writers are heartbeats' too."""

    def said(head: SessionHead) -> SessionHead:
        return msgspec.structs.replace(head, version=0, writers={}, cursor=None, snapshot=b"")

    return said(one) == said(two)
