"""Telling who asked for a run that it has ended: by webhook, and to a Step Functions task that waits. At least once.

What is still to be told lies in the session's line until it is told, so it outlives whoever tries. See `webhooks`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import encode_value
from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.projections.head import AWAITING_INPUT, COMPLETED
from otel_agent_journal.sessions.runs import Run
from otel_agent_journal.sessions.service import SessionService
from otel_agent_journal.webhooks import headers_of, key_of, post

_log = logging.getLogger(__name__)

MAX_TRIES: Final = 12  # the last some two days after the first
TIMEOUT_S: Final = 10.0
HEARTBEAT_S: Final = 20.0
_FIRST_WAIT_S: Final = 15.0
_LONGEST_WAIT_S: Final = 12 * 3600.0
_MAX_TASK_OUTPUT: Final = 256 * 1024  # bytes that Step Functions takes
_MAX_CAUSE: Final = 32_768
_NOBODY_WAITS: Final = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")
_SECOND_NS: Final = 1_000_000_000


class Notices:
    """Tells who asked.

    Args:
        service: whose runs they are.
        secret: what webhooks are signed with; without one they are sent unsigned.
        states: returns a client of Step Functions.

    Raises:
        ConfigError: the secret is malformed.
    """

    def __init__(
        self,
        service: SessionService,
        *,
        secret: str | None = None,
        states: Callable[[], Any] | None = None,
    ) -> None:
        self._service = service
        try:
            self._keys = () if secret is None else (key_of(secret),)
        except ValueError:
            raise ConfigError(
                "AGENT_JOURNAL_WEBHOOK_SECRET begins with whsec_, and what follows is not base64; make one: echo"
                ' "whsec_$(openssl rand -base64 32)"'
            ) from None
        self._states = states or _states

    def tell(self, session_id: str, run: Run) -> bool:
        """Tell who asked for a run that has ended, if it is time and nobody else is at it; tell whether it is done."""
        waits = run.reason == AWAITING_INPUT and run.task_token is not None and run.webhook is None
        wait_s = HEARTBEAT_S if waits else min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**run.tries)
        now_ns = time.time_ns()
        taken = self._service.lines.take_notice(session_id, run.run, now_ns, int(wait_s * _SECOND_NS))
        if taken is None:
            return False
        if waits and run.task_token is not None:  # until there is an answer, whose run has the token then
            self.heartbeat(run.task_token)
            return False
        try:
            self._tell(session_id, taken)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again, or given up
            if taken.tries < MAX_TRIES:
                _log.info("session_id=<%s>, tries=<%d>, reason=<%s> | not told yet", session_id, taken.tries, error)
                return False
            self._service.telling.warning(
                session_id, taken, f"nobody could be told of the end in {taken.tries} tries: {error}"
            )
        if run.task_token is not None and run.reason == AWAITING_INPUT:
            return False
        self._service.lines.remove(session_id, taken)
        return True

    def heartbeat(self, task_token: str) -> None:
        """Tell Step Functions that a task goes on. Never raises."""
        try:
            self._states().send_task_heartbeat(taskToken=task_token)
        except Exception as error:  # noqa: BLE001 - one that is late is no reason to stop
            _log.info("reason=<%s> | no heartbeat was sent", error)

    def _tell(self, session_id: str, run: Run) -> None:
        state, result = self._service.result(session_id)
        told = {
            "type": "session.ended",
            "timestamp": state.ended_at or state.updated_at,
            "data": {
                "session_id": session_id,
                "run": run.run,
                "status": run.status or state.status,
                "reason": run.reason,
                "result": result,
                "error": msgspec.to_builtins(state.error),
                "artefacts": msgspec.to_builtins(state.artefacts),
                "metadata": run.metadata,
            },
        }
        if run.webhook is not None:
            body = encode_value(told)
            post(run.webhook, body, headers_of(run.run, int(time.time()), body, self._keys), TIMEOUT_S)
            if run.task_token is not None:
                self._service.lines.told_webhook(session_id, run.run)
        if run.task_token is not None and run.reason != AWAITING_INPUT:
            self._tell_task(run, told["data"])

    def _tell_task(self, run: Run, told: Any) -> None:
        states, status, reason = self._states(), run.status, run.reason
        try:
            if status == COMPLETED:
                output = encode_value(told)
                if len(output) > _MAX_TASK_OUTPUT:
                    output = encode_value({**told, "result": None, "result_bytes": len(output)})
                states.send_task_success(taskToken=run.task_token, output=output.decode())
            else:
                name = (
                    "Timeout" if (told["error"] or {}).get("kind") == "timeout" else (reason or "Failed").capitalize()
                )
                cause = encode_value(told["error"] or {"reason": reason}).decode()[:_MAX_CAUSE]
                states.send_task_failure(taskToken=run.task_token, error=name, cause=cause)
        except Exception as error:
            answer: dict[str, Any] = getattr(error, "response", None) or {}  # None: none came
            if answer.get("Error", {}).get("Code") not in _NOBODY_WAITS:
                raise


def _states() -> Any:
    try:
        import boto3
    except ImportError as error:
        raise MissingExtra("boto3, which tells Step Functions,", "boto3") from error
    return cast("Any", boto3).client("stepfunctions")
