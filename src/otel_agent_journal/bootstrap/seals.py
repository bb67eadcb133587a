"""Seals wired to a journal: which sessions a pass looks at, and anchors after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from otel_agent_journal.projections.head import PENDING, PROCESSING, SessionHead
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.seals.anchors import Anchor, open_anchor
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.stamps import StampAnchor
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import current, current_sessions

_UNDER_WAY = (PROCESSING, PENDING)


class Passes:
    """Which sessions there are to seal, pass by pass: at first all, later those in which something came.

    Args:
        journal: which is read.
        running: those under way, too.
    """

    def __init__(self, journal: Journal, *, running: bool) -> None:
        self._journal = journal
        self._running = running
        self._cursor: str | None = None
        self._under_way: set[str] = set()

    def sessions(self) -> Iterator[str]:
        """Yield the sessions of the next pass.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        store = self._journal.store
        if self._cursor is None:
            self._cursor = store.tip()
            heads: Iterable[SessionHead | None] = list(current_sessions(store, SessionFilter(parts=True)))
        else:
            came = self._came(self._cursor) | self._under_way
            heads = (current(store, session_id) for session_id in sorted(came))
        left = {head.session_id: head for head in heads if head is not None}
        self._under_way = set(left)  # until it is known of each what becomes of it: a pass may fail
        for session_id, head in left.items():
            if self._running or self._journal.judged(head).status not in _UNDER_WAY:
                yield session_id
                self._under_way.discard(session_id)

    def _came(self, cursor: str) -> set[str]:
        came: set[str] = set()
        while (page := self._journal.store.follow(cursor)).events:
            came.update(event.session_id for event in page.events)
            cursor = page.cursor
        self._cursor = cursor
        return came


def named(journal: Journal, sessions: Iterable[str]) -> list[str]:
    """Return the sessions that are meant, each with the traces that are part of it.

    Raises:
        SessionNotFound: one is not there.
    """
    heads = [journal.session(one) for one in sessions]
    return [one for head in heads for one in (head.session_id, *head.parts)]


def open_anchors(store: JournalStore, places: Iterable[str]) -> list[Anchor]:
    """Return the anchors of these names: files, URLs, and time-stamp services, whose tokens the store keeps."""
    return [
        StampAnchor(store, where.removeprefix("tsa+")) if where.startswith("tsa+") else open_anchor(where)
        for where in places
    ]


def anchored(log: Log, anchors: Iterable[Anchor], now_ns: int) -> Iterator[str]:
    """Keep the log's checkpoint at anchors, where there is one; yield where it is kept."""
    head = log.head()
    if head is None:
        return
    for anchor in anchors:
        anchor.put(head.note, head.size, now_ns)
        yield anchor.shown
