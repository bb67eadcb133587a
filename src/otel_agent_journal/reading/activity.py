"""What happened lately in many sessions: when events of each type came, which tools ended, where errors began.

Of each session that is asked for its events since some time are read once, then what arrives of it alone. Content is
not kept: some ten bytes an event. How much is read at a time is bounded, sessions that changed last come first, so that
whoever asks again knows more: `since_ns` says from when on nothing is missing.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple

from otel_agent_journal.event import JournalEvent, kind_of
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.status import passed_through
from otel_agent_journal.reading.following import Followed
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.threads import side_by_side

MAX_EVENTS: Final = 1_000_000  # of all sessions together: some 20 MB
AT_ONCE_S: Final = 0.7  # of reading, in one refresh
_AFTER_ANY_ID: Final = "~"
_LOOK_AT_CLOCK: Final = 64  # events
_LEAST_LOOKS: Final = 16  # though the time is over: on a machine that is kept busy, too, each refresh knows more
_TOOL_ENDINGS: Final = frozenset(("TOOL_END", "TOOL_ERROR"))


class ToolEnded(NamedTuple):
    """A tool call that ended."""

    at_ns: int
    name: str
    took_ns: int | None
    failed: bool


class Began(NamedTuple):
    """An error where it began: the service's code or the exception's type, and the step that it began in."""

    at_ns: int
    cause: str
    kind: str
    name: str


class Facts:
    """What a session's events since `since_ns` amount to here."""

    __slots__ = ("count", "errors", "since_ns", "times", "tools")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.count = 0
        self.times: dict[str, array[int]] = {}
        self.tools: list[ToolEnded] = []
        self.errors: list[Began] = []

    def take(self, event: JournalEvent) -> None:
        """Take in an event; one from before is left out."""
        at_ns = event.timestamp_ns
        if at_ns < self.since_ns:
            return
        times = self.times.get(event.type)
        if times is None:
            times = self.times[event.type] = array("q")
        times.append(at_ns)
        self.count += 1
        if event.type in _TOOL_ENDINGS:
            self.tools.append(ToolEnded(at_ns, event.name or "", event.duration_ns, event.outcome == "error"))
        if event.outcome == "error" and not passed_through(event.details):
            cause = (event.error and (event.error.code or event.error.type)) or "error"
            self.errors.append(Began(at_ns, cause, kind_of(event.type) or "", event.name or ""))


class _Session:
    """A session as far as it is read."""

    __slots__ = ("_after", "_cursor", "_followed", "_read", "_store", "facts", "known", "session_id", "turn")

    def __init__(self, store: JournalStore, session_id: str, since_ns: int) -> None:
        self.session_id = session_id
        self.facts = Facts(since_ns)
        self.turn = 0
        self.known: tuple[int, int] | None = None  # of the head that it is read up to
        self._store = store
        self._cursor: str | None = None
        self._after: tuple[int, str] | None = (since_ns - 1, _AFTER_ANY_ID) if since_ns > 0 else None
        self._read: set[tuple[int, str]] | None = set()  # until what arrived meanwhile is told from it
        self._followed: Followed | None = None

    def catch_up(self, head: SessionHead, over: Callable[[], bool]) -> bool:
        """Read what is new; return whether that was all, before time was over."""
        if self._followed is None:
            if not self._read_from_the_beginning(head, over):
                return False
            self._followed = Followed(self._store, self.session_id)
            deque(self._followed.others.woven(()), maxlen=0)
            self._followed.go_to(self._cursor, head.parts)
        while not over():
            found, more = self._followed.look()
            for event in found:
                if self._read is None or (event.timestamp_ns, event.event_id) not in self._read:
                    self.facts.take(event)
            if not more:
                self._read = None
                self.known = (head.updated_ns, head.events)
                return True
        return False

    def _read_from_the_beginning(self, head: SessionHead, over: Callable[[], bool]) -> bool:
        if self._cursor is None:
            self._cursor = self._store.tip()
        seen = self._read if self._read is not None else set[tuple[int, str]]()
        for number, event in enumerate(read_whole(self._store, self.session_id, self._after, head=head), start=1):
            self._after = event.timestamp_ns, event.event_id
            seen.add(self._after)
            self.facts.take(event)
            if not number % _LOOK_AT_CLOCK and over():
                return False
        return True


class Activity:
    """The facts of sessions that were asked for, kept from one refresh to the next. Used by one thread at a time.

    Args:
        store: what is read.
        monotonic: seconds that only grow.
        max_events: how many are kept, of all sessions together.
    """

    def __init__(
        self, store: JournalStore, *, monotonic: Callable[[], float] = time.monotonic, max_events: int = MAX_EVENTS
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._max_events = max_events
        self._sessions: dict[str, _Session] = {}
        self._turn = 0
        self._known_since_ns = 0  # there was no room for sessions that were last updated before

    def refresh(self, heads: Sequence[SessionHead], since_ns: int, *, at_once_s: float = AT_ONCE_S) -> int:
        """Read what is new of sessions, for so long at most.

        Args:
            heads: those with any event since `since_ns`, the latest updated first.
            since_ns: events from before do not matter.
            at_once_s: how long to read; something is read in any case.

        Returns:
            From when on all events of these sessions are known: `since_ns`, or later where there was no time for more.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        self._turn += 1
        stale: list[tuple[_Session, SessionHead]] = []
        for head in heads:
            if head.updated_ns < self._known_since_ns:
                break
            one = self._sessions.pop(head.session_id, None)
            if one is None or one.facts.since_ns > since_ns:
                one = _Session(self._store, head.session_id, since_ns)
            self._sessions[head.session_id] = one  # the last is the one used last
            one.turn = self._turn
            if one.known != (head.updated_ns, head.events):
                stale.append((one, head))
        room = self._room()
        ends_s, looks = self._monotonic() + at_once_s, count()

        def over() -> bool:
            return self._monotonic() > ends_s and next(looks) >= _LEAST_LOOKS

        def catch_up(stale: tuple[_Session, SessionHead]) -> tuple[SessionHead, int, bool]:
            one, head = stale
            before = one.facts.count
            done = one.catch_up(head, over)
            return head, one.facts.count - before, done

        for head, more, done in side_by_side(catch_up, stale, self._store.capabilities.threads):
            room -= more
            if room <= 0:
                room = self._made_room(heads)
            if not done:
                return max(since_ns, head.updated_ns + 1)
            if head.updated_ns < self._known_since_ns:
                break
        return max(since_ns, self._known_since_ns)

    def _room(self) -> int:
        return self._max_events - sum(one.facts.count for one in self._sessions.values())

    def _made_room(self, heads: Sequence[SessionHead]) -> int:
        """Forget what was not asked for now, else of the sessions asked for those that changed first; return the room.

        More were read by now, side by side, than were counted.
        """
        unused = [session_id for session_id, one in self._sessions.items() if one.turn != self._turn]
        for session_id in unused:
            del self._sessions[session_id]
        self._known_since_ns = 0 if unused else self._known_since_ns
        room = self._room()
        for head in reversed(heads):
            if room > 0:
                break
            one = self._sessions.pop(head.session_id, None)
            if one is not None:
                room += one.facts.count
                self._known_since_ns = max(self._known_since_ns, head.updated_ns + 1)
        return room

    def of(self, session_id: str) -> Facts | None:
        """Return what is known of a session's events, None where nothing was read of it yet."""
        one = self._sessions.get(session_id)
        return None if one is None else one.facts

    def known(self, heads: Sequence[SessionHead]) -> Iterator[tuple[SessionHead, Facts]]:
        """Yield of these sessions those of which something is known."""
        for head in heads:
            one = self._sessions.get(head.session_id)
            if one is not None:
                yield head, one.facts
