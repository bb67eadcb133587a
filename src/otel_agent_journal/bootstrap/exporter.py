"""`OTEL_TRACES_EXPORTER=agent_journal`: the exporter as OpenTelemetry's configuration makes it, without arguments."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_agent_journal.bootstrap import process
from otel_agent_journal.config import settings_from_env
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.exporter import JournalSpanExporter


class SpanExporterFromEnv(JournalSpanExporter):
    """Journals as the environment says. Stands down once the process is attached, which journals steps as they begin.

    `opentelemetry-instrument` makes its exporters first and attaches after, so this is decided at each export.
    """

    def __init__(self) -> None:
        settings = settings_from_env()
        self._agent = process.AgentProcess(settings)
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
            self._agent.start_draining()
        return super().export(spans)

    def shutdown(self) -> None:
        """Deliver what was journaled."""
        self._agent.stop()
