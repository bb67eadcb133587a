"""OpenTelemetry's own exporters as clients: what they send again arrives once, what they are to drop never does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.clock import by_the_clock, in_time
from tests.receiver.serving import MIB, Serving

WHO = {"authorization": "Bearer t"}


def exporters(served: Serving, headers: dict[str, str]) -> dict[str, tuple[Any, list[Any]]]:
    """Return the four exporters, each with something to send."""
    spans, logs = a_span(), a_log_record()
    http = f"http://{served.http}/v1"
    return {
        "grpc spans": (GrpcSpans(endpoint=served.grpc, insecure=True, headers=headers), spans),
        "http spans": (HttpSpans(endpoint=f"{http}/traces", headers=headers), spans),
        "grpc logs": (GrpcLogs(endpoint=served.grpc, insecure=True, headers=headers), logs),
        "http logs": (HttpLogs(endpoint=f"{http}/logs", headers=headers), logs),
    }


def a_span() -> list[Any]:
    """Return a span that has ended."""
    ended = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ended))
    provider.get_tracer("test").start_span("sent").end()
    return list(ended.get_finished_spans())


def a_log_record() -> list[Any]:
    """Return a log record with a name of ours."""
    emitted = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(emitted))
    provider.get_logger("test").emit(LogRecord(timestamp=1, body="sent", event_name="agent_journal.test"))
    return list(emitted.get_finished_logs())


NAMES = ("grpc spans", "http spans", "grpc logs", "http logs")


@pytest.mark.parametrize("name", NAMES)
def test_sent_again(name: str) -> None:
    """Overloaded, or with a spool that is full for a while, it is asked to come again, and its data arrives once."""

    def full(served: Serving) -> Callable[[], None]:
        served.log.last_refusal = "it is full"
        return lambda: setattr(served.log, "last_refusal", None)

    def overloaded(served: Serving) -> Callable[[], None]:
        held = served.fill(MIB)
        return held.__exit__

    with Serving(budget_bytes=MIB, tokens=("t",)) as served:
        exporter, what = exporters(served, WHO)[name]
        for cause in (full, overloaded):
            served.log.payloads.clear()
            relief = threading.Timer(0.7, cause(served))
            relief.start()
            began = time.monotonic()
            assert exporter.export(what).name == "SUCCESS"
            assert 0.7 < time.monotonic() - began < 10
            relief.join()
            assert served.log.names() == ["sent"]
        assert served.counters.totals()["busy"] >= 2
        exporter.shutdown()


@by_the_clock
@pytest.mark.parametrize("name", NAMES)
def test_dropped(name: str) -> None:
    """Without the right token it gives up at once."""
    with Serving(tokens=("t",)) as served:
        exporter, what = exporters(served, {"authorization": "Bearer wrong"})[name]
        began = time.monotonic()
        assert exporter.export(what).name == "FAILURE"
        in_time(time.monotonic() - began, 5)
        assert served.log.payloads == []
        assert served.counters.totals()["requests"] == 1
        exporter.shutdown()
