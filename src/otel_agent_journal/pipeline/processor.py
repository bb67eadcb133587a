"""The second door: spans that somebody else opens in this process become steps of the journal.

`JournalSpanProcessor` sees a span as it begins, so its START is durable before the work runs, where the span carries
its `gen_ai.*` attributes from its creation; of instrumentations that set them later both events are written at the
end. Spans of our own steps are left alone: the recorder journals those.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_agent_journal.mapping.facts import Fact
from otel_agent_journal.mapping.from_sdk import span_record
from otel_agent_journal.mapping.genai import SCOPE_NAME
from otel_agent_journal.mapping.to_events import ended, is_journaled, session_of, started
from otel_agent_journal.pipeline.adoption import belongs, is_adopted, is_marked
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import STEP_KEY, Step

_log = logging.getLogger(__name__)

_MAX_OPEN: Final = 50_000  # spans that never end are forgotten, the oldest first

SHADOWED_SCOPES: Final = frozenset(
    (
        "openinference.instrumentation.langchain",
        "opentelemetry.instrumentation.langchain",
        "opentelemetry.util.genai.handler",
    )
)
"""Scopes whose spans show again what our own instrumentor of the same framework journals."""


class _Opened(NamedTuple):
    session_id: str
    step_id: str | None
    parent_step_id: str | None
    attributes: Mapping[str, Any] | None  # as they were journaled; None where no START was written


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
        self._shadowed = shadowed
        self._exported = exported
        self._closed = False
        self._open: OrderedDict[int, _Opened] = OrderedDict()

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
            record = span_record(span)
            enclosing = parent_context.get(STEP_KEY)
            around = self._open.get(span.parent.span_id) if span.parent is not None else None
            session_id = session_of(
                record,
                enclosing=enclosing.session_id if isinstance(enclosing, Step) else (around and around.session_id),
                default=self._recorder.session_of(parent_context),
            )
            parent_step_id = around.step_id if around is not None and around.step_id else None
            if parent_step_id is None and isinstance(enclosing, Step):
                parent_step_id = enclosing.step_id
            attributes: Mapping[str, Any] | None = None
            step_id: str | None = parent_step_id
            if is_journaled(record, spans=self._spans):
                fact = started(record, session_id=session_id, parent_step_id=parent_step_id)
                self._write(fact)
                attributes, step_id = dict(record.attributes), fact.step_id
            self._open[record_id(span)] = _Opened(session_id, step_id, parent_step_id, attributes)
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            _log.debug("a span's start could not be journaled", exc_info=True)

    def on_end(self, span: ReadableSpan) -> None:
        """Journal a span's ending, and its START too where that could not be told before."""
        try:
            scope = _scope(span)
            if not self._concerns(scope):
                return
            opened = self._open.pop(record_id(span), None)
            if is_adopted(scope) and is_marked(span):
                return
            record = span_record(span)
            if not is_journaled(record, spans=self._spans) and (opened is None or opened.attributes is None):
                return
            session_id = opened.session_id if opened is not None else session_of(record)
            if opened is not None and session_id == record.trace_id:
                session_id = session_of(record)  # the span may have named its conversation since it began
            parent = opened.parent_step_id if opened is not None else None
            if opened is None or opened.attributes is None:
                self._write(started(record, session_id=session_id, parent_step_id=parent))
                self._write(ended(record, session_id=session_id, parent_step_id=parent, at_start=record.attributes))
            else:
                self._write(
                    ended(record, session_id=opened.session_id, parent_step_id=parent, at_start=opened.attributes)
                )
        except Exception:  # noqa: BLE001 - the one boundary
            _log.debug("a span's end could not be journaled", exc_info=True)

    def shutdown(self) -> None:
        """Journal nothing from here on. The recorder stays open: whoever made it closes it."""
        self._closed = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return at once: what was journaled is in the spool already."""
        return True

    def _concerns(self, scope: str) -> bool:
        return not self._closed and scope != SCOPE_NAME and not self._shadowed(scope)

    def _write(self, fact: Any) -> None:
        write_fact(self._recorder, fact, exported=self._exported())


def _scope(span: ReadableSpan) -> str:
    scope = span.instrumentation_scope
    return scope.name if scope is not None else ""


def record_id(span: ReadableSpan) -> int:
    """Return a span's own id."""
    context = span.get_span_context()
    return context.span_id if context is not None else 0


def write_fact(recorder: Recorder, fact: Any, *, exported: bool = False) -> None:
    """Journal the fact of a span that another opened, its content as the recorder's settings say."""
    details = dict(fact.details)
    if exported and not hasattr(fact, "end_ns"):
        details["exported"] = True
    written: Fact = msgspec.structs.replace(fact, details=recorder.encoder.details(details))
    recorder.write(written)
