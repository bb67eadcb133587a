"""A step that waits for the span that its framework is about to open for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext

from otel_agent_journal.pipeline.light_span import LightSpan
from otel_agent_journal.pipeline.spans import Spans
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.pipeline.step_span import Attributes

Begun = Callable[[Step, SpanContext | None, dict[str, Any], Sequence[Link]], None]


class PendingStep:
    """What a step's span and START will be made of, until it begins: once, by one of `open` and `adopt`.

    `begun` journals the START, to whose `details` more may be added until then; the others are as for `Spans.open`.
    """

    __slots__ = ("_attributes", "_begun", "_context", "_enclosing", "_links", "_spans", "details", "step")

    def __init__(
        self,
        step: Step,
        spans: Spans,
        begun: Begun,
        context: Context,
        enclosing: Any,
        attributes: Attributes,
        details: dict[str, Any],
        links: Sequence[Link],
    ) -> None:
        self.step = step
        self.details = details
        self._spans = spans
        self._begun = begun
        self._context = context
        self._enclosing = enclosing
        self._attributes = attributes
        self._links = links
        step.span = LightSpan("", "", True, trace_api.get_current_span(context).get_span_context())  # noqa: FBT003

    def open(self) -> None:
        """Begin with a span of our own: the framework has opened none."""
        above = self._spans.open(self.step, self._context, self._enclosing, self._attributes, self._links)
        self._begun(self.step, above, self.details, self._links)

    def adopt(self, span: Any, *, outlives: bool) -> None:
        """Begin with the span that the framework has opened."""
        above = self._spans.adopt(self.step, span, self._attributes, self._links, outlives=outlives)
        self._begun(self.step, above, self.details, self._links)
