"""Our threads, and how anything of ours waits for one: the rule of ADR 23, in one place.

Finalizers, signal handlers and the collector of garbage run our code at any point, in any thread. So what an agent's
thread can reach holds no lock while it waits, waits on a `Bell` alone and never without bound, and leaves work to who
is at it already. Once the interpreter ends no thread runs but one: nothing is started then and nothing waited for.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_AT_ONCE: Final = 0.0


class OurThread(threading.Thread):
    """A daemon of ours."""


def start_thread(name: str, work: Callable[[], object]) -> OurThread | None:
    """Start a daemon; None where none can be had: the interpreter ends, or there are too many.

    `Thread.start` waits for the thread to run, which at the interpreter's end it never does.
    """
    if sys.is_finalizing():
        return None
    thread = OurThread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


class _Collections:
    watched = False
    thread = 0  # in which garbage is collected now

    @classmethod
    def told(cls, phase: str, _: dict[str, int]) -> None:
        cls.thread = threading.get_ident() if phase == "start" else 0


def watch_collections() -> None:
    """Know from now on where garbage is collected."""
    if not _Collections.watched:
        _Collections.watched = True
        gc.callbacks.append(_Collections.told)


def is_collecting() -> bool:
    """Tell whether the collector of garbage runs this code, as a finalizer, amid whatever this thread does."""
    return _Collections.thread == threading.get_ident()


def may_wait() -> bool:
    """Tell whether the code may wait for a thread of ours: not in one, where it is not its task, nor in a finalizer."""
    return not is_collecting() and not isinstance(threading.current_thread(), OurThread)


class Bell:
    """Wakes the one that waits for it, now or later. Rung from anywhere: there is no lock behind it to wait for."""

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake who waits, or who will; ringing twice is ringing once."""
        with suppress(RuntimeError):  # it rings already
            self._silence.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it rings, at most so long; return whether it rang. The next wait is for the next ring."""
        bound = _AT_ONCE if sys.is_finalizing() else min(max(timeout_s, _AT_ONCE), threading.TIMEOUT_MAX)
        return self._silence.acquire(timeout=bound)


class Changes:
    """Tells those who wait for some state to change. A condition without a lock: the state is changed atomically."""

    def __init__(self) -> None:
        self._bells: list[Bell] = []

    def tell(self) -> None:
        """Have those who wait look again."""
        for bell in list(self._bells):
            bell.ring()

    def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something holds, at most so long; return whether it does."""
        deadline = time.monotonic() + timeout_s
        bell = Bell()
        self._bells.append(bell)  # before looking: whatever changes from here on is told
        try:
            while not (held := holds()) and not sys.is_finalizing():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                bell.wait(left)
            return held
        finally:
            self._bells.remove(bell)


def _by_who_brings(work: Callable[[], None]) -> object:
    return start_thread("agent-journal-aside", work) if is_collecting() else (work(), True)


class Turns:
    """Does one piece of work after the other. Bringing one waits for none: it is left to who is at work already.

    Args:
        begin: called with what does the work there is, where nobody is at it; returns whether it will be done. By
            default whoever brings the first does it, or a thread of ours where that is a finalizer.
    """

    def __init__(self, begin: Callable[[Callable[[], None]], object] = _by_who_brings) -> None:
        self._begin = begin
        self._brought: deque[Callable[[], object]] = deque()
        self._busy = False
        self._worker = 0

    @property
    def busy(self) -> bool:
        """Tell whether somebody is at work."""
        return self._busy

    def bring(self, work: Callable[[], object]) -> bool:
        """Have something done, now or after what is being done; False where nobody is there to do it."""
        self._brought.append(work)
        busy, self._busy = self._busy, True  # no call between the two: nothing comes between
        if busy or self._begin(self._do):
            return True
        self._busy = False
        return False

    def settle(self, timeout_s: float) -> bool:
        """Wait until what was brought by now is done, at most so long; return whether it is."""
        if not self._busy:
            return True
        if self._worker == threading.get_ident():
            return False
        bell = Bell()
        return self.bring(bell.ring) and bell.wait(timeout_s)

    def _do(self) -> None:
        busy = False
        while not busy:
            self._worker = threading.get_ident()
            try:
                while self._brought:
                    self._brought.popleft()()
            finally:
                self._worker = 0
                self._busy = False
            if not self._brought:
                return
            busy, self._busy = self._busy, True  # as above: what came meanwhile was left to us
