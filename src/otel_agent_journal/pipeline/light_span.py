"""The span of a step where the program has no recording one: no TracerProvider, the SDK disabled, or not sampled.

The user's own spans nest under it by its ids. What user code sets on it is kept and goes into the step's ending, so
that the drain can forward a whole span. It has no processor and is never exported from here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import INVALID_SPAN_CONTEXT, Span, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

from otel_agent_journal.pipeline.sampling import is_sampled, provider_of_program
from otel_agent_journal.pipeline.step_span import Ending, StepSpan

MAX_ATTRIBUTES: Final = 128  # the SDK's own default
MAX_EVENTS: Final = 128  # the SDK's own default


class LightSpan(Span):
    """A span that lives in memory until its step ends. What is past the SDK's default limits is dropped.

    Args:
        trace_id, span_id: its own, as hex digits.
        sampled: it may leave.
        context: its ids, where they are known.
        around: the span around it, whose trace it is in; its ids are worked out of that when asked for.
        undecided: nobody exports the trace, so it is not sampled, unless the program sets a provider that does.
    """

    takes_content = False
    calls_out = False

    __slots__ = (
        "_around",
        "_context",
        "_ended",
        "_undecided",
        "attributes",
        "events",
        "links",
        "sampled",
        "span_id",
        "status",
        "trace_id",
    )

    def __init__(
        self,
        trace_id: str,
        span_id: str,
        sampled: bool,
        context: SpanContext | None = None,
        around: Span | StepSpan | None = None,
        undecided: bool = False,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.sampled = sampled
        self._context = context
        self._around = around
        self._undecided = undecided
        self._ended = False
        self.attributes: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.links: list[dict[str, str]] = []
        self.status: Status | None = None

    @property
    def current(self) -> Span:
        """Itself."""
        return self

    def get_span_context(self) -> SpanContext:
        """Return its ids."""
        context = self._context
        if context is None:
            above = self._around.get_span_context() if self._around is not None else INVALID_SPAN_CONTEXT
            context = self._context = SpanContext(
                above.trace_id,
                int(self.span_id, 16),
                is_remote=False,
                trace_flags=above.trace_flags,
                trace_state=above.trace_state,
            )
            self._undecided = type(self._around) is LightSpan and self._around._undecided  # noqa: SLF001 - its own kind
            self._around = None
        if self._undecided and (provider := provider_of_program()) is not None:
            self._undecided = False
            if is_sampled(provider, context.trace_id, ""):
                context = self._context = _sampled(context)
        return context

    def is_exported(self) -> bool:
        """Tell that nobody of the program's sends it."""
        return False

    def leaves(self, attributes: dict[str, Any] | None, details: dict[str, Any]) -> dict[str, Any] | None:
        """Return the attributes with those that were set on it; what else it keeps goes into details."""
        if self.events:
            details["events"] = self.events
        if self.links:
            details["links"] = self.links
        if self.status is not None and self.status.status_code is not StatusCode.UNSET:
            details["status"] = {"code": self.status.status_code.value, "description": self.status.description}
        return {**self.attributes, **(attributes or {})} if self.attributes else attributes

    def step_ends(self, ending: Ending) -> None:
        """Take nothing more: how the step ended, the journal says."""
        self._ended = True

    def is_recording(self) -> bool:
        """Tell whether what is set on it is still kept: until it ends."""
        return not self._ended

    def end(self, end_time: int | None = None) -> None:
        """Take nothing more."""
        self._ended = True

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Keep an attribute for the ending."""
        if self._ended:
            return
        if key in self.attributes or len(self.attributes) < MAX_ATTRIBUTES:
            self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Keep attributes for the ending."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Keep an event for the ending."""
        if self._ended:
            return
        if len(self.events) < MAX_EVENTS:
            moment = time.time_ns() if timestamp is None else timestamp
            self.events.append({"name": name, "timestamp_ns": moment, "attributes": dict(attributes or {})})

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Keep a link for the ending."""
        if self._ended:
            return
        if len(self.links) < MAX_EVENTS:
            self.links.append({"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"})

    def update_name(self, name: str) -> None:
        """Do nothing: a step keeps the name that its START was journaled under."""

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Keep a status for the ending."""
        if not self._ended:
            self.status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Keep an exception event for the ending."""
        facts: dict[str, Any] = {"exception.type": type(exception).__qualname__, "exception.message": str(exception)}
        self.add_event("exception", {**facts, **(attributes or {})}, timestamp)


def light_span(context: SpanContext, *, undecided: bool = False) -> LightSpan:
    """Return a light span of these ids."""
    trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return LightSpan(trace_id, span_id, context.trace_flags.sampled, context, undecided=undecided)


def _sampled(context: SpanContext) -> SpanContext:
    flags = TraceFlags(context.trace_flags | TraceFlags.SAMPLED)
    return SpanContext(
        context.trace_id, context.span_id, is_remote=False, trace_flags=flags, trace_state=context.trace_state
    )
