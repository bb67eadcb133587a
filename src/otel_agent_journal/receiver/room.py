"""How much is in hand at a time: bytes of requests against a budget, and how many of them are being read.

A request's bytes count from when they arrive until it is answered, compressed and decompressed. Read, they take many
times their size, up to forty where somebody means it, so what is read at a time has a bound of its own. What a request
takes, its `Room` alone holds and gives back: whoever still works for one that was left hears of it and stops.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Final, Self

from otel_agent_journal.receiver.answers import Answer, Verdict, busy

if TYPE_CHECKING:
    from otel_agent_journal.receiver.counters import Row

MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024  # after decompression, as OTLP recommends
READING_BYTES: Final = 64 * 1024 * 1024  # one request at the limit, or many small ones


class GivenUp(Exception):
    """Nobody waits any more for the request that is worked on."""


class Budget:
    """Bytes of requests in hand, and of those that are being read. From any thread.

    Args:
        limit_bytes: what is over is refused, but for a request that is alone: it could never come in.
        counters: gets `in_flight_bytes`.
        reading_bytes: are read at a time, or one request that is larger; others wait.
    """

    def __init__(self, limit_bytes: int, counters: Row, *, reading_bytes: int = READING_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._reading_bytes = reading_bytes
        self._counters = counters
        self._changed = threading.Condition()
        self._in_hand = 0
        self._read = 0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Tell whether anything more is taken."""
        return not self._closed and self._in_hand < self._limit_bytes

    def close(self) -> None:
        """Let nobody in any more; who has something in hand may go on, until its room is left."""
        self._closed = True

    def room(self) -> Room:
        """Return the room of a request that begins."""
        return Room(self)

    def take(self, room: Room, size: int) -> Answer | None:
        """Let a room have so many bytes more, or return why not. Raises GivenUp where it was left."""
        with self._changed:
            if room.is_left:
                raise GivenUp
            if self._closed and not room.size:
                return busy("the receiver is shutting down")
            if self._in_hand > room.size and self._in_hand + size > self._limit_bytes:
                return busy(f"{self._in_hand:,} bytes of requests are in hand, limit {self._limit_bytes:,}")
            self._move(room, size)
            return None

    def leave(self, room: Room) -> None:
        """Give back all that a room has, once, and wake who waits to read for it."""
        with self._changed:
            room.is_left = True
            self._move(room, -room.size)
            self._changed.notify_all()

    @contextlib.contextmanager
    def reading(self, room: Room, size: int) -> Generator[None]:
        """Wait until so many bytes may be read, and read them within. Raises GivenUp where nobody waits for them."""
        with self._changed:
            self._changed.wait_for(lambda: room.is_left or not self._read or self._read + size <= self._reading_bytes)
            room.check()
            self._read += size
        try:
            yield
        finally:
            with self._changed:
                self._read -= size
                self._changed.notify_all()

    def _move(self, room: Room, size: int) -> None:
        room.size += size
        self._in_hand += size
        self._counters.add("in_flight_bytes", size)


class Room:
    """The room that one request takes, from its first byte to its answer: a context manager around all of it.

    Left, however that came about, it has given back everything and takes nothing more. From any thread. `size` and
    `is_left` are its budget's to change.
    """

    __slots__ = ("_budget", "is_left", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0
        self.is_left = False

    def add(self, size: int) -> Answer | None:
        """Note that bytes have arrived; return the refusal where they are too many."""
        if self.size + size > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is over {MAX_REQUEST_BYTES:,} bytes")
        return self.grow(size)

    def grow(self, size: int) -> Answer | None:
        """Take room for what the bytes that arrived stand for; return the refusal where there is none."""
        return self._budget.take(self, size)

    def reading(self, size: int) -> contextlib.AbstractContextManager[None]:
        """Return what to read so many bytes within."""
        return self._budget.reading(self, size)

    def check(self) -> None:
        """Raise GivenUp where nobody waits for the request any more."""
        if self.is_left:
            raise GivenUp

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.leave(self)
