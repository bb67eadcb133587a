"""The folds of the sessions in hand: what their heads are made of, held as long as there is room.

What this process appends is folded as it is known where that arrived; where another writer's events came between, what
is behind the fold is read, and after a lost compare-and-set what is behind the other's head: so each event is folded
once, however many write. A session's fold has the events of its parts as well, whose own folds are kept like any other:
what comes for a part moves both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from otel_agent_journal.event import SESSION_LINKED, JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.links import parts_of, wholes_of
from otel_agent_journal.projections.status import StatusState, apply, fold, heard
from otel_agent_journal.store.protocol import Arrived, JournalStore
from otel_agent_journal.store.rules import Folded, fold_from_beginning, fold_from_head, fold_on

MAX_ENDED: Final = 128  # of these, how many with no step open, some 40 KB each: those that go on are read again
MAX_EVENTS: Final = 1_000_000  # over all folds in hand, at some 20-40 bytes each


class SessionFold:
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
        """What is folded so far."""
        return None if self.folded is None else self.folded.state

    @property
    def size(self) -> int:
        """How many events it has."""
        return 0 if self.folded is None else len(self.folded.state.seen)

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

    def take_all(self, events: Iterable[JournalEvent]) -> None:
        """Fold events of a store that cannot be read: what is open since is known."""
        self.folded = self.folded or Folded(StatusState(), None)
        self.take(events)

    def hear(self, writer: str, at_ns: int) -> None:
        """Take in that a writer was alive."""
        self.heard[writer] = max(at_ns, self.heard.get(writer, 0))
        if self.state is not None:
            heard(self.state, writer, at_ns)


class Folds:
    """The folds in hand, the one touched last at the end, and which of them lag behind what is delivered.

    Attributes:
        lagging: sessions of which something came since their heads were written, in that order.
        new: those of them that were not in hand before.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._folds: OrderedDict[str, SessionFold] = OrderedDict()
        self._wholes: dict[str, set[str]] = {}  # by part, the sessions in hand whose folds have its events
        self.lagging: dict[str, None] = {}
        self.new: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._folds)

    def __getitem__(self, session_id: str) -> SessionFold:
        return self._folds[session_id]

    def touch(self, session_id: str) -> SessionFold:
        """Return a session's fold, made where it is not in hand; it lags behind from here on."""
        one = self._folds.get(session_id)
        if one is None:
            one = self._folds[session_id] = SessionFold()
            self.new[session_id] = None
        else:
            self._folds.move_to_end(session_id)
        self.lagging[session_id] = None
        return one

    def wholes(self, part: str) -> set[str]:
        """Return the sessions that a session is known to be part of."""
        found = self._wholes.get(part, set())
        one = self._folds.get(part)
        if one is None or one.state is None or not one.state.links:
            return found
        return found.union(wholes_of(one.state.links, part))

    def states(self) -> Iterator[tuple[str, StatusState]]:
        """Yield the sessions whose fold is there, with what is folded."""
        return ((known, one.state) for known, one in self._folds.items() if one.state is not None)

    def caught_up(self, session_id: str) -> Folded:
        """Return a session's fold with all that has arrived. Raises as the store's reads."""
        one = self._folds[session_id]
        folded, one.folded = one.folded, None  # a fold is dropped where a read of the store fails
        if folded is None or one.behind:
            folded = self._read_on(session_id, one, folded)
        folded = self._with_parts(session_id, one, folded)
        for writer, at_ns in one.heard.items():
            heard(folded.state, writer, at_ns)
        one.folded, one.behind = folded, False
        return folded

    def drop(self, session_id: str) -> None:
        """Let go of a session's fold."""
        self._forget_parts(session_id, self._folds.pop(session_id))

    def drop_ended(self) -> None:
        """Let go of what has no step open, and of what lags: nobody writes heads."""
        self.lagging.clear()
        for session_id, one in list(self._folds.items()):
            if one.state is None or not one.state.open:
                self.drop(session_id)

    def make_room(self) -> None:
        """Let go of the oldest folds of which nothing is to be written, as many as are too many."""
        written = [(known, one.state) for known, one in self._folds.items() if known not in self.lagging]
        ended = [known for known, state in written if state is not None and not state.open]
        for oldest in ended[:-MAX_ENDED]:
            self.drop(oldest)
        sizes = {known: one.size for known, one in self._folds.items()}
        total = sum(sizes.values())
        for oldest, size in sizes.items():
            if oldest in self.lagging:
                continue
            if total <= MAX_EVENTS or len(self._folds) == 1:
                return
            self.drop(oldest)
            total -= size

    def clear(self) -> None:
        """Let go of everything."""
        self._folds.clear()
        self._wholes.clear()
        self.lagging.clear()
        self.new.clear()

    def _read_on(self, session_id: str, one: SessionFold, folded: Folded | None) -> Folded:
        """Fold on what the store has, from our own fold or from the stored head, whichever is further."""
        stored = self._store.head(session_id)
        version, cursor = (stored.version, stored.cursor) if stored else (0, None)
        # Where others write too, the head has what they have folded; without a snapshot, ours goes on. Where there
        # is none, another of our version or an earlier one, or one that does not say what it has, the session may have
        # been deleted, and have begun anew.
        ours = (version, cursor) == (one.version, one.written) and stored is not None
        goes_on = cursor is not None and version > one.version
        ours = ours or (stored is not None and not stored.snapshot and not one.parts and goes_on)
        one.version, one.written = version, cursor
        if folded is not None and ours:
            return fold_on(self._store, session_id, folded)
        return self._read_anew(session_id, one, stored)

    def _read_anew(self, session_id: str, one: SessionFold, stored: SessionHead | None) -> Folded:
        """Fold a session on from its stored head, or from its beginning."""
        self._forget_parts(session_id, one)
        one.stored, one.whole = stored, stored is None or not stored.snapshot
        folded = fold_from_beginning(self._store, session_id) if stored is None else fold_from_head(self._store, stored)
        one.parts.update(parts_of(folded.state.links, session_id))
        one.whole = one.whole or bool(one.parts)
        for whole in wholes_of(folded.state.links, session_id):  # others may have written what their folds have not
            self.touch(whole).parts.discard(session_id)
        self._wholes.pop(session_id, None)
        return folded

    def _with_parts(self, session_id: str, one: SessionFold, folded: Folded) -> Folded:
        """Return a session's fold with the events of its parts."""
        parts = parts_of(folded.state.links, session_id)
        if parts and not one.whole:
            folded = fold_from_beginning(self._store, session_id)
            one.whole, one.parts = True, set(parts)
        for part in parts:
            if part not in one.parts:
                fold(self._store.read(part), folded.state)
                one.parts.add(part)
            self._wholes.setdefault(part, set()).add(session_id)
        return folded

    def _forget_parts(self, session_id: str, one: SessionFold) -> None:
        for part in one.parts:
            wholes = self._wholes.get(part, set())
            wholes.discard(session_id)
            if not wholes:
                self._wholes.pop(part, None)
        one.parts.clear()
