"""Journal and spans are delivered before a response ends, since the runtime may freeze the process right after it.

The SDK flushes nothing itself. Both are flushed in threads of ours, so that no event loop is blocked and an exporter
that ignores its timeout, as OpenTelemetry's do, holds up nobody for longer than the bound. Where a flush is not done in
time, the following responses wait a tenth of the bound until one is done again: a backend that is away must not cost
every request the whole of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final

from opentelemetry import trace as trace_api

from otel_agent_journal.pipeline.current import get_flush

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 2.0
_SHORTENED: Final = 10  # by how much a bound is divided while flushes are late
_COMPLAIN_EVERY_S: Final = 60.0


class Lane:
    """One thing that is flushed, by one thread at a time. Those who ask while it works share the next round.

    Args:
        name: of its thread.
        work: flushes; returns whether everything was delivered.
    """

    def __init__(self, name: str, work: Callable[[], bool]) -> None:
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._next: Future[bool] | None = None
        self._working = False

    def ask(self) -> Future[bool]:
        """Have everything flushed that is there now; never blocks."""
        with self._lock:
            future = self._next
            if future is None:
                future = self._next = Future()
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
                future, self._next = self._next, None
                if future is None:
                    self._working = False
                    return
            done = False
            with contextlib.suppress(Exception):  # an exporter of the program's
                done = self._work()
            future.set_result(done)


class Flusher:
    """Flushes the journal and the spans of the program's TracerProvider, both within one bound. Never raises."""

    def __init__(self) -> None:
        self._late = False
        self._complained_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lanes = (Lane("agent-journal-flush", _deliver), Lane("agent-journal-flush-spans", _export))

    def ask(self) -> list[Future[bool]]:
        """Have both flushed, and wait for nothing."""
        if self._pid != os.getpid():  # a forked child, in which our threads are gone
            self._begin()
        return [lane.ask() for lane in self._lanes]

    def here(self) -> None:
        """Flush, from a thread without an event loop; where there is one, it is not waited for."""
        try:
            futures = self.ask()
            if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public one raises where there is none
                wait(futures, self._patience())
                self._judge(futures)
        except Exception:  # noqa: BLE001 - the one boundary: the app must not feel it
            _log.debug("not flushed", exc_info=True)

    async def in_loop(self) -> None:
        """Flush, from a coroutine: the event loop goes on meanwhile. Being cancelled while it waits passes."""
        try:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            futures = self.ask()

            def wake(_: Future[bool]) -> None:
                if all(future.done() for future in futures):
                    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                        loop.call_soon_threadsafe(_release, waiter)

            for future in futures:
                future.add_done_callback(wake)
            await asyncio.wait((waiter,), timeout=self._patience())
            self._judge(futures)
        except Exception:  # noqa: BLE001 - as above
            _log.debug("not flushed", exc_info=True)

    def _patience(self) -> float:
        bound = _bound()
        return bound / _SHORTENED if self._late else bound

    def _judge(self, futures: list[Future[bool]]) -> None:
        self._late = not all(future.done() and future.result() for future in futures)
        now = time.monotonic()
        if self._late and (not self._complained_at or now - self._complained_at > _COMPLAIN_EVERY_S):
            self._complained_at = now
            _log.warning(
                "timeout_s=<%s> | journal or spans were not delivered before a response; a freeze may lose some",
                _bound(),
            )


def _bound() -> float:
    flush = get_flush()
    return DEFAULT_TIMEOUT_S if flush is None else flush.timeout_s


def _deliver() -> bool:
    flush = get_flush()
    return flush is None or flush.deliver(flush.timeout_s)


def _export() -> bool:
    provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
    force_flush = getattr(provider, "force_flush", None)
    return force_flush is None or force_flush(int(_bound() * 1000)) is not False


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
