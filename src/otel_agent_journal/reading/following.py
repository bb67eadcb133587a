"""A session followed as its events arrive, those of its parts among them: each stream by a cursor of its own.

A part is joined when the link to it comes by, and then with all it has. An event that the session and a part both have,
as after a request was received twice, is the one that comes first. Who follows all sessions has each event anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.id_set import MASK, IdSet
from otel_agent_journal.projections.links import link_of, part_named_by
from otel_agent_journal.reading.put_by_others import OthersEvents
from otel_agent_journal.store.linked import parts_in
from otel_agent_journal.store.protocol import JournalStore

PARTS_AT_ONCE: Final = 10  # of a session's parts, in one round of looking


class _Stream:
    """What arrives of one session alone, or of all."""

    def __init__(self, store: JournalStore, session_id: str | None) -> None:
        self.session_id = session_id
        self.others = OthersEvents(store, session_id)
        self.cursor: str | None = None
        self._store = store

    def look(self) -> tuple[list[JournalEvent], bool]:
        page = self._store.follow(self.cursor, session_id=self.session_id)
        found = list(self.others.woven(page.events))
        self.cursor = page.cursor
        return found, bool(page.events)


class Followed:
    """What arrives of a session and of its parts, as these turn out to be such; or of all sessions (None).

    It is looked at in rounds: the session in each, of its parts some. Used by one thread at a time.
    """

    def __init__(self, store: JournalStore, session_id: str | None) -> None:
        self._store = store
        self._whole = _Stream(store, session_id)
        self._parts: dict[str, _Stream] = {}
        self._of_whole, self._of_parts = IdSet(), IdSet()  # what passed
        self._turn: deque[_Stream] = deque()  # the parts, those first that are looked at next
        self._round: deque[_Stream] = deque()  # what is still to be looked at before it is time to wait
        self._came = False  # anything in this round
        self._quiet = 0  # how many were looked at since anything came

    @property
    def others(self) -> OthersEvents:
        """What other programs put into the session itself."""
        return self._whole.others

    @property
    def at_end(self) -> bool:
        """Whether the session and all its parts were looked at since anything came."""
        return self._quiet > len(self._turn)

    def known_parts(self) -> tuple[str, ...]:
        """Return the parts that the session is known to have."""
        return () if self._whole.session_id is None else parts_in(self._store, self._whole.session_id)

    def go_to(self, cursor: str | None, parts: Iterable[str]) -> None:
        """Go on from a cursor of the store's, with the session and with these parts of it."""
        for stream in (self._whole, *map(self._add, parts)):
            stream.cursor = cursor

    def look(self) -> tuple[list[JournalEvent], bool]:
        """Return what came, of the session or of a part, and whether to look again at once.

        Raises:
            StoreUnreachable: and other errors of the store; nothing is lost, and the call may be repeated.
        """
        if not self._round:
            some = min(PARTS_AT_ONCE, len(self._turn))
            self._round.extend((self._whole, *islice(self._turn, some)))
            self._turn.rotate(-some)
            self._came = False
        stream = self._round[0]
        found, came = stream.look()
        self._round.popleft()
        self._came, self._quiet = self._came or came, 0 if came else self._quiet + 1
        whole = self._whole.session_id
        if whole is None:
            return found, self._came or bool(self._round)
        if stream is not self._whole:
            found = [event for event in found if (link_of(event) or "?")[0] != whole]  # which the session has, too
        else:
            for part in map(part_named_by, found):
                if part is not None and part not in self._parts:
                    self._add(part)
        return [event for event in found if self._is_new(event, stream)], self._came or bool(self._round)

    def _is_new(self, event: JournalEvent, stream: _Stream) -> bool:
        key = hash((event.timestamp_ns, event.event_id)) & MASK
        if stream is self._whole:
            self._of_whole.add(key)
            return key not in self._of_parts
        return key not in self._of_whole and self._of_parts.add(key)

    def _add(self, part: str) -> _Stream:
        stream = self._parts[part] = _Stream(self._store, part)
        self._turn.appendleft(stream)
        return stream
