"""Clocks that a test holds the hands of. Each is called for the time: UTC nanoseconds since the epoch."""

from __future__ import annotations

from typing import Final

EPOCH_2026_NS: Final = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


class FixedClock:
    """Stands still until it is advanced."""

    def __init__(self, now_ns: int = EPOCH_2026_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ns

    def advance(self, by_ns: int) -> int:
        """Move the hands, also backwards; return the new time."""
        self.now_ns += by_ns
        return self.now_ns


class SteppingClock(FixedClock):
    """Moves on by the same step at every call, so that no two times are equal."""

    def __init__(self, now_ns: int = EPOCH_2026_NS, step_ns: int = 1_000_000) -> None:
        super().__init__(now_ns)
        self.step_ns = step_ns

    def __call__(self) -> int:
        """Return the time, and move on."""
        now_ns = self.now_ns
        self.now_ns += self.step_ns
        return now_ns
