"""Keeps the heads of sessions in step with the events that are delivered: the cache that listings read.

Holds a fold for each session in hand and writes its head at most once a second. What this process appends it folds as
it knows where that arrived; where another writer's events came between, it reads what is behind its fold, and after a
lost compare-and-set what is behind the other's head: so each event is folded once, however many write. A session's fold
has the events of its parts as well, whose own heads are kept like any other: what comes for a part moves both.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import SESSION_LINKED, JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.links import parts_of, wholes_of
from otel_agent_journal.projections.status import StatusState, apply, fold, heard
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.protocol import Arrived, HearsWriters, JournalStore
from otel_agent_journal.store.rules import Folded, fold_from_beginning, fold_from_head, fold_on, merged_writers

_log = logging.getLogger("otel_agent_journal.spool")

MAX_SESSIONS: Final = 4096
MAX_ENDED: Final = 128  # of these, how many with no step open, some 40 KB each: those that go on are read again
MAX_EVENTS: Final = 1_000_000  # over all folds in hand, at some 20-40 bytes each
_ATTEMPTS: Final = 8  # against other drainers of the same session


class _InHand:
    """A session's fold, None until it is needed, and when writers were heard of meanwhile.

    `behind`: something arrived that the fold does not have. `whole`: it was folded from the first event on. `parts` are
    those whose events the fold has.
    """

    __slots__ = ("behind", "folded", "heard", "parts", "stored", "version", "whole", "written")

    def __init__(self) -> None:
        self.folded: Folded | None = None
        self.behind = False
        self.whole = False
        self.parts: set[str] = set()
        self.stored: SessionHead | None = None  # as it was read, until it is written
        self.version = 0
        self.written: str | None = None  # the cursor of the head that was read or written last
        self.heard: dict[str, int] = {}

    @property
    def state(self) -> StatusState | None:
        return None if self.folded is None else self.folded.state

    def take(self, events: Iterable[JournalEvent]) -> None:
        """Fold events; where one of them is a copy of what a part has, the store says which one counts."""
        state = self.state
        for event in events:
            if state is None:
                return
            known = len(state.seen)
            apply(state, event)
            if self.parts and len(state.seen) == known and event.type != SESSION_LINKED:
                self.folded = state = None

    def take_own(self, events: Sequence[JournalEvent], arrived: Arrived | None) -> None:
        """Fold events of the session itself, if they arrived right behind what the fold has."""
        if arrived is not None and arrived.after is None:  # a new session, or one that was deleted and begins anew
            self.folded, self.whole, self.behind = Folded(StatusState(), None), True, False
        if self.folded is None or self.behind or arrived is None or arrived.after != self.folded.cursor:
            self.behind = True
            return
        self.folded = Folded(self.folded.state, arrived.cursor)
        self.take(events)


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
        self._in_hand: OrderedDict[str, _InHand] = OrderedDict()
        self._wholes: dict[str, set[str]] = {}  # by part, the sessions in hand whose folds have its events
        self._dirty: dict[str, None] = {}
        self._new: dict[str, None] = {}
        self.written = 0  # heads, so far

    @property
    def enabled(self) -> bool:
        """Tell whether heads are kept; a store may find out as it is first written to that it may not keep them."""
        capabilities = self._store.capabilities
        return capabilities.heads and capabilities.read

    @property
    def lagging(self) -> int:
        """How many heads lag behind what is delivered."""
        return len(self._dirty)

    @property
    def has_new(self) -> bool:
        """Tell whether a session came up that was not in hand: listings should show it at once."""
        return bool(self._new)

    def note(self, events: Sequence[JournalEvent], arrived: Mapping[str, Arrived] | None = None) -> None:
        """Take in events that are in the store. `arrived`: what the append of them has said."""
        by_session: dict[str, list[JournalEvent]] = {}
        for event in events:
            by_session.setdefault(event.session_id, []).append(event)
        for session_id, own in by_session.items():
            in_hand = self._touch(session_id)
            if self.enabled:
                in_hand.take_own(own, arrived.get(session_id) if arrived else None)
            else:  # what came before cannot be read: what is open since is known
                in_hand.folded = in_hand.folded or Folded(StatusState(), None)
                in_hand.take(own)
            for whole in self._wholes_of(session_id):
                in_hand = self._touch(whole)
                if session_id in in_hand.parts:
                    in_hand.take(own)

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
            folded = self._caught_up(session_id, in_hand)
            head = folded.head(session_id, version=in_hand.version)
            stored, in_hand.stored = in_hand.stored, None
            if head.events == 0 or (stored is not None and _is_same(stored, head)):  # known from a heartbeat alone
                return
            written = self._store.write_head(head)
            if written is not None:
                in_hand.version, in_hand.written = written.version, written.cursor
                self.written += 1
                return
            in_hand.behind = True
        raise StoreUnreachable(f"session {session_id}: others keep writing its head; it is written a little later")

    def _caught_up(self, session_id: str, in_hand: _InHand) -> Folded:
        """Return a session's fold with all that has arrived."""
        folded, in_hand.folded = in_hand.folded, None  # a fold is dropped where a read of the store fails
        if folded is None or in_hand.behind:
            stored = self._store.head(session_id)
            version, cursor = (stored.version, stored.cursor) if stored else (0, None)
            # Where others write too, the head has what they have folded; without a snapshot, ours goes on. Where there
            # is none, or another of our version, the session may have been deleted, and have begun anew.
            ours = (version, cursor) == (in_hand.version, in_hand.written) and stored is not None
            ours = ours or (stored is not None and not stored.snapshot and not in_hand.parts)
            in_hand.version, in_hand.written = version, cursor
            if folded is not None and ours:
                folded = fold_on(self._store, session_id, folded)
            else:
                folded = self._read(session_id, in_hand, stored)
        parts = parts_of(folded.state.links, session_id)
        if parts and not in_hand.whole:
            folded = fold_from_beginning(self._store, session_id)
            in_hand.whole, in_hand.parts = True, set(parts)
        for part in parts:
            if part not in in_hand.parts:
                fold(self._store.read(part), folded.state)
                in_hand.parts.add(part)
            self._wholes.setdefault(part, set()).add(session_id)
        for writer, at_ns in in_hand.heard.items():
            heard(folded.state, writer, at_ns)
        in_hand.folded, in_hand.behind = folded, False
        return folded

    def _read(self, session_id: str, in_hand: _InHand, stored: SessionHead | None) -> Folded:
        """Fold a session on from its stored head."""
        self._forget_parts(session_id, in_hand)
        in_hand.stored, in_hand.whole = stored, stored is None or not stored.snapshot
        folded = fold_from_beginning(self._store, session_id) if stored is None else fold_from_head(self._store, stored)
        in_hand.parts.update(parts_of(folded.state.links, session_id))
        in_hand.whole = in_hand.whole or bool(in_hand.parts)
        for whole in wholes_of(folded.state.links, session_id):  # others may have written what their folds have not
            self._touch(whole).parts.discard(session_id)
        self._wholes.pop(session_id, None)
        return folded

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


def _is_same(stored: SessionHead, head: SessionHead) -> bool:
    return stored == msgspec.structs.replace(head, writers=merged_writers(stored, head))
