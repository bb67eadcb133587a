"""A session that is looked at: its fold, which all who look share, and who they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from otel_agent_journal.projections.verdict import judged, silent_writers
from otel_agent_journal.reading.following import Followed
from otel_agent_journal.server.feeds import Feed, Frame, Readers
from otel_agent_journal.server.fold import SessionFold
from otel_agent_journal.server.nodes import Place
from otel_agent_journal.server.rows import row_of, session_row, waits_of
from otel_agent_journal.server.wire import Resync, Row, Rows, SessionRow, Text, Tree

if TYPE_CHECKING:
    from otel_agent_journal.errors import JournalError
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

ROWS_A_FRAME: Final = 500
MOST_ROWS: Final = 100_000  # of one answer; the rest is asked for
encode: Final = msgspec.json.Encoder().encode


class Room:
    """One session's fold. `look` is called by the thread that follows; all else from any thread.

    Args:
        session_id: the session.
        journal: what the following thread reads with.
    """

    def __init__(self, session_id: str, journal: Journal) -> None:
        self.session_id = session_id
        self.lock = threading.RLock()
        self.fold = SessionFold(session_id, journal.price)
        self.loaded = threading.Event()
        self.readers = Readers()
        self.used_s = time.monotonic()
        self.arrived_s = self.used_s  # when anything came
        self.broken: JournalError | None = None  # why it cannot be read
        self.parts: tuple[str, ...] | None = None
        self._journal = journal
        self._followed = Followed(journal.store, session_id)
        self._epoch = uuid4().hex[:12]
        self._published = 0
        self._told: SessionRow | None = None
        self._tree: tuple[int, int, bytes] | None = None

    @property
    def at(self) -> str:
        """What a reader that has everything goes on from."""
        return f"{self._epoch}.{self.fold.revision}"

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return bool(self.readers)

    @property
    def is_known(self) -> bool:
        """Whether the session has any event."""
        return len(self.fold.status.seen) > 0

    def look(self) -> bool:
        """Take in what has arrived; return whether there may be more at once.

        Raises:
            StoreUnreachable: and other errors of the store; nothing is lost.
        """
        if self.parts is None:
            self.parts = self._followed.known_parts()
            self._followed.go_to(None, self.parts)
        events, more = self._followed.look()
        with self.lock:
            for event in events:
                self.fold.apply(event)
            if events:
                self.fold.settle()
        if events:
            self.arrived_s = time.monotonic()
        if self._followed.at_end and not self.loaded.is_set():
            self.judge()
            self.loaded.set()
        return more

    def judge(self) -> None:
        """Find out, by heartbeats and the time, which writers are gone. Raises as `look`."""
        stored = self._journal.store.head(self.session_id) if self._journal.store.capabilities.heads else None
        with self.lock:
            if stored is not None:
                self.fold.heard(stored.writers)
            head, now_ns = self.fold.head(), self._journal.clock()
            silent = silent_writers(head, now_ns)
            if silent:
                silent = silent_writers(head, now_ns, waiting_writers=self._journal.waiting())
            self.fold.lose(silent)
            self.fold.settle()

    def row(self) -> SessionRow:
        """Return the session as it is now."""
        with self.lock:
            head = self._judged(self.fold.head())
            return session_row(self.fold, head, self._journal.cost(head))

    def _judged(self, head: SessionHead) -> SessionHead:
        """Return a head as it should be shown now; the spool is looked at only where a writer is silent."""
        now_ns = self._journal.clock()
        if judged(head, now_ns) is head:
            return head
        return judged(head, now_ns, waiting_writers=self._journal.waiting())

    def publish(self) -> None:
        """Tell those who look what has changed since this was last called."""
        with self.lock:
            if not self.readers:
                self._published = self.fold.revision
                list(self.fold.told())
                self._told = None
                return
            frames = list(self._frames(self._published))
            self._published = self.fold.revision
            row = self.row()
            if row != self._told:
                self._told = row
                frames.append(self._frame("session", row))
            for feed in self.readers:
                feed.put(frames)

    def _frames(self, since: int) -> Iterator[Frame]:
        changed = self.fold.forest.since(since)
        if changed is None:
            yield self._frame("resync", Resync(session_id=self.session_id))
            return
        places, gone = changed
        if gone:
            yield self._frame("rows", Rows(session_id=self.session_id, gone=tuple(gone)), since)
        for first in range(0, len(places), ROWS_A_FRAME):
            some = places[first : first + ROWS_A_FRAME]
            rows = tuple(row_of(self.fold, place) for place in some)
            at = some[-1].revision if first + ROWS_A_FRAME < len(places) else self.fold.revision
            yield self._frame("rows", Rows(session_id=self.session_id, rows=rows), at)
        for place, attempt, offset, text in self.fold.told():
            told = Text(session_id=self.session_id, key=place.key, attempt=attempt.ordinal, offset=offset, text=text)
            yield self._frame("text", told)

    def _frame(self, event: str, message: Any, revision: int | None = None) -> Frame:
        at = f"{self._epoch}.{self.fold.revision if revision is None else revision}"
        return Frame(event, encode(message), "session", at)

    def attach(self, feed: Feed, after: str | None) -> None:
        """Tell a reader from now on; and before that what has changed since it was told last."""
        with self.lock:
            self.publish()  # so that all have the same
            if after is not None:
                epoch, _, revision = after.partition(".")
                known = epoch == self._epoch and revision.isascii() and revision.isdecimal()
                frame = self._frame("resync", Resync(session_id=self.session_id))
                feed.put(list(self._frames(int(revision))) if known else [frame])
            feed.put([self._frame("session", self.row())])
            self.readers.attach(feed)

    def detach(self, feed: Feed) -> None:
        """Tell a reader no longer."""
        with self.lock:
            self.readers.detach(feed)
            self.used_s = time.monotonic()

    def tree(self, first: int = 1, most: int = MOST_ROWS) -> bytes:
        """Return the rows from a number on, as JSON; encoded once for all who ask for the same."""
        with self.lock:
            self.used_s = time.monotonic()
            if self._tree is not None and self._tree[:2] == (self.fold.revision, first):
                return self._tree[2]
            tree = self._tree_of(first, most)
            encoded = encode(tree)
            if tree.session.status != "PROCESSING":  # whose session changes by the clock
                self._tree = (self.fold.revision, first, encoded)
            return encoded

    def _tree_of(self, first: int, most: int) -> Tree:
        rows: list[Row] = []
        left = 0
        for place in self.fold.places:
            if place.step.number < first:
                continue
            if len(rows) < most:
                rows.append(row_of(self.fold, place))
            else:
                left += 1
        return Tree(
            session=self.row(),
            rows=tuple(rows),
            at=self.at,
            waits=tuple(waits_of(self.fold)),
            critical=tuple(_critical(self.fold)),
            truncated=left,
        )


def _critical(fold: SessionFold) -> Iterator[str]:
    """Yield the keys of the rows that the end of the session waited for: from each end back to what ended before."""
    for top in sorted(fold.forest.tops.values(), key=_began):
        pending = [top]
        while pending:
            place = pending.pop()
            yield place.key
            at_ns = place.seen().end_ns
            for below in sorted(place.below.values(), key=_ended, reverse=True):
                ended_ns = below.seen().end_ns
                if at_ns is None or (ended_ns is not None and ended_ns <= at_ns):
                    pending.append(below)
                    at_ns = _began(below)


def _began(place: Place) -> int:
    return place.nodes[0].attempt.start_ns


def _ended(place: Place) -> int:
    end_ns = place.nodes[-1].attempt.end_ns
    return 1 << 63 if end_ns is None else end_ns
