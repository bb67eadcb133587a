"""Journal and spans are delivered before a response ends, since the runtime may freeze the process right after it.

Both are flushed in threads of ours, side by side, so that no event loop is blocked and an exporter that ignores its
timeout, as OpenTelemetry's do, holds up nobody for longer than the bound. What was not flushed in time is waited for no
longer than a tenth of the bound until it is done in time again: a backend that is away must not cost every response the
whole of it, and takes nothing from the other one. Used by `lambda_handler` and by frameworks that serve agents.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace as trace_api

from otel_agent_journal.pipeline.current import get_flush

if TYPE_CHECKING:
    import asyncio  # at run time only by those who have a loop: it would take longer to import than all of this

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 2.0  # where nothing is configured: the journal's own bound is AGENT_JOURNAL_FLUSH_TIMEOUT
_SHORTENED: Final = 10  # by how much the bound is divided for what is late
_COMPLAIN_EVERY_S: Final = 60.0


class Lane:
    """One thing that is flushed, by one thread at a time. Those who ask while it works share the next round.

    `late` tells that the last flush failed, or was not done in time.

    Args:
        name: of its thread.
        work: flushes; is given seconds, to which it need not keep, and returns whether everything was delivered.
    """

    def __init__(self, name: str, work: Callable[[float], bool]) -> None:
        self.late = False
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._next: Future[bool] | None = None
        self._timeout_s = 0.0  # of the next round: the longest that somebody waits for it
        self._working = False

    def ask(self, timeout_s: float) -> Future[bool]:
        """Have everything flushed that is there now; never blocks."""
        with self._lock:
            future = self._next
            if future is None:
                future = self._next = Future()
                self._timeout_s = 0.0
            self._timeout_s = max(self._timeout_s, timeout_s)
            if self._working:
                return future
            self._working = True
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:  # the interpreter is leaving, or there are no threads left
            with self._lock:
                self._working, self._next = False, None
            future.set_result(False)
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                future, self._next, timeout_s = self._next, None, self._timeout_s
                if future is None:
                    self._working = False
                    return
            began, done = time.monotonic(), False
            with contextlib.suppress(BaseException):  # an exporter of the program's, in a thread of ours
                done = self._work(timeout_s)
            self.late = not done or time.monotonic() - began > timeout_s
            future.set_result(done)


class _Asked(NamedTuple):
    lane: Lane
    future: Future[bool]
    deadline: float

    def left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def delivered(self) -> bool:
        if not self.future.done():
            self.lane.late = True
            return False
        return self.future.result()


class Flusher:
    """Flushes the journal and the spans of the program's TracerProvider, both within one bound. Never raises.

    The bound is the `timeout_s` given, in seconds, by default AGENT_JOURNAL_FLUSH_TIMEOUT. Safe to use from any thread,
    and in a child that was forked.
    """

    def __init__(self) -> None:
        self._complain_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.lanes = (Lane("agent-journal-flush", _deliver), Lane("agent-journal-flush-spans", _export))

    def ask(self, timeout_s: float | None = None) -> None:
        """Have both flushed, and wait for nothing."""
        self._ask(flush_timeout_s() if timeout_s is None else timeout_s)

    def here(self, timeout_s: float | None = None) -> None:
        """Flush, blocking this thread, whatever runs in it."""
        try:
            bound = flush_timeout_s() if timeout_s is None else timeout_s
            asked = self._ask(bound)
            for one in asked:
                wait((one.future,), one.left())
            self._judge(asked, bound)
        except Exception:  # noqa: BLE001 - the one boundary: the response must go out
            _log.debug("not flushed", exc_info=True)

    def beside_loop(self, timeout_s: float | None = None) -> None:
        """Flush as `here`, but where this thread has an event loop wait for nothing."""
        from asyncio import _get_running_loop  # the public one raises where there is none

        if _get_running_loop() is None:
            self.here(timeout_s)
        else:
            self.ask(timeout_s)

    async def in_loop(self, timeout_s: float | None = None) -> None:
        """Flush, from a coroutine: the event loop goes on meanwhile. Being cancelled while it waits passes."""
        try:
            bound = flush_timeout_s() if timeout_s is None else timeout_s
            asked = self._ask(bound)
            for one in asked:
                await _settled(one.future, one.left())
            self._judge(asked, bound)
        except Exception:  # noqa: BLE001 - as above
            _log.debug("not flushed", exc_info=True)

    def _ask(self, bound: float) -> list[_Asked]:
        if self._pid != os.getpid():  # a forked child, in which our threads are gone
            self._begin()
        now = time.monotonic()
        return [
            _Asked(lane, lane.ask(bound), now + (bound / _SHORTENED if late else bound))
            for lane, late in [(lane, lane.late) for lane in self.lanes]
        ]

    def _judge(self, asked: list[_Asked], bound: float) -> None:
        delivered = [one.delivered() for one in asked]
        now = time.monotonic()
        if not all(delivered) and now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_EVERY_S
            _log.warning(
                "timeout_s=<%.1f> | journal or spans were not delivered before a response; a freeze may lose some",
                bound,
            )


async def _settled(future: Future[bool], timeout_s: float) -> None:
    """Wait until a flush is done or the time is over; the future is others' too, and is left alone."""
    import asyncio

    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: Future[bool]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_release, waiter)

    future.add_done_callback(wake)
    await asyncio.wait((waiter,), timeout=timeout_s)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def flush_timeout_s() -> float:
    """Return how long a response may wait for its flush, as it is set."""
    flush = get_flush()
    return DEFAULT_TIMEOUT_S if flush is None else flush.timeout_s


def _deliver(timeout_s: float) -> bool:
    flush = get_flush()
    return flush is None or flush.deliver(timeout_s)


def _export(timeout_s: float) -> bool:
    provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
    force_flush = getattr(provider, "force_flush", None)
    return force_flush is None or force_flush(int(timeout_s * 1000)) is not False
