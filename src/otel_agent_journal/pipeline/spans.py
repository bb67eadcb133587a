"""The spans of steps: those of the program's TracerProvider where it has one, else light ones of our own.

Opens and ends spans for the recorder and names a step by its span's ids; of events and spools it knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from otel_agent_journal.event import EMPTY, ErrorInfo, Usage
from otel_agent_journal.mapping.genai import (
    ATTEMPT,
    CONVERSATION_ID,
    KIND_CLIENT,
    OPERATION_NAME,
    OUTCOME,
    PASSED_THROUGH,
    RAISED_AT,
    SCHEMA_URL,
    SCOPE_NAME,
    STEP_ID,
    STEP_KIND,
    STEP_PARENT_ID,
    TOOL_NAME,
    end_attributes,
    span_kind,
    span_name,
    span_status,
    start_attributes,
)
from otel_agent_journal.mapping.harmless import harmless_attributes
from otel_agent_journal.pipeline.clock import RandomIds
from otel_agent_journal.pipeline.light_span import LightSpan
from otel_agent_journal.pipeline.sampling import is_sampled
from otel_agent_journal.pipeline.step import SPAN_KEY, Step
from otel_agent_journal.threads import is_collecting

_OURS: Final = ("gen_ai.", "agent_journal.", "error.")
_IDENTITY: Final = frozenset(
    (CONVERSATION_ID, STEP_ID, STEP_KIND, STEP_PARENT_ID, ATTEMPT, OUTCOME, PASSED_THROUGH, RAISED_AT, TOOL_NAME)
)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_FREE_S: Final = 0.1  # who holds a provider's lock in another thread makes one object there
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)

Attributes = dict[str, Any] | None


class Spans:
    """Opens and ends the spans of steps.

    Args:
        ids: of light spans.
        failed: told when a processor or sampler of the program's raises.
        forwarded: the drain sends the spans that no exporter of the program's does.
        provided: told the program's provider, before the first span of it.
    """

    def __init__(
        self,
        ids: RandomIds,
        failed: Callable[[str], None],
        *,
        forwarded: bool = False,
        provided: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self._ids = ids
        self._failed = failed
        self._forwarded = forwarded
        self._provided = provided
        self._known: tuple[Any, Tracer | None] = (None, None)

    def open_root(
        self, step: Step, context: Context, attributes: Attributes, links: Sequence[Link]
    ) -> SpanContext | None:
        """Open a root's span, name its session by its trace where nothing else does; return the span around it."""
        step.tracer = self.tracer()
        around = trace_api.get_current_span(context).get_span_context()
        foreign = around if around.is_valid else None
        span = self._of_provider(step, context, foreign, attributes, links) if step.tracer is not None else None
        if span is not None:
            name_by(step, span)
        elif foreign is not None:
            flags, state = foreign.trace_flags, foreign.trace_state
            ids = SpanContext(foreign.trace_id, self._ids.span_id(), False, flags, state)  # noqa: FBT003 - not remote
            name_by(step, LightSpan(ids))
        else:
            self._begin_trace(step)
        if not step.session_id:
            step.session_id = step.trace_id
            if type(step.span) is not LightSpan:
                step.span.set_attribute(CONVERSATION_ID, step.session_id)
        return foreign

    def _begin_trace(self, step: Step) -> None:
        """Give a root the first span of a trace: sampled where spans are forwarded, and no sampler is against it.

        Where nobody exports it, whoever is called from within is not told to record it. That is no sampler's word.
        """
        trace_id = self._ids.trace_id()
        stand_in: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as in `tracer`
        sampled = self._forwarded and is_sampled(stand_in, trace_id, span_name(step.kind, step.name))
        flags = _SAMPLED if sampled else _NOT_SAMPLED
        ids = SpanContext(trace_id, self._ids.span_id(), False, flags)  # noqa: FBT003 - not remote
        name_by(step, LightSpan(ids, undecided=not self._forwarded))
        step.sampled = sampled or not self._forwarded

    def open_child(
        self,
        step: Step,
        parent: Step,
        context: Context,
        enclosing: Any,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> SpanContext | None:
        """Open a child's span below its parent's, or below a span of the user's in between; return that one."""
        above = parent.span
        foreign: SpanContext | None = None
        if enclosing is parent:
            current = context.get(SPAN_KEY)
            if current is not above and isinstance(current, Span):
                ids = current.get_span_context()
                # A framework whose spans are not recorded makes copies of ours current.
                if ids.is_valid and ids.span_id != above.get_span_context().span_id:
                    above, foreign = current, ids
        tracer = step.tracer = parent.tracer
        if tracer is not None:
            if enclosing is not parent:
                context = parent.context(context)
            span = self._of_provider(step, context, foreign or above.get_span_context(), attributes, links)
            if span is not None:
                name_by(step, span)
                return foreign
        step.span_id = span_id = self._ids.span_id_hex()
        step.span = LightSpan(None, above, int(span_id, 16))
        if foreign is None:
            step.trace_id, step.sampled = parent.trace_id, parent.sampled
        else:
            step.trace_id, step.sampled = f"{foreign.trace_id:032x}", foreign.trace_flags.sampled
        return foreign

    def end(
        self,
        span: Span,
        outcome: str,
        usage: Usage | None,
        error: ErrorInfo | None,
        attributes: Attributes,
        end_ns: int,
    ) -> None:
        """End a span of the program's provider."""
        try:
            if usage is None and error is None and not attributes:
                span.set_attribute(OUTCOME, outcome)
            else:
                span.set_attributes(end_attributes(outcome, usage, error, attributes))
            if outcome == "error":
                code, description = span_status(outcome, error)
                span.set_status(Status(StatusCode(code), description))
            span.end(end_ns)
        except Exception:  # noqa: BLE001 - a processor of the program's
            self._failed("a span could not be ended")

    def _of_provider(
        self,
        step: Step,
        context: Context,
        above: SpanContext | None,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> Span | None:
        """Return the step's span of the program's provider; a light one of its ids where it is not recorded.

        None where the provider gives no ids of its own: the SDK is disabled, or its sampler raised.
        """
        tracer = step.tracer
        if tracer is None:
            return None
        try:
            span = tracer.start_span(
                span_name(step.kind, step.name, attributes.get(OPERATION_NAME) if attributes else None),
                context,
                SpanKind.CLIENT if span_kind(step.kind, attributes or EMPTY) == KIND_CLIENT else SpanKind.INTERNAL,
                start_attributes(
                    step.kind, step.name, step.session_id, step.step_id, step.parent_step_id, step.attempt, attributes
                ),
                links,
                step.start_ns,
                False,  # noqa: FBT003 - the endings are recorded here
                False,  # noqa: FBT003
            )
            if span.is_recording():
                return span
            given = span.get_span_context()
        except Exception:  # noqa: BLE001 - a sampler or processor of the program's
            self._failed("a span could not be started")
            return None
        if given.is_valid and (above is None or given.span_id != above.span_id):
            return LightSpan(given)
        return None

    def are_real(self) -> bool:
        """Tell whether spans of others are recorded in this process: by the program's provider or by our stand-in."""
        provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as in `tracer`
        return getattr(provider, "agent_journal_fallback", False) or self.tracer() is not None

    def tracer(self) -> Tracer | None:
        """Return a tracer of the program's provider as it is now, or None where it has none."""
        provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
        if getattr(provider, "agent_journal_fallback", False):  # ours, for the spans of other libraries
            return None
        known, tracer = self._known
        if provider is not known:
            if is_collecting() or not _is_free(provider):
                return None
            tracer = None if provider is None else provider.get_tracer(SCOPE_NAME, None, SCHEMA_URL)
            if isinstance(tracer, trace_api.NoOpTracer):
                tracer = None
            self._known = (provider, tracer)
            if provider is not None:
                self._provided(provider)
        return tracer


def _is_free(provider: Any) -> bool:
    """Tell whether a provider's lock may be waited for: we may be a signal handler, within the code that holds it."""
    lock: Any = getattr(provider, "_tracers_lock", None)
    if lock is None:
        return True
    free: bool = lock.acquire(timeout=_FREE_S)
    if free:
        lock.release()
    return free


def name_by(step: Step, span: Span) -> None:
    """Give a step its span, and the ids of it."""
    ids = span.get_span_context()
    step.span = span
    step.trace_id = f"{ids.trace_id:032x}"
    step.span_id = f"{ids.span_id:016x}"
    step.sampled = ids.trace_flags.sampled


def kept_by(span: LightSpan, attributes: Attributes, details: dict[str, Any]) -> Attributes:
    """Return the attributes with those that were set on a light span; what else it keeps goes into details."""
    if span.events:
        details["events"] = span.events
    if span.links:
        details["links"] = span.links
    if span.status is not None and span.status.status_code is not StatusCode.UNSET:
        details["status"] = {"code": span.status.status_code.value, "description": span.status.description}
    if span.attributes:
        return {**span.attributes, **(attributes or {})}
    return attributes


def of_framework(span: Any, attributes: Attributes) -> dict[str, Any]:
    """Return the attributes with those that a framework set on the span it opened, as far as they are harmless."""
    found: Mapping[str, Any] = getattr(span, "attributes", None) or EMPTY
    theirs = {key: value for key, value in harmless_attributes(found).items() if key not in _IDENTITY}
    return {**theirs, **(attributes or {})}


def set_by_user(span: Any, attributes: Attributes, details: dict[str, Any]) -> Attributes:
    """Return the attributes with those that user code set on a span of the SDK; its events go into details."""
    found: Mapping[str, Any] = getattr(span, "attributes", None) or EMPTY
    theirs = {key: value for key, value in found.items() if not key.startswith(_OURS)}
    events = getattr(span, "events", ())
    if events:
        details["events"] = [
            {"name": event.name, "timestamp_ns": event.timestamp, "attributes": dict(event.attributes or {})}
            for event in events
        ]
    return {**theirs, **(attributes or {})} if theirs else attributes
