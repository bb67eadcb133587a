"""What Strands' results and exceptions mean for a step. Imports nothing of Strands: names tell its types."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.foreign import is_a, own
from otel_agent_journal.pipeline.failure import MAX_MESSAGE_CHARACTERS, is_cancel
from otel_agent_journal.plain import text_of

_WRAPPERS: Final = ("EventLoopException",)  # of Strands: the exception that it carries is the one that happened
_STATUS: Final = {"completed": "ok", "failed": "error", "interrupted": "interrupted", "executing": "cancelled"}


def outcome_of_exception(error: BaseException) -> str:
    """Return how a step ended that this exception left."""
    if is_cancel(error):
        return "cancelled"
    return "interrupted" if type(error).__name__ == "InterruptException" else "error"


def error_of(error: BaseException) -> BaseException:
    """Return the exception that happened: the one that Strands wraps, where it wraps one."""
    inner: Any = own(error, "original_exception") if type(error).__name__ in _WRAPPERS else None
    return inner if is_a(inner, BaseException) else error


def outcome_of_stop(stop_reason: Any) -> str:
    """Return how an invocation or a model call ended that stopped for this reason."""
    return {"interrupt": "interrupted", "cancelled": "cancelled"}.get(str(stop_reason), "ok")


def outcome_of_status(status: Any) -> str:
    """Return how a graph, swarm or node ended that has this status."""
    return _STATUS.get(str(getattr(status, "value", status)).lower(), "ok")


def tool_error(result: Mapping[str, Any], exception: Any, content: Any) -> BaseException | ErrorInfo | None:
    """Return why a tool failed, or None where it did not: Strands raises nothing, the result tells."""
    if is_a(exception, BaseException):
        return error_of(exception)
    if result.get("status") == "error":
        return ErrorInfo(type="ToolError", message=text_of(content)[:MAX_MESSAGE_CHARACTERS])
    return None


def asked(interrupts: Iterable[Any], *, content: bool) -> list[dict[str, Any]]:
    """Return the questions that an agent waits for an answer to."""
    return [
        {
            "id": own(one, "id"),
            "name": own(one, "name"),
            **({"value": own(one, "reason")} if content else {}),
        }
        for one in interrupts
    ]


def checkpoint_of(interrupts: Iterable[Any]) -> str | None:
    """Return what an interrupted invocation and the one that resumes it are both known by."""
    ids = sorted(str(getattr(one, "id", "")) for one in interrupts)
    return ids[0] if ids else None


def answered(state: Any) -> str | None:
    """Return the checkpoint that an agent, graph or swarm resumes from, by its interrupt state."""
    if not getattr(state, "activated", False):
        return None
    given: Any = getattr(state, "context", {}).get("responses") or ()
    ids: list[str] = []
    for response in cast("Iterable[Any]", given if is_a(given, list, tuple) else ()):
        if is_a(response, dict) and "interruptResponse" in response:
            one: Any = cast("Mapping[str, Any]", response)["interruptResponse"]
            ids.append(str(one.get("interruptId")))
    known: Any = getattr(state, "interrupts", {})
    ids += [str(one.id) for one in known.values() if one.response is None]  # what was asked with those and waits still
    return min(ids) if ids else checkpoint_of(known.values())


def live_exception(known: BaseException | None) -> BaseException | None:
    """Return the exception that is passing while a hook of Strands runs, unless it was there before the agent was.

    Strands tells its hooks that an invocation is over and not how: they run while the exception passes.
    """
    error = sys.exc_info()[1]
    return None if error is known else error
