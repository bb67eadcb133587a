"""A query's time: counted while DuckDB works or a store is read, not while whoever reads the rows takes a break."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from threading import Event, Timer
from typing import Final

from otel_agent_journal.errors import QueryFailed

AGAIN_S: Final = 0.05  # between two interrupts: one that comes between two calls of DuckDB is forgotten by it
GRACE_S: Final = 3.0  # from asking a query to stop to holding it for stuck: one function call cannot be interrupted


class TimeLimit:
    """How long a query may work, in seconds.

    Args:
        limit_s: all in all.
        interrupt: asks it to stop; called from another thread.
        stuck: called from that thread where it goes on for `GRACE_S` nevertheless.
    """

    def __init__(self, limit_s: float, interrupt: Callable[[], None], stuck: Callable[[], None] | None = None) -> None:
        self._limit_s = limit_s
        self._left_s = limit_s
        self._interrupt = interrupt
        self._stuck = stuck
        self._ends_s = 0.0
        self.over = False

    @contextmanager
    def running(self) -> Generator[None]:
        """Count the time of this block; in it the query is interrupted when its time is over."""
        began_s = time.monotonic()
        self._ends_s = began_s + self._left_s
        ended = Event()
        timers = [_started(self._left_s, lambda: self._stop(ended))]
        if self._stuck is not None:
            timers.append(_started(self._left_s + GRACE_S, self._stuck))
        try:
            yield
        finally:
            ended.set()
            for timer in timers:
                timer.cancel()
            self._left_s = max(0.0, self._left_s - (time.monotonic() - began_s))

    def check(self) -> None:
        """Raise `QueryFailed` where the time is over: for the parts that are Python."""
        if time.monotonic() > self._ends_s:
            self.over = True
            raise self.error()

    def error(self) -> QueryFailed:
        """Return the error of a query that took too long."""
        return QueryFailed(
            f"the query did not end within {self._limit_s:g} s; narrow it by session_id or time, or give it longer",
            limit="timeout",
        )

    def _stop(self, ended: Event) -> None:
        self.over = True
        while not ended.is_set():
            with suppress(Exception):  # it was closed this very moment
                self._interrupt()
            ended.wait(AGAIN_S)


def _started(after_s: float, function: Callable[[], None]) -> Timer:
    timer = Timer(after_s, function)
    timer.daemon = True
    timer.start()
    return timer
