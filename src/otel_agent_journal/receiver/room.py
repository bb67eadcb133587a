"""How much is in hand at a time: bytes of requests against a budget, and how many of them are being read.

A request's bytes count from when they arrive until it is answered, compressed and decompressed. Read, they take many
times their size, up to forty where somebody means it, so what is read at a time has a bound of its own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from otel_agent_journal.receiver.counters import Row

READING_BYTES: Final = 64 * 1024 * 1024  # one request at the limit, or many small ones


class Budget:
    """Bytes of requests in hand. From any thread.

    Args:
        limit_bytes: what is over is refused, but for a request that is alone: it could never come in.
        counters: gets `in_flight_bytes`, which nobody else counts.
    """

    def __init__(self, limit_bytes: int, counters: Row) -> None:
        self.limit_bytes = limit_bytes
        self._counters = counters
        self._lock = threading.Lock()
        self.in_hand = 0

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more is taken."""
        return self.in_hand >= self.limit_bytes

    def take(self, size: int, own: int) -> bool:
        """Take so many bytes for a request that has `own` already; return whether there was room."""
        with self._lock:
            if self.in_hand > own and self.in_hand + size > self.limit_bytes:
                return False
            self._add(size)
            return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._add(-size)

    def _add(self, size: int) -> None:
        self.in_hand += size
        self._counters.add("in_flight_bytes", size)


class Gate:
    """Lets in so many bytes at a time, or one request that is larger. Others wait. From any thread."""

    def __init__(self, limit_bytes: int = READING_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._inside = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def passing(self, size: int) -> Generator[Self]:
        """Wait for room, and have it for a while."""
        with self._changed:
            self._changed.wait_for(lambda: not self._inside or self._inside + size <= self._limit_bytes)
            self._inside += size
        try:
            yield self
        finally:
            with self._changed:
                self._inside -= size
                self._changed.notify_all()
