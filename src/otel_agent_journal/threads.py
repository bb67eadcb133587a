"""Our threads, and how anything of ours waits for one: the rule of ADR 23, in one place.

Finalizers, signal handlers and the collector of garbage run our code at any point, in any thread. So what an agent's
thread can reach holds no lock while it waits, waits on a `Bell` alone and never without bound, and leaves work to who
is at it already. Once the interpreter ends no thread runs but one: nothing is started then and nothing waited for.

Threads and locks are of the kind that there was when this module was imported. A program may put green ones in their
place (gevent), first of all or in the middle of its run: what is native stays native then, since the two cannot wait
for each other. The interpreter's list of threads does not know ours, so nothing is printed as they end.
"""

from __future__ import annotations

import _thread
import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final, Generic, TypeVar

Lock: Final = _thread.allocate_lock
RLock: Final[Callable[[], Any]] = getattr(threading, "_CRLock", None) or threading.RLock  # the latter makes what is new
_start: Final = _thread.start_new_thread
ident: Final = _thread.get_ident
_AT_ONCE: Final = 0.0
_LONGEST_S: Final = threading.TIMEOUT_MAX
_LOOK_S: Final = 1.0  # a bell is not waited for without bound
_ours: Final[set[int]] = set()  # threads of ours that run


class Condition:
    """As `threading.Condition` over a lock that a thread may take again."""

    def __init__(self) -> None:
        self._lock: Any = RLock()
        self._waiting: list[Any] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Let go of the lock until somebody notifies, or the time is over; tell whether somebody did."""
        waiter = Lock()
        waiter.acquire()
        self._waiting.append(waiter)
        held: Any = self._lock._release_save()  # noqa: SLF001 - as `threading.Condition` has it
        try:
            return waiter.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))
        finally:
            self._lock._acquire_restore(held)  # noqa: SLF001 - as above
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so, or the time is over; tell whether it is."""
        deadline = time.monotonic() + timeout_s
        while not predicate():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.wait(left)
        return True

    def notify_all(self) -> None:
        """Wake all who wait. The lock is held."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.release()


class Thread:
    """A daemon thread, started as it is made. Raises RuntimeError where there can be no more."""

    def __init__(self, target: Callable[[], object]) -> None:
        self._target = target
        self._running = Lock()
        self._running.acquire()
        self._number = 0
        try:
            _start(self._run, ())
        except BaseException:
            self._running.release()
            raise

    def _run(self) -> None:
        self._number = ident()
        _ours.add(self._number)
        try:
            self._target()
        finally:
            _ours.discard(self._number)
            self._running.release()

    @property
    def is_current(self) -> bool:
        """Tell whether this code runs in it."""
        return self._number == ident()

    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        return not self.join(0)

    def join(self, timeout_s: float) -> bool:
        """Wait until it has ended; tell whether it has."""
        ended = self._running.acquire(timeout=max(0.0, timeout_s))
        if ended:
            self._running.release()
        return ended


def start_thread(work: Callable[[], object]) -> Thread | None:
    """Start a daemon; None where none can be had: the interpreter ends, or there are too many."""
    if sys.is_finalizing():
        return None
    try:
        return Thread(work)
    except RuntimeError:
        return None


class _Collections:
    watched = False
    thread = 0  # in which garbage is collected now

    @classmethod
    def told(cls, phase: str, _: dict[str, int]) -> None:
        cls.thread = ident() if phase == "start" else 0


def watch_collections() -> None:
    """Know from now on where garbage is collected."""
    if not _Collections.watched:
        _Collections.watched = True
        gc.callbacks.append(_Collections.told)


def is_collecting() -> bool:
    """Tell whether the collector of garbage runs this code, as a finalizer, amid whatever this thread does."""
    return _Collections.thread == ident()


def may_wait() -> bool:
    """Tell whether the code may wait for a thread of ours: not in one, where it is not its task, nor in a finalizer."""
    return not is_collecting() and ident() not in _ours


class Bell:
    """Wakes the one that waits for it, now or later. Rung from anywhere: there is no lock behind it to wait for."""

    __slots__ = ("_silence",)

    def __init__(self) -> None:
        self._silence = Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake who waits, or who will; ringing twice is ringing once."""
        with suppress(RuntimeError):  # it rings already
            self._silence.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it rings, at most so long; return whether it rang. The next wait is for the next ring."""
        bound = _AT_ONCE if sys.is_finalizing() else min(max(timeout_s, _AT_ONCE), _LONGEST_S)
        return self._silence.acquire(timeout=bound)


_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


class _Task(Generic[_Result]):
    """A piece of work in a thread of ours; where none can be had, it is done as its result is asked for."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work
        self._done = Bell()
        self._result: list[_Result] = []
        self._error: BaseException | None = None
        self._thread = start_thread(self._run)

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error
        finally:
            self._done.ring()

    def wait(self) -> None:
        """Wait until the work has ended, where a thread does it."""
        while self._thread is not None and not self._done.wait(_LOOK_S):
            if sys.is_finalizing():
                self._thread = None

    def result(self) -> _Result:
        """Wait for what the work returns, or raise what it raised."""
        self.wait()
        if self._thread is None:
            return self._work()
        if self._error is not None:
            raise self._error
        return self._result[0]


def side_by_side(
    work: Callable[[_Given], _Result], given: Iterable[_Given], at_once: int
) -> Generator[_Result, None, None]:
    """Yield what `work` returns for each of several, in their order, so many `at_once` in threads of ours.

    No more than that are taken from `given` ahead of what was yielded. What one raises is raised in its turn, and
    nobody is at work any more then, nor when this is closed. One at a time is done in this thread.
    """
    if at_once < 2:
        yield from map(work, given)
        return
    ahead, left = deque[_Task[_Result]](), iter(given)
    try:
        while True:
            ahead.extend(_Task(partial(work, one)) for one in islice(left, at_once - len(ahead)))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        for task in ahead:
            task.wait()


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
    return start_thread(work) if is_collecting() else (work(), True)


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
        """Have something done, now or after what is being done; False where nobody is there to: it is not done then."""
        self._brought.append(work)
        busy, self._busy = self._busy, True  # no call between the two: nothing comes between
        if busy or self._begin(self._do):
            return True
        with suppress(ValueError):  # taken by one who came to work meanwhile
            self._brought.remove(work)
        self._busy = False
        return False

    def settle(self, timeout_s: float) -> bool:
        """Wait until what was brought by now is done, at most so long; return whether it is."""
        if not (self._busy or self._brought):  # something may be left of one whose work raised
            return True
        if self._worker == ident():
            return False
        bell = Bell()
        return self.bring(bell.ring) and bell.wait(timeout_s)

    def _do(self) -> None:
        busy = False
        while not busy:
            self._worker = ident()
            try:
                while self._brought:
                    self._brought.popleft()()
            finally:
                self._worker = 0
                self._busy = False
            if not self._brought:
                return
            busy, self._busy = self._busy, True  # as above: what came meanwhile was left to us
