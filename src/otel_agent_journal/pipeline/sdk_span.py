"""The span of a step that the program's own TracerProvider records."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span, SpanContext, Status, StatusCode

from otel_agent_journal.event import EMPTY
from otel_agent_journal.mapping.genai import OUTCOME, end_attributes, span_status, told_attributes
from otel_agent_journal.pipeline.step_span import Attributes, Ending

_OURS: Final = ("gen_ai.", "agent_journal.", "error.")


class Way(NamedTuple):
    """How spans leave this process.

    `exported`: by the program's own exporters; `forwarded`: the drain sends those that are not; `failed` is told when a
    processor of the program's raises.
    """

    exported: Callable[[], bool]
    forwarded: bool
    failed: Callable[[str], None]


class SdkSpan:
    """A recording span of the SDK's, which ends with its step."""

    takes_content = True
    calls_out = True

    __slots__ = ("_context", "_way", "current", "sampled", "span_id", "trace_id")

    def __init__(self, span: Span, way: Way) -> None:
        context = self._context = span.get_span_context()
        self.current = span
        self.trace_id = f"{context.trace_id:032x}"
        self.span_id = f"{context.span_id:016x}"
        self.sampled = context.trace_flags.sampled
        self._way = way

    def get_span_context(self) -> SpanContext:
        """Return its ids."""
        return self._context

    def is_exported(self) -> bool:
        """Tell whether an exporter of the program's sends it."""
        return self._way.exported()

    def is_forwarded(self) -> bool:
        """Tell whether the drain sends it, though it is the SDK's."""
        return self._way.forwarded and self.sampled and not self._way.exported()

    def leaves(self, attributes: Attributes, details: dict[str, Any]) -> Attributes:
        """Return the attributes with those that user code set, where the drain sends it; events go into details."""
        if not self.is_forwarded():
            return attributes
        found: Mapping[str, Any] = getattr(self.current, "attributes", None) or EMPTY
        theirs = {key: value for key, value in found.items() if not key.startswith(_OURS)}
        events = getattr(self.current, "events", ())
        if events:
            details["events"] = [
                {"name": event.name, "timestamp_ns": event.timestamp, "attributes": dict(event.attributes or {})}
                for event in events
            ]
        return {**theirs, **(attributes or {})} if theirs else attributes

    def step_ends(self, ending: Ending) -> None:
        """Say how the step ended, and end it."""
        span, outcome, usage, error, shown = (
            self.current,
            ending.outcome,
            ending.usage,
            ending.shown_error,
            ending.shown,
        )
        mark_told(span, ending)
        try:
            if usage is None and error is None and not shown:
                span.set_attribute(OUTCOME, outcome)
            else:
                span.set_attributes(end_attributes(outcome, usage, error, shown))
            if outcome == "error":
                code, description = span_status(outcome, error)
                span.set_status(Status(StatusCode(code), description))
            span.end(ending.end_ns)
        except Exception:  # noqa: BLE001 - a processor of the program's
            self._way.failed("a span could not be ended")


def mark_told(span: Span, ending: Ending) -> None:
    """Say on a span where the error that ends it was raised, and whether it only passed through."""
    if ending.told:
        with contextlib.suppress(Exception):  # a limit of the program's
            span.set_attributes(told_attributes(ending.told))
