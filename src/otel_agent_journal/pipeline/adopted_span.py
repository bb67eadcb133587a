"""The span of a step that its framework has opened itself: the step takes it as its own, none is made beside."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import Status, StatusCode

from otel_agent_journal.event import EMPTY
from otel_agent_journal.mapping.genai import (
    AGENT_ID,
    ATTEMPT,
    CONVERSATION_ID,
    KIND_WORDS,
    OUTCOME,
    PASSED_THROUGH,
    PROVIDER_NAME,
    RAISED_AT,
    STEP_ID,
    STEP_KIND,
    STEP_PARENT_ID,
    TOOL_EFFECTS,
    TOOL_NAME,
    end_attributes,
    span_status,
)
from otel_agent_journal.mapping.harmless import harmless_attributes
from otel_agent_journal.pipeline.sdk_span import SdkSpan, Way, mark_told
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.pipeline.step_span import Attributes, Ending

_ADDED: Final = (AGENT_ID, PROVIDER_NAME, TOOL_EFFECTS)  # that frameworks leave out though the conventions ask for them
_IDENTITY: Final = frozenset(
    (CONVERSATION_ID, STEP_ID, STEP_KIND, STEP_PARENT_ID, ATTEMPT, OUTCOME, PASSED_THROUGH, RAISED_AT, TOOL_NAME)
)


class AdoptedSpan(SdkSpan):
    """The framework's span of a step: it ends when both the step has ended and the framework is done with it.

    The framework ends a model's or a tool's span before the step knows its outcome, an agent's after; a span it
    forgets (a cancelled model call) ends with its step.

    Args:
        span: of the SDK.
        way: how spans leave.
        of_provider: it is of the program's provider, else of our stand-in.
        outlives: the framework ends it after the step and still writes to it then.
    """

    __slots__ = ("_done", "_end", "_end_ns", "_of_provider", "_outlives")

    def __init__(self, span: Any, way: Way, *, of_provider: bool, outlives: bool) -> None:
        super().__init__(span, way)
        self._of_provider = of_provider
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
        vars(self.current).pop("end", None)
        self._end(end_ns)

    def is_exported(self) -> bool:
        """Tell whether an exporter of the program's sends it."""
        return self._of_provider and super().is_exported()

    def leaves(self, attributes: Attributes, details: dict[str, Any]) -> Attributes:
        """Return the attributes with the harmless ones that the framework set, where the drain sends it."""
        if not self.is_forwarded():
            return attributes
        found: Mapping[str, Any] = getattr(self.current, "attributes", None) or EMPTY
        theirs = {key: value for key, value in harmless_attributes(found).items() if key not in _IDENTITY}
        return {**theirs, **(attributes or {})}

    def step_ends(self, ending: Ending) -> None:
        """Say how the step ended, and end the span unless the framework still has it."""
        span = self.current
        mark_told(span, ending)
        with contextlib.suppress(Exception):  # a processor or limit of the program's
            span.set_attributes(
                end_attributes(ending.outcome, None, ending.shown_error)
            )  # what the call gave, it has said itself
            set_status(span, ending)
        self._end_ns = ending.end_ns
        if self._done or not self._outlives:
            self._end_span(ending.end_ns)


def set_status(span: Any, ending: Ending) -> None:
    """Give a framework's span the status that its step's outcome is."""
    if ending.outcome == "error":
        code, description = span_status(ending.outcome, ending.shown_error)
        span.set_status(Status(StatusCode(code), description))
    elif ending.outcome != "ok" and span.status.status_code is StatusCode.OK:
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
