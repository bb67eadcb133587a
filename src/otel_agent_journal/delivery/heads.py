"""Keeps the heads of sessions in step with the events that are delivered: the cache that listings read.

Holds a fold for each session in hand, writes its head at most once a second, and folds anew from the store where
another process wrote the head meanwhile. The folds themselves are `projections/status.py`. A session's fold has the
events of its parts as well, whose own heads are kept like any other: what comes for a part moves both.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import SESSION_LINKED, JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.links import parts_of, wholes_of
from otel_agent_journal.projections.status import StatusState, apply, fold, head_of, heard
from otel_agent_journal.store.protocol import HearsWriters, JournalStore

_log = logging.getLogger("otel_agent_journal.spool")

MAX_SESSIONS: Final = 4096
MAX_ENDED: Final = 512  # of these, how many with no step open: they may go on, then they are read again
MAX_EVENTS: Final = 1_000_000  # over all folds in hand, at some 20-40 bytes each
_ATTEMPTS: Final = 8  # against other drainers of the same session


class _InHand:
    """A session's fold, None until it is read from the store, and when writers were heard of meanwhile.

    `parts` are those whose events the fold has.
    """

    __slots__ = ("heard", "parts", "state", "version")

    def __init__(self) -> None:
        self.state: StatusState | None = None
        self.parts: set[str] = set()
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
        self._wholes: dict[str, set[str]] = {}  # by part, the sessions in hand whose folds have its events
        self._dirty: dict[str, None] = {}
        self._new: dict[str, None] = {}

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
        return bool(self._new)

    def note(self, events: Sequence[JournalEvent]) -> None:
        """Take in events that are in the store."""
        enabled = self.enabled
        for event in events:
            in_hand = self._touch(event.session_id)
            if in_hand.state is None and not enabled:
                in_hand.state = StatusState()  # what came before cannot be read: what is open since is known
            _apply(in_hand, event)
            for whole in self._wholes_of(event.session_id):
                in_hand = self._touch(whole)
                if event.session_id in in_hand.parts:
                    _apply(in_hand, event)

    def heard(self, writer: str, at_ns: int, sessions: Iterable[str]) -> None:
        """Take in a heartbeat; raises StoreUnreachable where the store is to pass it on, and cannot."""
        if not self.enabled:
            store = self._store
            if isinstance(store, HearsWriters):
                named = tuple(sessions)
                self._insist(lambda: store.heard(writer, at_ns, named))
            return
        for session_id in sessions:
            for one in (session_id, *self._wholes_of(session_id)):
                in_hand = self._touch(one)
                in_hand.heard[writer] = max(at_ns, in_hand.heard.get(writer, 0))
                if in_hand.state is not None:
                    heard(in_hand.state, writer, at_ns)

    def write(self) -> None:
        """Write all heads that lag behind; after StoreUnreachable, which `insist` raises, the rest still lags."""
        self._new.clear()
        if not self.enabled:
            self._keep_open_alone()
        for _ in ("sessions", "those that they turned out to be part of"):
            for session_id in list(self._dirty):
                self._write_insisting(session_id)
        self._make_room()

    def write_new(self) -> None:
        """Write the heads of the sessions that came up since the last call; the others lag on until `write`."""
        new, self._new = self._new, {}
        if self.enabled:
            for session_id in new:
                if session_id in self._dirty:
                    self._write_insisting(session_id)

    def _keep_open_alone(self) -> None:
        """Drop what has no step open: there is no head to write, only who left what open to be known."""
        self._dirty.clear()
        for session_id, in_hand in list(self._in_hand.items()):
            if in_hand.state is None or not in_hand.state.open:
                self._drop(session_id)

    def left_open(self, writer: str) -> list[SessionHead]:
        """Return the heads of the sessions in hand in which this writer has steps open."""
        states = ((session_id, one.state) for session_id, one in self._in_hand.items() if one.state is not None)
        heads = (head_of(state, session_id) for session_id, state in states if state.open)
        return [head for head in heads if writer in head.open_writers]

    def forget(self) -> None:
        """Drop everything in hand."""
        self._in_hand.clear()
        self._wholes.clear()
        self._dirty.clear()
        self._new.clear()

    def _write_insisting(self, session_id: str) -> None:
        try:
            self._insist(lambda: self._write(session_id))
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - a head is a cache: it must not hold up the events
            _log.warning("session_id=<%s>, error=<%s> | head could not be written", session_id, error)
        self._dirty.pop(session_id, None)
        if len(self._in_hand) > self._max_sessions:
            self._drop(session_id)

    def _wholes_of(self, part: str) -> set[str]:
        """Return the sessions that a session is known to be part of."""
        found = self._wholes.get(part, set())
        in_hand = self._in_hand.get(part)
        if in_hand is None or in_hand.state is None or not in_hand.state.links:
            return found
        return found.union(wholes_of(in_hand.state.links, part))

    def _touch(self, session_id: str) -> _InHand:
        in_hand = self._in_hand.get(session_id)
        if in_hand is None:
            in_hand = self._in_hand[session_id] = _InHand()
            self._new[session_id] = None
        else:
            self._in_hand.move_to_end(session_id)
        self._dirty[session_id] = None
        return in_hand

    def _write(self, session_id: str) -> None:
        in_hand = self._in_hand[session_id]
        for _ in range(_ATTEMPTS):
            state = in_hand.state or self._read(session_id, in_hand)
            self._take_in_parts(session_id, in_hand, state)
            head = head_of(state, session_id, version=in_hand.version)
            if head.events == 0:  # known from a heartbeat alone
                return
            written = self._store.write_head(head)
            if written is not None:
                in_hand.version = written.version
                return
            in_hand.state = None
        raise StoreUnreachable(f"session {session_id}: others keep writing its head; it is written a little later")

    def _read(self, session_id: str, in_hand: _InHand) -> StatusState:
        """Fold a session from the store, without its parts."""
        stored = self._store.head(session_id)
        in_hand.version = stored.version if stored else 0
        self._forget_parts(session_id, in_hand)
        in_hand.state = state = fold(self._store.read(session_id))
        for writer, at_ns in in_hand.heard.items():
            heard(state, writer, at_ns)
        for whole in wholes_of(state.links, session_id):  # others may have written what their folds have not
            self._touch(whole).parts.discard(session_id)
        self._wholes.pop(session_id, None)
        return state

    def _take_in_parts(self, session_id: str, in_hand: _InHand, state: StatusState) -> None:
        """Fold what a session's fold lacks of its parts: of each all that is in the store, once."""
        for part in parts_of(state.links, session_id):
            if part not in in_hand.parts:
                fold(self._store.read(part), state)
                in_hand.parts.add(part)
                self._wholes.setdefault(part, set()).add(session_id)

    def _forget_parts(self, session_id: str, in_hand: _InHand) -> None:
        for part in in_hand.parts:
            wholes = self._wholes.get(part, set())
            wholes.discard(session_id)
            if not wholes:
                self._wholes.pop(part, None)
        in_hand.parts.clear()

    def _drop(self, session_id: str) -> None:
        self._forget_parts(session_id, self._in_hand.pop(session_id))

    def _make_room(self) -> None:
        written = [(known, one.state) for known, one in self._in_hand.items() if known not in self._dirty]
        ended = [known for known, state in written if state is not None and not state.open]
        for oldest in ended[:-MAX_ENDED]:
            self._drop(oldest)
        sizes = {known: len(one.state.seen) if one.state else 0 for known, one in self._in_hand.items()}
        total = sum(sizes.values())
        for oldest, size in sizes.items():
            if oldest in self._dirty:
                continue
            if total <= MAX_EVENTS or len(self._in_hand) == 1:
                return
            self._drop(oldest)
            total -= size


def _apply(in_hand: _InHand, event: JournalEvent) -> None:
    state = in_hand.state
    if state is None:
        return
    known = len(state.seen)
    apply(state, event)
    if in_hand.parts and len(state.seen) == known and event.type != SESSION_LINKED:
        in_hand.state = None  # perhaps another copy, of the session or of a part: the store says which one counts
