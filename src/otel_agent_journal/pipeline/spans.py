"""The spans of steps: those of the program's TracerProvider where it has one, else light ones of our own.

Opens and ends spans for the recorder and names a step by its span's ids; of events and spools it knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, TraceFlags, Tracer

from otel_agent_journal.event import EMPTY
from otel_agent_journal.mapping.genai import (
    CONVERSATION_ID,
    KIND_CLIENT,
    OPERATION_NAME,
    SCHEMA_URL,
    SCOPE_NAME,
    span_kind,
    span_name,
    start_attributes,
)
from otel_agent_journal.pipeline.adopted_span import AdoptedSpan, marked
from otel_agent_journal.pipeline.clock import RandomIds
from otel_agent_journal.pipeline.light_span import LightSpan, light_span
from otel_agent_journal.pipeline.sampling import is_sampled
from otel_agent_journal.pipeline.sdk_span import SdkSpan, Way
from otel_agent_journal.pipeline.step import SPAN_KEY, Step
from otel_agent_journal.pipeline.step_span import Attributes, StepSpan
from otel_agent_journal.threads import is_collecting

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_FREE_S: Final = 0.1  # who holds a provider's lock in another thread makes one object there
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)


class Spans:
    """Opens the spans of steps.

    Args:
        ids: of light spans.
        failed: told when a processor or sampler of the program's raises.
        exported: tells whether spans of the program's provider reach a backend by its own exporters.
        forwarded: the drain sends the spans that no exporter of the program's does.
        provided: told the program's provider, before the first span of it.
    """

    def __init__(
        self,
        ids: RandomIds,
        failed: Callable[[str], None],
        *,
        exported: Callable[[], bool] = lambda: False,
        forwarded: bool = False,
        provided: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self._ids = ids
        self._failed = failed
        self._way = Way(exported, forwarded, failed)
        self._provided = provided
        self._known: tuple[Any, Tracer | None] = (None, None)

    def open(
        self, step: Step, context: Context, enclosing: Any, attributes: Attributes, links: Sequence[Link]
    ) -> SpanContext | None:
        """Give a step a span; return the span of another's that it is below.

        Args:
            step: that begins.
            context: of the code that begins it.
            enclosing: the step of that context.
            attributes: of the span.
            links: of the span.
        """
        parent = step.parent
        if parent is None:
            return self._open_root(step, context, attributes, links)
        above: Span | StepSpan = parent.span
        foreign: SpanContext | None = None
        if enclosing is parent:
            current = context.get(SPAN_KEY)
            if current is not parent.span.current and isinstance(current, Span):
                ids = current.get_span_context()
                # A framework whose spans are not recorded makes copies of ours current.
                if ids.is_valid and ids.span_id != above.get_span_context().span_id:
                    above, foreign = current, ids
        tracer = step.tracer = parent.tracer
        if tracer is not None:
            if enclosing is not parent:
                context = parent.context(context)
            span = self._of_provider(step, tracer, context, foreign or above.get_span_context(), attributes, links)
            if span is not None:
                step.span = span
                return foreign
        span_id = self._ids.span_id_hex()
        if foreign is None:
            step.span = LightSpan(parent.span.trace_id, span_id, parent.span.sampled, None, above)
        else:
            step.span = LightSpan(f"{foreign.trace_id:032x}", span_id, foreign.trace_flags.sampled, None, above)
        return foreign

    def _open_root(
        self, step: Step, context: Context, attributes: Attributes, links: Sequence[Link]
    ) -> SpanContext | None:
        """Open a root's span, name its session by its trace where nothing else does; return the span around it."""
        tracer = step.tracer = self.tracer()
        around = trace_api.get_current_span(context).get_span_context()
        foreign = around if around.is_valid else None
        span = None if tracer is None else self._of_provider(step, tracer, context, foreign, attributes, links)
        if span is not None:
            step.span = span
        elif foreign is not None:
            flags, state = foreign.trace_flags, foreign.trace_state
            ids = SpanContext(foreign.trace_id, self._ids.span_id(), False, flags, state)  # noqa: FBT003 - not remote
            step.span = light_span(ids)
        else:
            step.span = self._begun_trace(step)
        if not step.session_id:
            step.session_id = step.span.trace_id
            if step.span.calls_out:
                step.span.current.set_attribute(CONVERSATION_ID, step.session_id)
        return foreign

    def _begun_trace(self, step: Step) -> LightSpan:
        """Return the first span of a trace: sampled where spans are forwarded, and no sampler is against it.

        Where nobody exports it, whoever is called from within is not told to record it. That is no sampler's word.
        """
        trace_id = self._ids.trace_id()
        stand_in: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as in `tracer`
        forwarded = self._way.forwarded
        sampled = forwarded and is_sampled(stand_in, trace_id, span_name(step.kind, step.name))
        flags = _SAMPLED if sampled else _NOT_SAMPLED
        ids = SpanContext(trace_id, self._ids.span_id(), False, flags)  # noqa: FBT003 - not remote
        span = light_span(ids, undecided=not forwarded)
        span.sampled = sampled or not forwarded
        return span

    def adopt(
        self, step: Step, span: Any, attributes: Attributes, links: Sequence[Link], *, outlives: bool
    ) -> SpanContext | None:
        """Give a step the span that its framework has opened for it; return the span of another's that it is below."""
        try:
            step.start_ns = span.start_time
            step.tracer = self.tracer()
            step.span = AdoptedSpan(span, self._way, of_provider=step.tracer is not None, outlives=outlives)
            step.session_id = step.session_id or step.span.trace_id
            span.set_attributes(marked(step, attributes))
            for link in links:
                span.add_link(link.context, link.attributes)
            if span.parent is not None and (step.parent is None or span.parent != step.parent.span.get_span_context()):
                return span.parent
        except Exception:  # noqa: BLE001 - what is no span of the SDK after all
            self._failed("a framework's span could not be adopted")
        return None

    def _of_provider(
        self,
        step: Step,
        tracer: Tracer,
        context: Context,
        above: SpanContext | None,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> StepSpan | None:
        """Return the step's span of the program's provider; a light one of its ids where it is not recorded.

        None where the provider gives no ids of its own: the SDK is disabled, or its sampler raised.
        """
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
                return SdkSpan(span, self._way)
            given = span.get_span_context()
        except Exception:  # noqa: BLE001 - a sampler or processor of the program's
            self._failed("a span could not be started")
            return None
        if given.is_valid and (above is None or given.span_id != above.span_id):
            return light_span(given)
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
