"""AWS Lambda: a handler's journal and spans are delivered before Lambda may freeze the process.

Between two invocations a frozen process runs no thread of ours, and it may never be thawed. `lambda_handler` therefore
flushes as the handler returns or raises, within a bound that is never longer than the invocation has left.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

from otel_agent_journal.pipeline.flushing import Flusher, flush_timeout_s

_log = logging.getLogger(__name__)

RESERVE_S: Final = 0.2  # of the invocation's time, left for the response itself

_FLUSHER: Final = Flusher()
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
    try:
        _FLUSHER.here(_bound(arguments, timeout_s))
    except Exception:  # noqa: BLE001 - the one boundary: the response must go out, whatever Lambda's context is
        _log.debug("not flushed", exc_info=True)


def _bound(arguments: tuple[Any, ...], timeout_s: float | None) -> float:
    bound = flush_timeout_s() if timeout_s is None else timeout_s
    remaining = getattr(arguments[1], "get_remaining_time_in_millis", None) if len(arguments) > 1 else None
    if callable(remaining):
        left: Any = remaining()
        bound = min(bound, float(left) / 1000 - RESERVE_S)
    return max(0.0, bound)
