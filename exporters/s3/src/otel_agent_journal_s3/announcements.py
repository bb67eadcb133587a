"""The log of which sessions are being written, by which followers find them without looking at all of them.

An entry says: «these sessions are written from these segments on». It holds for a while, and a writer that goes on
makes another in good time; so a follower knows every session that can have changed, and forgets the others. Entries
are numbered without a gap, so that the next one is found by its name. docs/adr/0014 has the reasoning.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.objects import Bucket

HOLDS_S: Final = 600.0  # how long followers look after a session that was announced, by the server's clock
# Shares of that time. A writer writes under an announcement for half of it, and renews it before; what was written
# later than three quarters after it is of a later one. The quarters between them are for clocks that differ.
_RENEWED: Final = 0.4
_WRITTEN: Final = 0.5
_GIVEN: Final = 0.75
_PROBED: Final = 0.25  # how old the knowledge of a session's end may be that an announcement states
_CACHED: Final = 10_000
_TRIES: Final = 200
_NEVER: Final = (float("-inf"), float("-inf"))
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Return a time that only goes on, also while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class Announced(NamedTuple):
    """An entry of the log: sessions by key, each with the segment it is written from on."""

    number: int
    sessions: Sequence[tuple[str, int]]
    at_s: float


class Announcements:
    """The log, and what this client announced itself. Thread-safe."""

    def __init__(self, bucket: Bucket, layout: Layout, holds_s: float = HOLDS_S) -> None:
        self._bucket = bucket
        self._layout = layout
        self.holds_s = holds_s
        self._next: int | None = None
        self._lock = RLock()
        # Of each session announced here: when, by our clock as it began and by the server's as it was done.
        self._ours: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._entries: OrderedDict[int, Announced] = OrderedDict()

    def given_until_s(self, entry: Announced) -> float:
        """Return until when what was written is given under this entry, by the server's clock."""
        return entry.at_s + self.holds_s * _GIVEN

    def over_s(self, entry: Announced) -> float:
        """Return when this entry is over."""
        return entry.at_s + self.holds_s

    def is_due(self, key: str) -> bool:
        """Tell whether a session has to be announced before it is written."""
        return now_s() - self._ours.get(key, _NEVER)[0] > self.holds_s * _RENEWED

    def held(self, key: str, written_s: float) -> bool:
        """Tell whether what was written of a session at a time by the server's clock is announced."""
        return written_s - self._ours.get(key, _NEVER)[1] <= self.holds_s * _WRITTEN

    def recent_s(self) -> float:
        """Return the time by our clock since when an end was seen that may be announced now."""
        return now_s() - self.holds_s * _PROBED

    def start_anew(self) -> None:
        """Announce every session anew, in a child process."""
        self._ours, self._lock = OrderedDict(), RLock()

    def forget(self, key: str) -> None:
        """Let a session be announced again."""
        self._ours.pop(key, None)

    def announce(self, sessions: Mapping[str, int]) -> None:
        """Put sessions, by key, with the segments they are written from on, at the end of the log.

        Raises:
            StoreUnreachable: it could not be done, or others were always first.
        """
        with self._lock:
            self._announce(sessions)

    def _announce(self, sessions: Mapping[str, int]) -> None:
        began = now_s()
        data = msgspec.json.encode({"sessions": list(sessions.items())})
        number = self.end() if self._next is None else self._next
        for attempt in range(_TRIES):
            written = self._bucket.put_new(self._layout.entry(number), data)
            if written is not None:
                break
            number = self.end() if attempt % 10 == 9 else number + 1
        else:
            raise StoreUnreachable(
                f"store {self._bucket.place.url}: {_TRIES} numbers of the log were all taken by others"
            )
        self._next = number + 1
        for key in sessions:
            self._ours[key] = began, written.at_s
            self._ours.move_to_end(key)
        while len(self._ours) > _CACHED:
            self._ours.popitem(last=False)

    def end(self) -> int:
        """Return the number that the next entry will have."""
        newest = self._bucket.first(self._layout.log, "", self._layout.number_of_entry)
        return 0 if newest is None else newest + 1

    def entry(self, number: int) -> tuple[Announced | None, float]:
        """Return an entry, or None where it is not there yet, and when that was by the server's clock."""
        cached = self._entries.get(number)
        if cached is not None:
            return cached, 0.0
        stored, seen_s = self._bucket.look(self._layout.entry(number))
        if stored is None:
            return None, seen_s
        sessions = msgspec.json.decode(stored.data, type=dict[str, list[tuple[str, int]]])["sessions"]
        entry = Announced(number, tuple(sessions), stored.modified_s)
        self._entries[number] = entry
        while len(self._entries) > _CACHED:
            self._entries.popitem(last=False)
        return entry, seen_s

    def holding(self) -> tuple[int, list[Announced]]:
        """Return the number of the next entry, and the entries that are not over yet, the oldest first."""
        end, found, after = 0, list[int](), ""
        while True:
            items, more, seen_s = self._bucket.page(self._layout.log, after)
            for item in items:
                number = self._layout.number_of_entry(item.name)
                if number is None:
                    continue
                end = end or number + 1
                if item.modified_s + self.holds_s < seen_s:
                    more = False
                    break
                found.append(number)
            if not more or not items:
                break
            after = items[-1].name
        entries = [self.entry(number)[0] for number in reversed(found)]
        return end, [entry for entry in entries if entry is not None]
