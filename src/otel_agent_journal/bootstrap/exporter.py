"""`OTEL_TRACES_EXPORTER=agent_journal`: the exporter as OpenTelemetry's configuration makes it, without arguments."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_agent_journal.bootstrap.agent import AgentProcess
from otel_agent_journal.config import settings_from_env
from otel_agent_journal.pipeline.current import STATE, get_recorder
from otel_agent_journal.pipeline.exporter import JournalSpanExporter


class SpanExporterFromEnv(JournalSpanExporter):
    """Journals as the environment says. Stands down once the process is attached, which journals steps as they begin.

    `opentelemetry-instrument` makes its exporters first and attaches after, so this is decided at each export.
    """

    def __init__(self) -> None:
        settings = settings_from_env()
        self._agent = AgentProcess(settings)
        super().__init__(
            self._agent.recorder,
            spans="all" if settings.all_spans else "genai",
            stand_down=lambda: get_recorder() is not None,
        )
        self._draining = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Journal a batch of ended spans."""
        if not self._draining and get_recorder() is None:
            self._draining = True
            STATE.exporting = self._agent
            self._agent.start_draining()
        return super().export(spans)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Deliver what was journaled; tell whether all of it is in the store."""
        return not self._draining or bool(self._agent.delivered(timeout_millis / 1000))

    def shutdown(self) -> None:
        """Deliver what was journaled."""
        if STATE.exporting is self._agent:
            STATE.exporting = None
        self._agent.stop()
