"""The second door by OpenTelemetry's own plug: `OTEL_TRACES_EXPORTER=otlp,agent_journal`.

`JournalSpanExporter` journals spans that have ended. It rides on the SDK's BatchSpanProcessor, so what is still in
that one's memory dies with the process; where our instrumentors and `JournalSpanProcessor` are attached, which
journal every step as it begins, it stands down.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_agent_journal.mapping.facts import SessionNoted
from otel_agent_journal.mapping.from_sdk import span_record
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.pipeline.processor import write_fact
from otel_agent_journal.pipeline.recorder import Recorder

_log = logging.getLogger(__name__)


class JournalSpanExporter(SpanExporter):
    """Journals ended GenAI spans as steps.

    Args:
        recorder: where their facts go.
        spans: `genai`, or `all` for spans of every kind.
        stand_down: tells whether the steps are journaled as they happen, by the recorder and the processor.
    """

    agent_journal_exporter = True  # a flush of ours asks whatever processor it is in for what waits there

    def __init__(
        self, recorder: Recorder, *, spans: str = "genai", stand_down: Callable[[], bool] = lambda: False
    ) -> None:
        self._recorder = recorder
        self._spans = ReceivedSpans(all_spans=spans == "all", introduces=False)  # the recorder does
        self._stand_down = stand_down

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Journal a batch; a span that cannot be journaled is left out and counted, the others are not held up."""
        if self._stand_down():
            return SpanExportResult.SUCCESS
        try:
            records = [span_record(span) for span in spans]
        except Exception:  # noqa: BLE001 - the one boundary
            _log.warning("a batch of spans could not be read", exc_info=True)
            return SpanExportResult.FAILURE
        before = self._recorder.dropped
        for fact in self._spans.facts_of(records, time.time_ns()):
            if isinstance(fact, SessionNoted):
                self._recorder.write(fact)
            else:
                write_fact(self._recorder, fact, exported=True)
        refused = self._recorder.dropped - before
        return SpanExportResult.FAILURE if refused else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Do nothing: the recorder is closed by the process that made it."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return at once: what was exported is in the spool already."""
        return True
