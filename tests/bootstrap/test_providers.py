"""The program's providers: late tracers stay late, and two endpoints are one backend where host and port are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from otel_agent_journal.bootstrap.providers import Providers, backend_of

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    """Our stand-in in a program without a provider."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    providers = Providers(lambda _: SpanProcessor(), NOWHERE)
    providers.stand_in(NOWHERE, {})
    yield providers
    providers.close()


def provider_of_program() -> InMemorySpanExporter:
    """Set the program's own provider; return what it exports to."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def names(exporter: InMemorySpanExporter) -> list[str]:
    """Return the names of the spans that were exported."""
    return [span.name for span in exporter.get_finished_spans()]


TAKEN: dict[str, Callable[[], Any]] = {
    "by the API": lambda: trace.get_tracer("module"),
    "of the provider": lambda: trace.get_tracer_provider().get_tracer("module"),
    "by the proxy": lambda: trace._PROXY_TRACER_PROVIDER.get_tracer("module"),
}


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("used", [False, True])
def test_late_tracers_stay_late(
    stand_in: Providers, taken: Callable[[], Any], used: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracer taken before the program sets its provider is of that one afterwards, used before or not."""
    tracer = taken()
    if used:
        with tracer.start_as_current_span("before") as span:
            assert span.is_recording()

    @tracer.start_as_current_span("decorated")
    def decorated() -> None: ...

    exporter = provider_of_program()
    with tracer.start_as_current_span("after"):
        tracer.start_span("below").end()
    decorated()
    assert names(exporter) == ["below", "after", "decorated"]
    assert not caplog.records


def test_tracer_from_before_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's tracer that was first used while we stood in is of the program's provider once there is one."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    tracer = trace.get_tracer("module")
    providers = Providers(lambda _: SpanProcessor(), NOWHERE)
    providers.stand_in(NOWHERE, {})
    tracer.start_span("before").end()
    exporter = provider_of_program()
    tracer.start_span("after").end()
    providers.close()
    assert names(exporter) == ["after"]


def test_stand_in_is_the_proxy(stand_in: Providers) -> None:
    """To a program that asks whether there is a provider there is none."""
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)
    assert isinstance(trace.get_tracer("module"), trace.ProxyTracer)


def test_tracers_of_a_closed_stand_in(stand_in: Providers) -> None:
    """Once we are gone, a tracer records nothing until the program sets a provider."""
    tracer = trace.get_tracer("module")
    tracer.start_span("with us").end()
    stand_in.close()
    assert not tracer.start_span("without").is_recording()
    exporter = provider_of_program()
    tracer.start_span("after").end()
    assert names(exporter) == ["after"]


def test_provider_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names a provider, the API still loads that one."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    providers = Providers(lambda _: SpanProcessor(), NOWHERE)
    providers.stand_in(NOWHERE, {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"})
    assert trace._TRACER_PROVIDER is None
    assert providers.fallback is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:4318", "localhost:4317", True),
        ("http://127.0.0.1:4318/v1/traces", "grpc://[::1]", True),
        ("http://collector:4318/v1/traces", "collector", True),
        ("https://backend/v1/traces", "https://backend:443", True),
        ("http://backend", "http://backend:80/v1/traces", True),
        ("http://localhost:4318", "http://localhost:4319", False),
        ("http://localhost:16686", "http://localhost:4318", False),
        ("https://one.example/v1/traces", "https://other.example/v1/traces", False),
        ("http://backend", "https://backend", False),
        ("http://backend:port", "http://backend:4318", False),
    ],
)
def test_backends(one: str, other: str, same: bool) -> None:
    """Host and port tell backends apart; 4317 and 4318 of a host are one, and so are the names of this machine."""
    assert (backend_of(one) == backend_of(other)) is same
