"""Retries and pace of Bedrock calls: each attempt that botocore repeats is a WARNING within the step that called.

Holds for every client of Bedrock's data plane and every retry mode. botocore's endpoint asks its retry handlers
after each attempt and sleeps for what the first of them answers; the answer is read where the endpoint reads it, so
that the journal has it before the wait. In adaptive mode a client also holds itself back before it sends.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from otel_agent_journal.event import WARNING
from otel_agent_journal.pipeline.failure import error_info
from otel_agent_journal.pipeline.step import Step, current_step

_log = logging.getLogger(__name__)

SERVICES: Final = frozenset(("bedrock-runtime", "bedrock-agent-runtime", "bedrock-agentcore"))
HELD_BACK_S: Final = 0.01  # a wait of the client's own that is shorter is none

Patch = Callable[[Any, str, Any, Any], None]
"""Puts a replacement in the place of an owner's attribute: `(owner, name, original, replacement)`."""


class _Attempt:
    """An attempt that has been made, while botocore decides whether it makes another."""

    __slots__ = ("context", "details", "step", "told")

    def __init__(self, step: Step, details: dict[str, Any], context: Mapping[str, Any]) -> None:
        self.step = step
        self.details = details
        self.context = context
        self.told = False

    def tell(self, backoff_s: float) -> None:
        """Journal the attempt and the wait after it, once."""
        if not self.told:
            self.told = True
            details = {**self.details, "backoff_s": round(backoff_s, 3)}
            limit: Any = self.context.get("retries", {}).get("max")  # which legacy mode says as it decides
            if isinstance(limit, int):
                details["max_attempts"] = limit
            self.step.note(WARNING, details, level="WARNING")


_attempt: ContextVar[_Attempt | None] = ContextVar("agent_journal_attempt", default=None)
_sending: ContextVar[tuple[Step, str] | None] = ContextVar("agent_journal_sending", default=None)


def patch_endpoint(module: Any, enabled: Callable[[], bool], replace: Patch) -> None:
    """Hook `botocore.endpoint`: the loop that sends, and where it reads how long to wait."""
    endpoint = module.Endpoint
    needs_retry, send_request = endpoint._needs_retry, endpoint._send_request  # noqa: SLF001 - feature-detected: where
    # one is missing its import is logged and the calls go on

    @functools.wraps(needs_retry)
    def watched(self: Any, attempts: Any, operation_model: Any, *args: Any, **kwargs: Any) -> Any:
        attempt = _attempt_of(attempts, operation_model, args, kwargs) if enabled() else None
        token = _attempt.set(attempt)
        try:
            before_s = time.monotonic()
            again = needs_retry(self, attempts, operation_model, *args, **kwargs)
        finally:
            _attempt.reset(token)
        if again and attempt is not None:
            _guarded(attempt.tell, time.monotonic() - before_s)  # where the wait could not be read, it was measured
        return again

    @functools.wraps(send_request)
    def sent(self: Any, request_dict: Any, operation_model: Any, *args: Any, **kwargs: Any) -> Any:
        token = _sending.set(_sender_of(operation_model) if enabled() else None)
        try:
            return send_request(self, request_dict, operation_model, *args, **kwargs)
        finally:
            _sending.reset(token)

    replace(endpoint, "_needs_retry", needs_retry, watched)
    replace(endpoint, "_send_request", send_request, sent)
    first_response = getattr(module, "first_non_none_response", None)
    if first_response is None:
        return

    @functools.wraps(first_response)
    def read(*args: Any, **kwargs: Any) -> Any:
        answer = first_response(*args, **kwargs)
        attempt = _attempt.get()
        if attempt is not None and isinstance(answer, int | float) and answer is not False:
            _guarded(attempt.tell, answer)
        return answer

    replace(module, "first_non_none_response", first_response, read)


def patch_bucket(module: Any, enabled: Callable[[], bool], replace: Patch) -> None:
    """Hook `botocore.retries.bucket`: where a client in adaptive mode holds itself back."""
    bucket = module.TokenBucket
    acquire = bucket.acquire

    @functools.wraps(acquire)
    def measured(self: Any, *args: Any, **kwargs: Any) -> Any:
        before_s = time.monotonic()
        acquired = acquire(self, *args, **kwargs)
        sending = _sending.get()
        if sending is not None and enabled():
            _guarded(_tell_held_back, time.monotonic() - before_s)
        return acquired

    replace(bucket, "acquire", acquire, measured)


def _tell_held_back(waited_s: float) -> None:
    sending = _sending.get()
    if sending is None or waited_s < HELD_BACK_S:
        return
    step, operation = sending
    details = {"message": f"{operation} was held back by the client's own rate limit", "operation": operation}
    step.note(WARNING, {**details, "backoff_s": round(waited_s, 3)}, level="WARNING")


def _sender_of(operation_model: Any) -> tuple[Step, str] | None:
    """Return the step that sends and its operation, for the services that are watched."""
    try:
        if operation_model.service_model.service_name not in SERVICES:
            return None
        step = current_step()
        return (step, str(operation_model.name)) if step is not None and not step.ended else None
    except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
        _log.debug("a request could not be read", exc_info=True)
        return None


def _attempt_of(attempts: Any, operation_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Attempt | None:
    """Return what is known of an attempt before it is decided whether there is another."""
    sender = _sender_of(operation_model)
    if sender is None:
        return None
    try:
        names = ("request_dict", "response", "caught_exception")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        context: Any = given["request_dict"]["context"]
        step, operation = sender
        details: dict[str, Any] = {"operation": operation, "attempt": attempts}
        details |= _said(given.get("response"), given.get("caught_exception"))
        why = details.get("code") or details.get("reason") or "no answer"
        details["message"] = f"{operation} attempt {attempts} failed and is repeated: {why}"
        return _Attempt(step, details, context)
    except Exception:  # noqa: BLE001 - the one boundary
        _log.debug("an attempt could not be read", exc_info=True)
        return None


def _said(response: Any, raised: BaseException | None) -> dict[str, Any]:
    """Return why an attempt failed: code and message of the service, or type and message of what was raised."""
    if raised is not None:
        info = error_info(raised)
        return {"code": info.code or type(raised).__name__, "error": {"type": info.type, "message": info.message}}
    if response is None:
        return {}
    http, parsed = response
    said: Mapping[str, Any] = parsed.get("Error") or {}
    code = str(said.get("Code") or getattr(http, "status_code", ""))
    return {"code": code, "error": {"type": code, "message": str(said.get("Message") or "")}}


def _guarded(tell: Callable[[float], None], waited_s: float) -> None:
    try:
        tell(waited_s)
    except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
        _log.debug("a retry could not be journaled", exc_info=True)
