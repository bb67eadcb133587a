"""Keeps the heads of sessions in step with the events that are delivered: the cache that listings read.

Holds a fold for each session in hand, writes its head at most once a second, and folds anew from the store where
another process wrote the head meanwhile. The folds themselves are `projections/status.py`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.status import StatusState, apply, fold, head_of, heard
from otel_agent_journal.store.protocol import HearsWriters, JournalStore

_log = logging.getLogger("otel_agent_journal.spool")

MAX_SESSIONS: Final = 4096
MAX_ENDED: Final = 512  # of these, how many with no step open: they may go on, then they are read again
MAX_EVENTS: Final = 1_000_000  # over all folds in hand, at some 20-40 bytes each
_ATTEMPTS: Final = 8  # against other drainers of the same session


class _InHand:
    """A session's fold, None until it is read from the store, and when writers were heard of meanwhile."""

    __slots__ = ("heard", "state", "version")

    def __init__(self) -> None:
        self.state: StatusState | None = None
        self.version = 0
        self.heard: dict[str, int] = {}


class HeadKeeper:
    """Write heads for what is delivered. Used by one thread at a time.

    Args:
        store: which must be able to read and to keep heads, else nothing is written, and heartbeats are passed on.
        insist: calls a function until the store can be reached.
    """

    def __init__(
        self, store: JournalStore, insist: Callable[[Callable[[], object]], None], *, max_sessions: int = MAX_SESSIONS
    ) -> None:
        self._store = store
        self._insist = insist
        self._max_sessions = max_sessions
        self._in_hand: OrderedDict[str, _InHand] = OrderedDict()
        self._dirty: dict[str, None] = {}
        self._new = False

    @property
    def enabled(self) -> bool:
        """Tell whether heads are kept; a store may find out as it is first written to that it may not keep them."""
        capabilities = self._store.capabilities
        return capabilities.heads and capabilities.read

    @property
    def is_dirty(self) -> bool:
        """Tell whether a head lags behind what is delivered."""
        return bool(self._dirty)

    @property
    def has_new(self) -> bool:
        """Tell whether a session came up that was not in hand: listings should show it at once."""
        return self._new

    def note(self, events: Sequence[JournalEvent]) -> None:
        """Take in events that are in the store."""
        enabled = self.enabled
        for event in events:
            in_hand = self._touch(event.session_id)
            if in_hand.state is None and not enabled:
                in_hand.state = StatusState()  # what came before cannot be read: what is open since is known
            if in_hand.state is not None:
                apply(in_hand.state, event)

    def heard(self, writer: str, at_ns: int, sessions: Iterable[str]) -> None:
        """Take in a heartbeat; raises StoreUnreachable where the store is to pass it on, and cannot."""
        if not self.enabled:
            store = self._store
            if isinstance(store, HearsWriters):
                named = tuple(sessions)
                self._insist(lambda: store.heard(writer, at_ns, named))
            return
        for session_id in sessions:
            in_hand = self._touch(session_id)
            in_hand.heard[writer] = max(at_ns, in_hand.heard.get(writer, 0))
            if in_hand.state is not None:
                heard(in_hand.state, writer, at_ns)

    def write(self) -> None:
        """Write all heads that lag behind; after StoreUnreachable, which `insist` raises, the rest still lags."""
        self._new = False
        if not self.enabled:
            self._keep_open_alone()
        for session_id in list(self._dirty):
            try:
                self._insist(lambda session_id=session_id: self._write(session_id))
            except StoreUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 - a head is a cache: it must not hold up the events
                _log.warning("session_id=<%s>, error=<%s> | head could not be written", session_id, error)
            self._dirty.pop(session_id, None)
            if len(self._in_hand) > self._max_sessions:
                del self._in_hand[session_id]
        self._make_room()

    def _keep_open_alone(self) -> None:
        """Drop what has no step open: there is no head to write, only who left what open to be known."""
        self._dirty.clear()
        for session_id, in_hand in list(self._in_hand.items()):
            if in_hand.state is None or not in_hand.state.open:
                del self._in_hand[session_id]

    def left_open(self, writer: str) -> list[SessionHead]:
        """Return the heads of the sessions in hand in which this writer has steps open."""
        states = ((session_id, one.state) for session_id, one in self._in_hand.items() if one.state is not None)
        heads = (head_of(state, session_id) for session_id, state in states if state.open)
        return [head for head in heads if writer in head.open_writers]

    def forget(self) -> None:
        """Drop everything in hand."""
        self._in_hand.clear()
        self._dirty.clear()

    def _touch(self, session_id: str) -> _InHand:
        in_hand = self._in_hand.get(session_id)
        if in_hand is None:
            in_hand = self._in_hand[session_id] = _InHand()
            self._new = True
        else:
            self._in_hand.move_to_end(session_id)
        self._dirty[session_id] = None
        return in_hand

    def _write(self, session_id: str) -> None:
        in_hand = self._in_hand[session_id]
        for _ in range(_ATTEMPTS):
            if in_hand.state is None:
                stored = self._store.head(session_id)
                in_hand.version = stored.version if stored else 0
                in_hand.state = fold(self._store.read(session_id))
                for writer, at_ns in in_hand.heard.items():
                    heard(in_hand.state, writer, at_ns)
            head = head_of(in_hand.state, session_id, version=in_hand.version)
            if head.events == 0:  # known from a heartbeat alone
                return
            written = self._store.write_head(head)
            if written is not None:
                in_hand.version = written.version
                return
            in_hand.state = None
        raise StoreUnreachable(f"session {session_id}: others keep writing its head; it is written a little later")

    def _make_room(self) -> None:
        ended = [known for known, one in self._in_hand.items() if one.state is not None and not one.state.open]
        for oldest in ended[:-MAX_ENDED]:
            del self._in_hand[oldest]
        sizes = {known: len(one.state.seen) if one.state else 0 for known, one in self._in_hand.items()}
        total = sum(sizes.values())
        for oldest, size in sizes.items():
            if total <= MAX_EVENTS or len(self._in_hand) == 1:
                return
            del self._in_hand[oldest]
            total -= size
