"""AWS Lambda: a handler's journal and spans are delivered before Lambda may freeze the process.

Between two invocations a frozen process runs no thread of ours, and it may never be thawed. `lambda_handler` therefore
flushes as the handler returns or raises, within a bound that is never longer than the invocation has left.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from opentelemetry import trace as trace_api

from otel_agent_journal.pipeline.current import get_flush

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 2.0  # where nothing is configured: the journal's own bound is AGENT_JOURNAL_FLUSH_TIMEOUT
RESERVE_S: Final = 0.2  # of the invocation's time, left for the response itself

_COMPLAIN_EVERY_S: Final = 60.0

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


@overload
def lambda_handler(handler: _Handler) -> _Handler: ...
@overload
def lambda_handler(*, timeout_s: float | None = None) -> Callable[[_Handler], _Handler]: ...
def lambda_handler(handler: Any = None, *, timeout_s: float | None = None) -> Any:
    """Wrap a Lambda handler so that journal and spans are delivered before its response is.

    With and without parentheses; for sync and async handlers. What the handler returns and raises passes untouched.
    Flushed are the journal and the program's TracerProvider, side by side; neither raises.

    Args:
        handler: called with Lambda's event and context.
        timeout_s: for how long a response may wait, at most; by default AGENT_JOURNAL_FLUSH_TIMEOUT, 2 s. Never longer
            than the context's `get_remaining_time_in_millis()`, less 200 ms.
    """
    if handler is None:
        return functools.partial(lambda_handler, timeout_s=timeout_s)
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def flushed_async(*arguments: Any, **named: Any) -> Any:
            try:
                return await handler(*arguments, **named)
            finally:
                _flush(arguments, timeout_s)  # blocks the loop: nothing else is to run before the freeze

        return flushed_async

    @functools.wraps(handler)
    def flushed(*arguments: Any, **named: Any) -> Any:
        try:
            return handler(*arguments, **named)
        finally:
            _flush(arguments, timeout_s)

    return flushed


def _flush(arguments: tuple[Any, ...], timeout_s: float | None) -> None:
    """Deliver journal and spans, in threads of their own: an exporter may ignore the time that it is given."""
    try:
        bound = _bound(arguments, timeout_s)
        deadline = time.monotonic() + bound
        begun = [lane.begin(bound) for lane in _LANES]
        delivered = [one is not None and one.wait(max(0.0, deadline - time.monotonic())) for one in begun]
        if not all(delivered) or not all(lane.delivered for lane in _LANES):
            _complain(bound)
    except Exception:  # noqa: BLE001 - the one boundary: the response must go out
        _log.debug("not flushed", exc_info=True)


def _complain(bound: float) -> None:
    now = time.monotonic()
    if now >= _Said.again_at:
        _Said.again_at = now + _COMPLAIN_EVERY_S
        _log.warning("timeout_s=<%.1f> | journal or spans were not delivered before a response", bound)


class _Said:
    again_at = 0.0


def _bound(arguments: tuple[Any, ...], timeout_s: float | None) -> float:
    flush = get_flush()
    bound = timeout_s if timeout_s is not None else DEFAULT_TIMEOUT_S if flush is None else flush.timeout_s
    remaining = getattr(arguments[1], "get_remaining_time_in_millis", None) if len(arguments) > 1 else None
    if callable(remaining):
        left: Any = remaining()
        bound = min(bound, float(left) / 1000 - RESERVE_S)
    return max(0.0, bound)


class _Lane:
    """One thing to be flushed, by one thread at a time: a flush that hangs is not begun a second time."""

    def __init__(self, name: str, work: Callable[[float], bool]) -> None:
        self._name = name
        self._work = work
        self._thread: threading.Thread | None = None
        self.delivered = False

    def begin(self, timeout_s: float) -> threading.Event | None:
        """Flush; the event is set once it is done. None: the flush before this one hangs, and is not waited for."""
        if self._thread is not None and self._thread.is_alive():
            return None
        done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(done, timeout_s), name=self._name, daemon=True)
        self._thread.start()
        return done

    def _run(self, done: threading.Event, timeout_s: float) -> None:
        self.delivered = False
        try:
            self.delivered = self._work(timeout_s)
        except Exception:  # noqa: BLE001 - an exporter of the program's
            _log.debug("lane=<%s> | not flushed", self._name, exc_info=True)
        finally:
            done.set()


def _deliver(timeout_s: float) -> bool:
    flush = get_flush()
    return flush is None or flush.deliver(timeout_s)


def _export(timeout_s: float) -> bool:
    provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
    force_flush = getattr(provider, "force_flush", None)
    return force_flush is None or force_flush(int(timeout_s * 1000)) is not False


_LANES: Final = (_Lane("agent-journal-flush", _deliver), _Lane("agent-journal-flush-spans", _export))
