"""Time and ids of one process: a clock that never steps back, ids from the operating system.

The wall clock of a machine may be set back while a step runs; its ending must still come after its start. Seeded
`random` generators, as agents use in tests, must not make ids collide.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Final

from otel_agent_journal import forks

_POOL_BYTES: Final = 8192
_ZERO: Final = bytes(8)


class Clock:
    """Nanoseconds of UTC that follow the wall clock forwards and never go back."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return UTC nanoseconds, never less than any returned before."""
        return time.monotonic_ns() + self._offset_ns

    def catch_up(self) -> None:
        """Follow the wall clock where it is ahead: after a suspend, or a correction."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        if offset_ns > self._offset_ns:
            self._offset_ns = offset_ns


class RandomIds:
    """Random ids from the operating system, fetched in bulk: a system call for each would give up the GIL.

    Safe from any thread, since the step of a list's iterator is one operation.
    """

    def __init__(self) -> None:
        self._words: Iterator[bytes] = iter(())
        forks.join(self, forks.Place.IDS)

    def after_fork(self) -> None:
        """Fetch others, in a forked child."""
        self._words = iter(())

    def _word(self) -> bytes:
        while True:
            word = next(self._words, None)
            if word is not None:
                return word
            pool = os.urandom(_POOL_BYTES)
            self._words = iter([pool[at : at + 8] for at in range(0, _POOL_BYTES, 8)])

    def bytes16(self) -> bytes:
        """Return 16 random bytes."""
        return self._word() + self._word()

    def span_id_hex(self) -> str:
        """Return 64 random bits, not all zero, as 16 hex digits."""
        word = self._word()
        return word.hex() if word != _ZERO else self.span_id_hex()

    def span_id(self) -> int:
        """Return 64 random bits, not all zero."""
        return int.from_bytes(self._word(), "big") or 1

    def trace_id(self) -> int:
        """Return 128 random bits, not all zero."""
        return int.from_bytes(self.bytes16(), "big") or 1

    def hex(self) -> str:
        """Return 32 random hex digits."""
        return self.bytes16().hex()
