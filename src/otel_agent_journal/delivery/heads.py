"""Keeps the heads of sessions in step with the events that are delivered: the cache that listings read.

A head is written at most once a second, of a fold that `folds.py` holds. Where another process was first, the fold is
caught up with what that wrote, and the head is written again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from otel_agent_journal.delivery.folds import Folds
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.protocol import Arrived, HearsWriters, JournalStore
from otel_agent_journal.store.rules import merged_writers

_log = logging.getLogger("otel_agent_journal.spool")

MAX_SESSIONS: Final = 4096
_ATTEMPTS: Final = 8  # against other drainers of the same session


class HeadKeeper:
    """Write heads for what is delivered. Used by one thread at a time.

    Args:
        store: which must be able to read and to keep heads, else nothing is written, and heartbeats are passed on.
        insist: calls a function until the store can be reached.
    """

    def __init__(
        self, store: JournalStore, insist: Callable[[Callable[[], object]], object], *, max_sessions: int = MAX_SESSIONS
    ) -> None:
        self._store = store
        self._insist = insist
        self._max_sessions = max_sessions
        self._folds = Folds(store)
        self.written = 0  # heads, so far

    @property
    def enabled(self) -> bool:
        """Tell whether heads are kept; a store may find out as it is first written to that it may not keep them."""
        capabilities = self._store.capabilities
        return capabilities.heads and capabilities.read

    @property
    def lagging(self) -> int:
        """How many heads lag behind what is delivered."""
        return len(self._folds.lagging)

    @property
    def has_new(self) -> bool:
        """Tell whether a session came up that was not in hand: listings should show it at once."""
        return bool(self._folds.new)

    def note(self, events: Sequence[JournalEvent], arrived: Mapping[str, Arrived] | None = None) -> None:
        """Take in events that are in the store. `arrived`: what the append of them has said."""
        by_session: dict[str, list[JournalEvent]] = {}
        for event in events:
            by_session.setdefault(event.session_id, []).append(event)
        for session_id, own in by_session.items():
            fold = self._folds.touch(session_id)
            if self.enabled:
                fold.take_own(own, arrived.get(session_id) if arrived else None)
            else:
                fold.take_all(own)
            for whole in self._folds.wholes(session_id):
                fold = self._folds.touch(whole)
                if session_id in fold.parts:
                    fold.take(own)

    def heard(self, writer: str, at_ns: int, sessions: Iterable[str]) -> None:
        """Take in a heartbeat; raises StoreUnreachable where the store is to pass it on, and cannot."""
        if not self.enabled:
            store = self._store
            if isinstance(store, HearsWriters):
                named = tuple(sessions)
                self._insist(lambda: store.heard(writer, at_ns, named))
            return
        for session_id in sessions:
            for one in (session_id, *self._folds.wholes(session_id)):
                self._folds.touch(one).hear(writer, at_ns)

    def write(self) -> None:
        """Write all heads that lag behind; after StoreUnreachable, which `insist` raises, the rest still lags."""
        self._folds.new.clear()
        if not self.enabled:  # there is no head to write, only who left what open to be known
            self._folds.drop_ended()
        for _ in ("sessions", "those that they turned out to be part of"):
            for session_id in list(self._folds.lagging):
                self._write_insisting(session_id)
        self._folds.make_room()

    def write_new(self) -> None:
        """Write the heads of the sessions that came up since the last call; the others lag on until `write`."""
        new, self._folds.new = self._folds.new, {}
        if self.enabled:
            for session_id in new:
                if session_id in self._folds.lagging:
                    self._write_insisting(session_id)

    def left_open(self, writer: str) -> list[SessionHead]:
        """Return the heads of the sessions in hand in which this writer has steps open."""
        heads = (head_of(state, session_id) for session_id, state in self._folds.states() if state.open)
        return [head for head in heads if writer in head.open_writers]

    def forget(self) -> None:
        """Drop everything in hand."""
        self._folds.clear()

    def _write_insisting(self, session_id: str) -> None:
        try:
            self._insist(lambda: self._write(session_id))
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - a head is a cache: it must not hold up the events
            _log.warning("session_id=<%s>, error=<%s> | head could not be written", session_id, error)
        self._folds.lagging.pop(session_id, None)
        if len(self._folds) > self._max_sessions:
            self._folds.drop(session_id)

    def _write(self, session_id: str) -> None:
        fold = self._folds[session_id]
        for _ in range(_ATTEMPTS):
            head = self._folds.caught_up(session_id).head(session_id, version=fold.version)
            stored, fold.stored = fold.stored, None
            if head.events == 0 or (stored is not None and _is_same(stored, head)):  # known from a heartbeat alone
                return
            written = self._store.write_head(head)
            if written is not None:
                fold.version, fold.written = written.version, written.cursor
                self.written += 1
                return
            fold.behind = True
        raise StoreUnreachable(f"session {session_id}: others keep writing its head; it is written a little later")


def _is_same(stored: SessionHead, head: SessionHead) -> bool:
    return stored == msgspec.structs.replace(head, writers=merged_writers(stored, head))
