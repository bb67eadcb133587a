"""Journal and spans are delivered before a response ends, since the runtime may freeze the process right after it.

Both are flushed in threads of ours, side by side, so that no event loop is blocked and an exporter that ignores its
timeout, as OpenTelemetry's do, holds up nobody for longer than the bound. What was not flushed in time is waited for no
longer than a tenth of the bound until it is done in time again: a backend that is away must not cost every response the
whole of it, and takes nothing from the other one. Used by `lambda_handler` and by frameworks that serve agents.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as trace_api

from otel_agent_journal import forks
from otel_agent_journal.delivered import ALL, UNKNOWN, Delivered
from otel_agent_journal.pipeline.current import get_flush, get_recorder
from otel_agent_journal.threads import Bell, Turns, may_wait, start_thread

if TYPE_CHECKING:
    import asyncio  # at run time only by those who have a loop: it would take longer to import than all of this

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 2.0  # where nothing is configured: the journal's own bound is AGENT_JOURNAL_FLUSH_TIMEOUT
_SHORTENED: Final = 10  # by how much the bound is divided for what is late
_COMPLAIN_EVERY_S: Final = 60.0


class Asked:
    """A flush that somebody asked for: how much longer to wait for it, and what came of it."""

    def __init__(self, lane: Lane, timeout_s: float, wait_s: float, tell: Callable[[], object]) -> None:
        self.timeout_s = timeout_s
        self.done: Delivered | None = None  # once it is over
        self._lane = lane
        self._deadline = time.monotonic() + wait_s
        self._tell = tell

    def answer(self, done: Delivered) -> None:
        """Say that it is over."""
        self.done = done
        self._tell()

    def left_s(self) -> float:
        """Return for how long to wait."""
        return max(0.0, self._deadline - time.monotonic())

    def delivered(self) -> Delivered:
        """Return what is known to be delivered by now; a lane that is not done is late."""
        if self.done is None:
            self._lane.late = True
        return UNKNOWN if self.done is None else self.done


class Lane:
    """One thing that is flushed, by one thread at a time. Those who ask while it works share the next round.

    `late` tells that the last flush failed, or was not done in time.

    Args:
        work: flushes; is given seconds, to which it need not keep, and returns what was delivered.
    """

    def __init__(self, work: Callable[[float], Delivered]) -> None:
        self._work = work
        self.after_fork()
        forks.join(self, forks.Place.LOCKS)

    def after_fork(self) -> None:
        """Start over, here and in a forked child, in which our thread is gone."""
        self.late = False
        self._asked: deque[Asked] = deque()
        self._turns = Turns(start_thread)

    def ask(self, timeout_s: float, tell: Callable[[], object] = lambda: None) -> Asked:
        """Have everything flushed that is there now, and be told when that is done; never blocks."""
        asked = Asked(self, timeout_s, timeout_s / _SHORTENED if self.late else timeout_s, tell)
        self._asked.append(asked)
        if not self._turns.bring(self._round):
            for one in self._who_asked():
                one.answer(UNKNOWN)
        return asked

    def _who_asked(self) -> list[Asked]:
        asked: list[Asked] = []
        with contextlib.suppress(IndexError):
            while True:
                asked.append(self._asked.popleft())
        return asked

    def _round(self) -> None:
        asked = self._who_asked()
        if not asked:
            return
        timeout_s = max(one.timeout_s for one in asked)
        began, done = time.monotonic(), UNKNOWN
        with contextlib.suppress(BaseException):  # an exporter of the program's, in a thread of ours
            done = self._work(timeout_s)
        self.late = not done or time.monotonic() - began > timeout_s
        for one in asked:
            one.answer(done)


class Flusher:
    """Flushes the journal and the spans of the program's TracerProvider, both within one bound. Never raises.

    The bound is the `timeout_s` given, in seconds, by default AGENT_JOURNAL_FLUSH_TIMEOUT. Safe to use from any thread,
    and in a child that was forked.
    """

    def __init__(self) -> None:
        self._complain_at = 0.0
        self.lanes = (Lane(_deliver), Lane(_export))

    def ask(self, timeout_s: float | None = None) -> None:
        """Have both flushed, and wait for nothing."""
        self._ask(flush_timeout_s() if timeout_s is None else timeout_s, [lambda: None] * len(self.lanes))

    def here(self, timeout_s: float | None = None) -> Delivered:
        """Flush, blocking this thread, whatever runs in it; return what is known to be there."""
        try:
            bound = flush_timeout_s() if timeout_s is None else timeout_s
            bells = [Bell() for _ in self.lanes]
            asked = self._ask(bound, [bell.ring for bell in bells])
            if not may_wait():
                return UNKNOWN
            for one, bell in zip(asked, bells, strict=True):
                bell.wait(one.left_s())
            return self._judge(asked, bound)
        except Exception:  # noqa: BLE001 - the one boundary: the response must go out
            _log.debug("not flushed", exc_info=True)
            return UNKNOWN

    def beside_loop(self, timeout_s: float | None = None) -> None:
        """Flush as `here`, but where this thread has an event loop wait for nothing."""
        from asyncio import _get_running_loop  # the public one raises where there is none

        if _get_running_loop() is None:
            self.here(timeout_s)
        else:
            self.ask(timeout_s)

    async def in_loop(self, timeout_s: float | None = None) -> Delivered:
        """Flush as `here`, from a coroutine: its event loop goes on meanwhile. Being cancelled as it waits passes."""
        import asyncio

        try:
            bound = flush_timeout_s() if timeout_s is None else timeout_s
            loop = asyncio.get_running_loop()
            waiters = [loop.create_future() for _ in self.lanes]
            asked = self._ask(bound, [functools.partial(_wake, loop, waiter) for waiter in waiters])
            for one, waiter in zip(asked, waiters, strict=True):
                await asyncio.wait((waiter,), timeout=one.left_s())
            return self._judge(asked, bound)
        except Exception:  # noqa: BLE001 - as above
            _log.debug("not flushed", exc_info=True)
            return UNKNOWN

    def _ask(self, bound: float, tell: Sequence[Callable[[], object]]) -> list[Asked]:
        return [lane.ask(bound, told) for lane, told in zip(self.lanes, tell, strict=True)]

    def _judge(self, asked: list[Asked], bound: float) -> Delivered:
        delivered = ALL
        for one in asked:
            delivered &= one.delivered()
        now = time.monotonic()
        if not delivered and now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_EVERY_S
            _log.warning(
                "timeout_s=<%.1f>, %r | journal or spans were not delivered before a response; a freeze may lose some",
                bound,
                delivered,
            )
        return delivered


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(lambda: waiter.done() or waiter.set_result(None))


def flush_timeout_s() -> float:
    """Return how long a response may wait for its flush, as it is set."""
    flush = get_flush()
    return DEFAULT_TIMEOUT_S if flush is None else flush.timeout_s


def _deliver(timeout_s: float) -> Delivered:
    flush = get_flush()
    return ALL if flush is None else flush.deliver(timeout_s)


def _export(timeout_s: float) -> Delivered:
    recorder = get_recorder()
    if recorder is not None:
        recorder.settle(timeout_s)
    provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
    force_flush = getattr(provider, "force_flush", None)
    sent = force_flush is None or force_flush(int(timeout_s * 1000)) is not False
    return Delivered(spans_pending=0 if sent else None)
