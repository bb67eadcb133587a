"""Spans that a framework opens itself and that are a step's: the step takes them as its own, none is made beside.

An instrumentor names its framework's scope with `adopt_scope` and puts a `Claim` for a step into the context that the
framework opens the step's span in; `JournalSpanProcessor` calls `belongs` as any span of that scope begins. What the
framework opens beside its steps (the cycles of a loop) is marked with the session, and ended with the step around it
where the framework forgets to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import Status, StatusCode

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.mapping.genai import (
    AGENT_ID,
    ATTEMPT,
    CONVERSATION_ID,
    KIND_WORDS,
    PROVIDER_NAME,
    STEP_ID,
    STEP_KIND,
    STEP_PARENT_ID,
    TOOL_EFFECTS,
    end_attributes,
    span_status,
)
from otel_agent_journal.pipeline.step import STEP_KEY, Step

CLAIM_KEY: Final = context_api.create_key("agent-journal-claim")

_ADDED: Final = (AGENT_ID, PROVIDER_NAME, TOOL_EFFECTS)  # that frameworks leave out though the conventions ask for them
_MAX_BESIDE: Final = 100  # open spans beside a step that are remembered


class Claim:
    """A step's claim on the next span of its framework whose name begins so. Holds once.

    Args:
        step: made with `waits`.
        prefix: of the span's name.
        outlives: as for `Recorder.adopt`.
    """

    __slots__ = ("held", "outlives", "prefix", "step")

    def __init__(self, step: Step, prefix: str, *, outlives: bool = False) -> None:
        self.step = step
        self.prefix = prefix
        self.outlives = outlives
        self.held = True


class AdoptedSpan:
    """The framework's span of a step: it ends when both the step has ended and the framework is done with it.

    The framework ends a model's or a tool's span before the step knows its outcome, an agent's after; a span it
    forgets (a cancelled model call) ends with its step.

    Args:
        span: of the SDK.
        outlives: the framework ends it after the step and still writes to it then.
    """

    __slots__ = ("_done", "_end", "_end_ns", "_outlives", "span")

    def __init__(self, span: Any, *, outlives: bool) -> None:
        self.span = span
        self._end = span.end
        self._end_ns: int | None = None
        self._done = False
        self._outlives = outlives
        span.end = self._framework_ends

    def _framework_ends(self, end_time: int | None = None) -> None:
        self._done = True
        if self._end_ns is not None:
            self._end_span(self._end_ns if end_time is None else max(end_time, self._end_ns))

    def release(self) -> None:
        """End the span of a step that is over where its framework, which is done too, has forgotten it."""
        if not self._done and self._end_ns is not None:
            self._framework_ends()

    def _end_span(self, end_ns: int) -> None:
        # The span and this are a cycle no longer: a span holds whole histories, too much to wait for a collection.
        self.span.__dict__.pop("end", None)
        self._end(end_ns)

    def step_ends(self, outcome: str, error: ErrorInfo | None, end_ns: int) -> None:
        """Say how the step ended, and end the span unless the framework still has it."""
        span = self.span
        with contextlib.suppress(Exception):  # a processor or limit of the program's
            span.set_attributes(end_attributes(outcome, None, error))  # what the call gave, it has said itself
            _set_status(span, outcome, error)
        self._end_ns = end_ns
        if self._done or not self._outlives:
            self._end_span(end_ns)


def _set_status(span: Any, outcome: str, error: ErrorInfo | None) -> None:
    if outcome == "error":
        code, description = span_status(outcome, error)
        span.set_status(Status(StatusCode(code), description))
    elif outcome != "ok" and span.status.status_code is StatusCode.OK:
        span._status = Status(StatusCode.UNSET)  # noqa: SLF001 - the SDK lets nothing follow OK, which this is not


def marked(step: Step, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes by which a framework's span is known as this step's: what it says itself is left to it."""
    mark: dict[str, Any] = {
        CONVERSATION_ID: step.session_id,
        STEP_ID: step.step_id,
        STEP_KIND: KIND_WORDS[step.kind],
        ATTEMPT: step.attempt,
    }
    if step.parent_step_id is not None:
        mark[STEP_PARENT_ID] = step.parent_step_id
    if attributes:
        mark |= {key: attributes[key] for key in _ADDED if key in attributes}
    return mark


def belongs(span: Any, context: Context) -> bool:
    """Let a step take its framework's span as it begins; return whether it is a step's, or beside the steps of one."""
    claim: Any = context.get(CLAIM_KEY)
    if isinstance(claim, Claim) and claim.held and span.name.startswith(claim.prefix):
        claim.held = False
        claim.step.keeper.adopt(claim.step, span, outlives=claim.outlives)
        return True
    around: Any = context.get(STEP_KEY)
    if not isinstance(around, Step) or around.ended:
        return False
    span.set_attribute(CONVERSATION_ID, around.session_id)
    beside = [other for other in around.beside or () if other.is_recording()]
    around.beside = [*beside[-_MAX_BESIDE:], span]
    return True


def is_marked(span: Any) -> bool:
    """Tell whether a framework's span is a step's, or beside the steps of one: the recorder journals those."""
    return CONVERSATION_ID in (span.attributes or ())


def end_beside(step: Step, outcome: str, error: ErrorInfo | None, end_ns: int) -> None:
    """End the spans beside a step that its framework has left open."""
    beside, step.beside = step.beside, None
    for span in reversed(beside or ()):
        if span.is_recording() and STEP_ID not in span.attributes:  # else a step has taken it since, and ends it
            with contextlib.suppress(Exception):
                _set_status(span, outcome, error)
                span.end(end_ns)
