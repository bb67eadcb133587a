"""Whether an error began in a step or only passed through it, and what is told of it beside its type and message.

A step remembers what failed below it, as texts: an exception that is held would hold its frames. An error passes
through where it, or what it came of, has ended a step below: then that step is where it is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.failure import error_info
from otel_agent_journal.pipeline.stack import raise_site, related, stack_of
from otel_agent_journal.pipeline.step import Step

_MAX_FAILURES: Final = 32  # that a step remembers


class Failure(NamedTuple):
    """An error as it is known again: by what it says and where it was raised, where that is known."""

    type: str
    message: str
    code: str | None
    raised_at: str | None

    def is_same(self, other: Failure) -> bool:
        """Tell whether both are one error."""
        return self[:3] == other[:3] and (
            None in (self.raised_at, other.raised_at) or self.raised_at == other.raised_at
        )


def failure_of(error: BaseException | ErrorInfo) -> Failure:
    """Return what an error is known by."""
    if isinstance(error, ErrorInfo):
        return Failure(error.type, error.message, error.code, None)
    info = error_info(error)
    return Failure(info.type, info.message, info.code, raise_site(error))


def told_of(error: BaseException | ErrorInfo, step: Step | None, encoder: ContentEncoder) -> dict[str, Any]:
    """Return the details of an event that tells of an error, as they may be journaled.

    Args:
        error: that ends the step, or something around it.
        step: where it is known again; None: nowhere. It and the step above it remember the error.
        encoder: what is to become of content.
    """
    own = failure_of(error)
    came_of = [] if isinstance(error, ErrorInfo) else related(error)
    details: dict[str, Any] = {} if own.raised_at is None else {"raised_at": own.raised_at}
    known = step.failures if step is not None else ()
    same = [one for one in known if own.is_same(one)]
    is_told = any(one.raised_at is not None for one in same)  # with its stack
    if same or (known and any(failure_of(one).is_same(other) for one in came_of for other in known)):
        details["passed_through"] = True
    for one in () if step is None else (step, step.parent):
        if one is not None and not any(map(own.is_same, one.failures)):
            one.failures = (*one.failures, own)[-_MAX_FAILURES:]
    if came_of:
        details["causes"] = list(_causes(came_of, encoder))
    if not is_told and encoder.content and not isinstance(error, ErrorInfo):
        stack = stack_of(error)
        if stack is not None:
            details["stack"] = encoder.redacted("error.stack", stack)
    return details


def _causes(came_of: list[BaseException], encoder: ContentEncoder) -> Iterator[dict[str, Any]]:
    for one in came_of:
        failure = failure_of(one)
        cause: dict[str, Any] = {"type": failure.type}
        if encoder.content and failure.message:
            cause["message"] = encoder.redacted("error.message", failure.message)
        if failure.raised_at is not None:
            cause["raised_at"] = failure.raised_at
        yield cause
