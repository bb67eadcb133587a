"""How far long work is, on one line of a terminal's stderr; nothing anywhere else.

What the work prints meanwhile on stdout has to have the line out of its way: `Bar.clear`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from otel_agent_journal.cli import readable
from otel_agent_journal.terminal import neutral

_REDRAW_S: Final = 0.1  # drawing it for every event would take longer than the work
_WIDTH: Final = 30
_QUIET_S: Final = 1.0  # work that is done by then shows nothing
_ESTIMATED_S: Final = 2.0  # before that nobody knows how long the rest takes


class Bar:
    """What of `total` is done; how much is, where the total is not known. `write`: takes what is drawn, if anything."""

    def __init__(self, total: int | None, label: str, write: Callable[[str], object] | None) -> None:
        self._total = total
        self._label = neutral(label)
        self._write = write
        self._done = 0
        self._began_s = time.monotonic()
        self._next_s = 0.0
        self._drawn = False

    def __call__(self, units: int) -> None:
        """Move by so many units."""
        self.to(self._done + units)

    def to(self, done: int, total: int | None = None) -> None:
        """Move to so many units, never back; `total` where that is another by now."""
        self._done = max(self._done, done)
        self._total = self._total if total is None else total
        if self._write is not None and time.monotonic() >= self._next_s:
            self._draw()

    def clear(self) -> None:
        """Take the line away until the next move."""
        if self._drawn and self._write is not None:
            self._write("\r\x1b[K")
            self._drawn, self._next_s = False, 0.0

    def drop(self) -> None:
        """Take the line away for good."""
        self.clear()
        self._write = None

    def end(self) -> None:
        """Leave the line as it is in the end."""
        if self._write is not None:
            self._draw()
            self._write("\n")

    def _draw(self) -> None:
        assert self._write is not None
        now_s = time.monotonic()
        self._write(f"\r\x1b[K{self._label}  {self._how_far(now_s)}")
        self._drawn, self._next_s = True, now_s + _REDRAW_S

    def _how_far(self, now_s: float) -> str:
        if self._total is None:
            return f"{self._done:,}"
        share = min(1.0, self._done / self._total) if self._total else 1.0
        took_s, left = now_s - self._began_s, ""
        if took_s >= _ESTIMATED_S and 0 < share < 1:
            left = f"  {readable.duration(int(took_s * (1 - share) / share) * readable.NS_PER_S)} left"
        drawn = "#" * int(share * _WIDTH)
        return f"[{drawn:-<{_WIDTH}}]  {int(share * 100):3d}%{left}"


@contextmanager
def progress(total: int | None, label: str) -> Generator[Bar]:
    """Give the bar of a piece of work of `total` units, None: nobody knows. `label` may name what others named."""
    bar = Bar(total, label, to_terminal())
    try:
        yield bar
    finally:
        bar.end()


@contextmanager
def fleeting(label: str) -> Generator[Callable[[], None]]:
    """Give what counts pieces of work: shown from its second second on, and taken away when it is done."""
    bar = Bar(None, label, to_terminal())
    shown_s, done = time.monotonic() + _QUIET_S, 0

    def moved() -> None:
        nonlocal done
        done += 1
        if time.monotonic() >= shown_s:
            bar.to(done)

    try:
        yield moved
    finally:
        bar.clear()


def to_terminal() -> Callable[[str], object] | None:
    """Return what draws on stderr at once, None where that is no terminal."""
    return _to_stderr if sys.stderr.isatty() else None


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
