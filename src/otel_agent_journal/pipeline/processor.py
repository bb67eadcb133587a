"""The second door: spans that somebody else opens in this process become steps of the journal.

`JournalSpanProcessor` sees a span as it begins, so its START is durable before the work runs, where the span carries
its `gen_ai.*` attributes from its creation; of instrumentations that set them later both events are written at the
end. Spans of our own steps are left alone: the recorder journals those.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import TraceFlags

from otel_agent_journal.mapping.dialects import in_genai_terms, is_silent, speaks_at_the_end, speaks_late
from otel_agent_journal.mapping.facts import Fact, StepStarted
from otel_agent_journal.mapping.from_sdk import span_record
from otel_agent_journal.mapping.genai import SCOPE_NAME
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.mapping.to_events import (
    ended,
    is_journaled,
    is_nameless,
    session_named_by,
    session_named_in,
    session_of,
    started,
    step_id_of,
    tells_its_kind,
)
from otel_agent_journal.mapping.trace_sessions import RecentTraces, TraceSessions
from otel_agent_journal.pipeline.adoption import belongs, is_marked
from otel_agent_journal.pipeline.current import is_adopted
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import STEP_KEY, Step

_log = logging.getLogger(__name__)

_MAX_OPEN: Final = 50_000  # spans that never end are forgotten, the oldest first
_MAX_TRACES: Final = 10_000  # whose sessions are remembered
_MAX_SHAPES: Final = 1_000  # sets of attributes' names that are remembered
_SAMPLED: Final = int(TraceFlags.SAMPLED)

SHADOWED_SCOPES: Final = frozenset(
    (
        "openinference.instrumentation.langchain",
        "opentelemetry.instrumentation.genai.langchain",
        "opentelemetry.instrumentation.langchain",
        "opentelemetry.util.genai.handler",
    )
)
"""Scopes whose spans show again what our own instrumentor of the same framework journals."""


class _Opened:
    """A span that is open, or was when those below it began."""

    __slots__ = (
        "above",
        "begun",
        "carried",
        "enclosing",
        "fixed",
        "parent_step_id",
        "scope",
        "span",
        "step_id",
    )

    def __init__(
        self,
        span: Span,
        scope: str,
        above: _Opened | None,
        enclosing: str | None,
        fixed: str | None,
        carried: str | None,
    ) -> None:
        self.span: Span | None = span  # None once it has ended
        self.scope = scope
        self.above = above  # the span around it
        self.enclosing = enclosing  # the step of ours around it
        self.fixed = fixed  # the session that all around it is in, whatever it says itself
        self.carried = carried  # the session that baggage names, where nothing else does
        self.step_id: str | None = None  # once it is known to be a step
        self.begun = False  # its START was written
        self.parent_step_id: str | None = None  # as its START had it

    def close(self, step_id: str | None) -> None:
        """Keep of a span that has ended what those below it need, which may outlive it: no chain of ended spans."""
        self.step_id = step_id
        self.span = None
        last, above = self, self.above
        while above is not None and above.step_id is None and above.span is None:
            last, above = above, above.above
        self.enclosing = last.enclosing
        self.above = above if step_id is None else None


class JournalSpanProcessor(SpanProcessor):
    """Journals the GenAI spans of other instrumentations as they begin and as they end.

    Args:
        recorder: this process's.
        spans: `genai`, or `all` for spans of every kind.
        shadowed: tells the scopes whose spans show what our instrumentors journal themselves.
        exported: tells whether the provider's own exporters carry its spans to where the drain would send them.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        spans: str = "genai",
        shadowed: Callable[[str], bool] = lambda scope: False,
        exported: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recorder = recorder
        self._spans = spans
        self._all = spans == "all"
        self._shadowed = shadowed
        self._exported = exported
        self._closed = False
        self._open: OrderedDict[int, _Opened] = OrderedDict()
        self._sessions = TraceSessions(RecentTraces(_MAX_TRACES))
        self._resource: Any = None  # of the span before, which is that of all as a rule
        self._nameless = True  # it names no session
        self._named: tuple[int, str] | None = None  # the trace and the session that were named last
        self._silent: dict[tuple[str, ...], bool] = {}  # sets of attributes' names: whether they say nothing

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Journal a span's START, if it says already that it is one of ours to journal."""
        try:
            scope = _scope(span)
            if not self._concerns(scope):
                return
            if parent_context is None:
                parent_context = get_current()  # what the SDK took the parent from
            if is_adopted(scope) and belongs(span, parent_context):
                return
            parent, step, recorder = span.parent, parent_context.get(STEP_KEY), self._recorder
            opened = _Opened(
                span,
                scope,
                None if parent is None else self._open.get(parent.span_id),
                step.step_id if isinstance(step, Step) else None,
                recorder.session_fixed(parent_context),
                recorder.session_carried(parent_context) if recorder.trusts_baggage else None,
            )
            if not self._says_nothing(span, opened) or self._tells_session(span, opened):
                self._starts(span, opened)
            self._open[record_id(span)] = opened
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            _log.debug("a span's start could not be journaled", exc_info=True)

    def _starts(self, span: Span, opened: _Opened) -> None:
        record = in_genai_terms(span_record(span))
        self._name(opened, record, record.start_ns)
        if is_journaled(record, spans=self._spans) and self._tells(record):
            opened.begun, opened.step_id, opened.parent_step_id = True, step_id_of(record), self._parent(opened)
            session_id = self._session(opened, record, record.start_ns)
            self._write(started(record, session_id=session_id, parent_step_id=opened.parent_step_id), record)
        self._tell_links(record)

    def on_end(self, span: ReadableSpan) -> None:
        """Journal a span's ending, and its START too where that could not be told before."""
        try:
            opened = self._open.pop(record_id(span), None)
            scope = _scope(span) if opened is None else opened.scope
            if not self._concerns(scope) or (is_adopted(scope) and is_marked(span)):
                return
            if opened is None:
                self._ends(span, None)
            elif self._says_nothing(span, opened) and is_silent(_event_names(span)):
                opened.close(None)
            else:
                opened.close(self._ends(span, opened))
        except Exception:  # noqa: BLE001 - the one boundary
            _log.debug("a span's end could not be journaled", exc_info=True)

    def _ends(self, span: ReadableSpan, opened: _Opened | None) -> str | None:
        """Journal an ending; return the id of the step that ends, if it is one."""
        record = in_genai_terms(span_record(span))
        end_ns = record.start_ns if record.end_ns is None else record.end_ns
        self._name(opened, record, end_ns)
        begun = opened is not None and opened.begun
        step_id = step_id_of(record) if begun or is_journaled(record, spans=self._spans) else None
        if step_id is not None:
            session_id = self._session(opened, record, end_ns)
            parent = None if opened is None else opened.parent_step_id if begun else self._parent(opened)
            if not begun:
                self._write(started(record, session_id=session_id, parent_step_id=parent), record)
            self._write(ended(record, session_id=session_id, parent_step_id=parent), record)
        self._tell_links(record)
        return step_id

    def _says_nothing(self, span: ReadableSpan, opened: _Opened) -> bool:
        """Tell whether a span has nothing to say to the journal: neither of a step, nor of the session of its trace.

        That is most spans of most programs, so they are not even read.
        """
        if self._all or opened.begun:
            return False
        resource, names = span.resource, _names(span)
        if resource is not self._resource:
            self._resource, self._nameless = resource, is_nameless(resource.attributes)
        silent = self._silent.get(names)
        if silent is None:
            silent = is_nameless(names) and is_silent(names)
            if len(self._silent) >= _MAX_SHAPES:
                self._silent.clear()
            self._silent[names] = silent
        return silent and self._nameless

    def _tells_session(self, span: Span, opened: _Opened) -> bool:
        """Tell whether what is around a span names another session, or for another trace, than the last time."""
        session_id = opened.fixed or opened.carried
        if session_id is None or (opened.above is not None and opened.above.fixed == session_id):
            return False
        named = (record_trace(span), session_id)
        told, self._named = named == self._named, named
        return not told

    def _tells(self, record: SpanRecord) -> bool:
        """Tell whether a span that was just created has said what its START needs: else that waits for its end."""
        return tells_its_kind(record) or (self._spans == "all" and not speaks_late(record.scope_name))

    def _parent(self, opened: _Opened) -> str | None:
        """Return the step above a span: past spans that are none, by what those that are open say by now."""
        above = opened.above
        while above is not None:
            if above.step_id is None and above.span is not None:
                around = in_genai_terms(_so_far(above.span))
                if is_journaled(around, spans=self._spans) or speaks_at_the_end(above.scope):
                    above.step_id = step_id_of(around)
            if above.step_id is not None:
                return above.step_id
            opened, above = above, above.above
        return opened.enclosing

    def _name(self, opened: _Opened | None, record: SpanRecord, now_ns: int) -> None:
        """Remember the session that a span is in, that it names, or that one around it names by now."""
        named = (None if opened is None else opened.fixed) or session_named_by(record)
        above = None if opened is None else opened.above
        while named is None and above is not None:
            if above.span is not None:
                named = session_named_in(above.span.attributes or {})
            above = above.above
        if named is None and opened is not None:
            named = opened.carried
        if named is not None and named != record.trace_id:
            self._sessions.name(record.trace_id, named, now_ns)

    def _session(self, opened: _Opened | None, record: SpanRecord, now_ns: int) -> str:
        """Return the session of a span: what is around it decides, else its own word, else its trace's."""
        fixed = None if opened is None else opened.fixed
        if fixed is not None:
            return session_of(record, enclosing=fixed)
        return self._sessions.session(record, now_ns)

    def _tell_links(self, record: SpanRecord) -> None:
        for fact in self._sessions.links((record.trace_id,), again=False):
            self._recorder.write(fact)

    def shutdown(self) -> None:
        """Journal nothing from here on.

        As the interpreter ends, what is open ends first, so that its spans are exported by the processors behind this
        one. At any other time the program goes on, and so do its steps; whoever made the recorder closes it.
        """
        if not self._closed and not threading.main_thread().is_alive():
            self._recorder.close()
        self._closed = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return at once: nothing is held back here; whether the store has it is for `flush` to say."""
        return True

    def _concerns(self, scope: str) -> bool:
        return not self._closed and scope != SCOPE_NAME and not self._shadowed(scope)

    def _write(self, fact: Any, record: SpanRecord) -> None:
        write_fact(self._recorder, fact, exported=self._exported(), sampled=bool(record.trace_flags & _SAMPLED))


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""


def _names(span: ReadableSpan) -> tuple[str, ...]:
    """Return the names of a span's attributes: as the SDK keeps them, for what it shows is a copy made under a lock."""
    kept = getattr(getattr(span, "_attributes", None), "_dict", None)
    return tuple(span.attributes or ()) if kept is None else tuple(kept)


def _event_names(span: ReadableSpan) -> list[str]:
    """Return the names of a span's events, of which most have none."""
    return [event.name for event in span.events] if getattr(span, "_events", True) else []


def _so_far(span: ReadableSpan) -> SpanRecord:
    """Return what makes a span a step, of one that is still open: its ids, its start and its attributes."""
    context = span.get_span_context()
    return SpanRecord(
        trace_id="" if context is None else f"{context.trace_id:032x}",
        span_id="" if context is None else f"{context.span_id:016x}",
        name=span.name,
        start_ns=span.start_time or 0,
        attributes=dict(span.attributes or {}),
    )


def record_id(span: ReadableSpan) -> int:
    """Return a span's own id."""
    context = span.get_span_context()
    return context.span_id if context is not None else 0


def record_trace(span: ReadableSpan) -> int:
    """Return the id of a span's trace."""
    context = span.get_span_context()
    return context.trace_id if context is not None else 0


def write_fact(recorder: Recorder, fact: Any, *, exported: bool = False, sampled: bool = True) -> None:
    """Journal the fact of a span that another opened, its content as the recorder's settings say."""
    details = dict(fact.details)
    if not sampled:
        details["sampled"] = False
    elif exported and isinstance(fact, StepStarted):
        details["exported"] = True
    written: Fact = msgspec.structs.replace(fact, details=details)
    recorder.write(recorder.encoder.told(written))
