"""The fixture itself: a Jaeger of ours takes spans over HTTP and gRPC and gives them back."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.real.jaeger import Jaeger, parent_of, spans_by_name, tags_of


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_is_sent_is_read_back(jaeger: Jaeger, protocol: str) -> None:
    """A trace of two spans has its names, parents, attributes and service in Jaeger, over either protocol."""
    if protocol == "http":
        exporter = HttpExporter(endpoint=f"{jaeger.otlp_http}/v1/traces")
    else:
        exporter = GrpcExporter(endpoint=jaeger.otlp_grpc, insecure=True)
    provider = TracerProvider(resource=Resource({"service.name": f"fixture-{protocol}"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner", attributes={"n": 7}):
        pass
    provider.shutdown()

    trace_id = f"{outer.get_span_context().trace_id:032x}"
    spans = spans_by_name(jaeger.trace(trace_id, until=lambda trace: len(trace["spans"]) == 2))
    assert parent_of(spans["outer"]) is None
    assert parent_of(spans["inner"]) == spans["outer"]["spanID"]
    assert tags_of(spans["inner"])["n"] == 7
    assert f"fixture-{protocol}" in jaeger.services()
