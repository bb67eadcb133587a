"""The log of which sessions are being written, by which followers find them without looking at all of them.

An entry says: «these sessions are written from these segments on». How long that holds is in `lease`; a writer that
goes on makes another in good time, so that a follower knows every session that can have changed. Entries are numbered
without a gap, so that the next one is found by its name. docs/adr/0014 and 0029 have the reasoning.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from threading import RLock
from typing import Final, NamedTuple, TypeVar

import msgspec

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lease import Lease, Promise
from otel_agent_journal_s3.objects import Bucket

_SOON_S: Final = 60.0  # a session that is written again within this time is taken for one at work
_OPEN: Final = 6  # sessions that a client keeps announced: each of them costs an idle follower a GET a look
_CACHED: Final = 10_000
_TRIES: Final = 200
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Return a time that only goes on, also while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class Named(NamedTuple):
    """A session by key: the first segment that is given under an entry, and the number its writer goes on with.

    The first comes before the other where a segment was written too late for the entry before.
    """

    key: str
    first: int
    since: int


class Announced(NamedTuple):
    """An entry of the log, by the server's clock, and the sessions that it names."""

    number: int
    sessions: Sequence[Named]
    at_s: float


class _Entry(msgspec.Struct, frozen=True):
    sessions: Sequence[Named]


_decode: Final = msgspec.json.Decoder(_Entry).decode


class Announcements:
    """The log, and what this client announced itself. Thread-safe."""

    def __init__(self, bucket: Bucket, layout: Layout, lease: Lease) -> None:
        self._bucket = bucket
        self._layout = layout
        self.lease = lease
        self._next: int | None = None
        self._lock = RLock()
        self._ours: OrderedDict[str, Promise] = OrderedDict()
        self._written: OrderedDict[str, float] = OrderedDict()  # when each was last about to be written, by our clock
        self._open: set[str] = set()
        self._entries: OrderedDict[int, Announced] = OrderedDict()

    def is_due(self, key: str, rested: int) -> bool:
        """Tell whether a session has to be announced before it is written."""
        return not self.lease.may_write(self._ours.get(key), now_s(), rested)

    def at_s(self, key: str) -> float:
        """Return when a session was announced here, by the server's clock; the beginning of time where it was not."""
        promise = self._ours.get(key)
        return 0.0 if promise is None else promise.at_s

    def recent_s(self) -> float:
        """Return since when, by our clock, the end of a session must have been seen that an entry states."""
        return now_s() - self.lease.known_s

    def stays_open(self, key: str) -> bool:
        """Tell whether a session that is about to be written is left announced behind that.

        It is where it was written a moment ago, by so few sessions of this client that followers can look after each.
        """
        with self._lock:
            now = now_s()
            before = self._written.get(key, float("-inf"))
            _keep(self._written, key, now)
            self._open = {one for one in self._open if self.lease.is_open(self._ours.get(one), now)}
            if now - before > _SOON_S:
                self._open.discard(key)
            elif len(self._open) < _OPEN:
                self._open.add(key)
            return key in self._open

    def start_anew(self) -> None:
        """Announce every session anew, in a child process."""
        self._ours, self._written, self._open, self._lock = OrderedDict(), OrderedDict(), set(), RLock()

    def forget(self, key: str) -> None:
        """Let a session be announced again."""
        with self._lock:
            self._ours.pop(key, None)
            self._open.discard(key)

    def announce(self, sessions: Sequence[Named]) -> None:
        """Put sessions at the end of the log.

        Raises:
            StoreUnreachable: it could not be done, or others were always first.
        """
        with self._lock:
            self._announce(sessions)

    def _announce(self, sessions: Sequence[Named]) -> None:
        began = now_s()
        data = msgspec.json.encode(_Entry(sessions))
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
        for one in sessions:
            _keep(self._ours, one.key, Promise(began, written.at_s, one.since))

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
        entry = Announced(number, _decode(stored.data).sessions, stored.modified_s)
        _keep(self._entries, number, entry)
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
                if self.lease.is_over(item.modified_s, seen_s):
                    more = False
                    break
                found.append(number)
            if not more or not items:
                break
            after = items[-1].name
        entries = self._bucket.each(lambda number: self.entry(number)[0], found[::-1])
        return end, [entry for entry in entries if entry is not None]


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _CACHED:
        kept.popitem(last=False)
