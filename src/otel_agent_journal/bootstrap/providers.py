"""The program's TracerProviders: joined as they are created, before or after us.

Where the program has none and spans are forwarded, a provider of ours carries the spans of other libraries; steps
are left out of it, since the drain forwards them. It stands in the place of the API's proxy without taking it: the
program can still set its own.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry import trace as trace_api
from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_log = logging.getLogger(__name__)

_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1", "0.0.0.0"))  # noqa: S104 - a name to compare


class Providers:
    """Gives every TracerProvider of the program our processor, and knows which of them export where.

    Args:
        make_processor: called with a provider; returns the processor it gets.
        endpoint: where the drain forwards steps to; None where it does not.
    """

    def __init__(self, make_processor: Callable[[Any], Any], endpoint: str | None) -> None:
        self._make_processor = make_processor
        self._host = host_of(endpoint) if endpoint else None
        self._joined: set[int] = set()
        self._processors: list[Any] = []
        self._exports: tuple[Any, int, bool] = (None, -1, False)
        self.fallback: TracerProvider | None = None
        self.enabled = True

    def join(self) -> None:
        """Join the providers that are there and, from now on, those that will be."""
        register_post_import_hook(self._watch, "opentelemetry.sdk.trace")

    def _watch(self, module: Any) -> None:
        original = module.TracerProvider.__init__

        @functools.wraps(original)
        def joined(provider: Any, *args: Any, **kwargs: Any) -> None:
            original(provider, *args, **kwargs)
            if self.enabled:
                self._add(provider)

        module.TracerProvider.__init__ = joined
        present = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
        if isinstance(present, module.TracerProvider):
            self._add(present)

    def _add(self, provider: Any) -> None:
        try:
            if id(provider) in self._joined or getattr(provider, "agent_journal_fallback", False):
                return
            self._joined.add(id(provider))
            processor = self._make_processor(provider)
            self._processors.append(processor)
            provider.add_span_processor(processor)
        except Exception:  # noqa: BLE001 - the program's provider must come up
            _log.warning("a TracerProvider could not be joined", exc_info=True)

    def exported(self) -> bool:
        """Tell whether the program's own exporters send its spans to where the drain would send them."""
        if self._host is None:
            return False
        provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as above
        processors = processors_of(provider)
        known, count, answer = self._exports
        if provider is known and len(processors) == count:
            return answer
        answer = any(host_of(endpoint) == self._host for endpoint in map(_endpoint, processors) if endpoint)
        self._exports = (provider, len(processors), answer)
        return answer

    def stand_in(self, endpoint: str, environ: Mapping[str, str]) -> None:
        """Carry the spans of other libraries to the endpoint, as long as the program has no provider of its own."""
        if trace_api._TRACER_PROVIDER is not None:  # noqa: SLF001 - as above
            return
        try:
            self.fallback = _fallback_provider(endpoint, environ)
            self.fallback.add_span_processor(self._make_processor(self.fallback))
        except Exception as error:  # noqa: BLE001 - the journal goes on without
            _log.warning("reason=<%s> | spans of other libraries are not forwarded", error)
            return
        # Not through `set_tracer_provider`, which can be called once: that once belongs to the program.
        trace_api._TRACER_PROVIDER = self.fallback  # noqa: SLF001

    def close(self) -> None:
        """Journal no more spans of others; send what the stand-in still holds, and give its place back."""
        self.enabled = False
        for processor in self._processors:
            processor.shutdown()
        if self.fallback is not None:
            if trace_api._TRACER_PROVIDER is self.fallback:  # noqa: SLF001 - as above
                trace_api._TRACER_PROVIDER = None  # noqa: SLF001
            self.fallback.shutdown()


def processors_of(provider: Any) -> tuple[Any, ...]:
    """Return a provider's span processors, where it is one of the SDK's."""
    active = getattr(provider, "_active_span_processor", None)
    return tuple(getattr(active, "_span_processors", ()))


def _endpoint(processor: Any) -> str | None:
    exporter = getattr(processor, "span_exporter", None) or getattr(
        getattr(processor, "_batch_processor", None), "_exporter", None
    )
    endpoint = getattr(exporter, "_endpoint", None)
    return endpoint if isinstance(endpoint, str) else None


def host_of(endpoint: str) -> str:
    """Return the host of an OTLP endpoint, by whatever port or scheme; all names of this machine are one."""
    host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname or ""
    return "localhost" if host in _LOOPBACK else host


def _fallback_provider(endpoint: str, environ: Mapping[str, str]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_agent_journal.otlp.target import default_resource

    class StandIn(TracerProvider):
        """Our provider in the place of none. A program that adds processors of its own to it has made it its own."""

        agent_journal_fallback = True

        def add_span_processor(self, span_processor: Any) -> None:
            if processors_of(self)[1:]:  # ours are two: the exporter's and the journal's
                self.agent_journal_fallback = False
            super().add_span_processor(span_processor)

    provider = StandIn(resource=Resource.create(default_resource(environ)))
    provider.add_span_processor(BatchSpanProcessor(_exporter(endpoint, environ)))
    return provider


def _exporter(endpoint: str, environ: Mapping[str, str]) -> Any:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from otel_agent_journal.forwarding.sender import open_sender
    from otel_agent_journal.mapping.from_sdk import span_record
    from otel_agent_journal.mapping.to_events import is_ours
    from otel_agent_journal.otlp.target import otlp_target
    from otel_agent_journal.otlp.transport import SendFailed

    sender = open_sender(otlp_target(endpoint, environ))

    class OthersExporter(SpanExporter):
        """Sends the spans of other libraries to where the drain sends steps."""

        def export(self, spans: Any) -> SpanExportResult:
            others = [record for record in map(span_record, spans) if not is_ours(record)]  # steps the drain forwards
            try:
                if others:
                    sender.send(others)
            except SendFailed as failure:
                _log.warning("spans=<%d>, reason=<%s> | spans of other libraries were not sent", len(spans), failure)
                return SpanExportResult.FAILURE
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            sender.close()

    return OthersExporter()


def resource_of_program(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the resource of this process's spans as the environment gives it."""
    from otel_agent_journal.otlp.target import default_resource

    return default_resource(environ)
