"""What a step's span is to the recorder, be it the SDK's, a light one of ours, or one that a framework has opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
from opentelemetry.trace import Span, SpanContext

from otel_agent_journal.event import EMPTY, ErrorInfo, Usage
from otel_agent_journal.mapping.genai import USAGE_COST
from otel_agent_journal.mapping.harmless import harmless_attributes, harmless_error

SERVED: Final = "served"  # in the details of an ending: the step whose recorded result stands for a call
Attributes = dict[str, Any] | None


class Ending(msgspec.Struct):
    """How a step ends: what `Step.end` is given, and then when, and what the journal says of the error."""

    outcome: str
    error: BaseException | ErrorInfo | None
    usage: Usage | None
    attributes: Attributes
    details: dict[str, Any]
    on_span: Attributes
    end_ns: int = 0
    info: ErrorInfo | None = None
    told: Mapping[str, Any] = EMPTY
    span_content: bool = False

    def was_served(self, step_id: str) -> None:
        """Say that a recorded step stands for a call that was not made: what that one cost is not spent again."""
        self.details[SERVED] = step_id
        self.costs_nothing()

    def costs_nothing(self) -> None:
        """Leave out what it cost: that was spent when it was recorded."""
        self.usage = None
        for values in (self.attributes, self.on_span):
            if values is not None:
                values.pop(USAGE_COST, None)

    @property
    def shown(self) -> Attributes:
        """The attributes of the step's span: with content, where that goes on spans."""
        shown = {**(self.attributes or {}), **self.on_span} if self.on_span else self.attributes
        return shown if self.span_content or not shown else harmless_attributes(shown)

    @property
    def shown_error(self) -> ErrorInfo | None:
        """What the step's span says of the error."""
        return self.info if self.span_content else harmless_error(self.info)


class StepSpan(Protocol):
    """The span of one step. Nothing of it raises.

    `sampled`: it may leave. `takes_content`: content that is put on it is seen by somebody. `calls_out`: its end calls
    processors and exporters of the program's, under locks of theirs.
    """

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def takes_content(self) -> bool: ...

    @property
    def calls_out(self) -> bool: ...

    @property
    def current(self) -> Span:
        """The span that is current for the code of the step."""
        ...

    def get_span_context(self) -> SpanContext:
        """Return its ids."""
        ...

    def is_exported(self) -> bool:
        """Tell whether an exporter of the program's sends it."""
        ...

    def leaves(self, attributes: Attributes, details: dict[str, Any]) -> Attributes:
        """Return the attributes of an ending with those that others have set; what else they set goes into details."""
        ...

    def step_ends(self, ending: Ending) -> None:
        """End it, or leave that to who opened it."""
        ...
