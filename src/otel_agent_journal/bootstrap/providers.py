"""The program's TracerProviders: joined as they are created, before or after us.

Where the program has none and spans are forwarded, a provider of ours carries the spans of other libraries; steps
are left out of it, since the drain forwards them. It stands in the place of the API's proxy and is as late as that one:
the program can still set its own, and the tracers that it has taken by then are of that one.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import trace as trace_api
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER
from wrapt import register_post_import_hook

from otel_agent_journal import forks
from otel_agent_journal.delivered import ALL, Delivered
from otel_agent_journal.pipeline.flushing import Lane
from otel_agent_journal.threads import Bell

_log = logging.getLogger(__name__)

_SDK: Final = "opentelemetry.sdk.trace"
_OTLP_GRPC: Final = 4317
_OTLP_HTTP: Final = 4318
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1", "0.0.0.0"))  # noqa: S104 - a name to compare


class _Creations:
    """The one patch of `TracerProvider.__init__`, which is there while somebody joins the providers that are made."""

    def __init__(self) -> None:
        self._told: list[Callable[[Any], None]] = []
        self._registered = False
        self._undo: Callable[[], bool] | None = None

    def tell(self, add: Callable[[Any], None]) -> None:
        """Call with the provider that is there, and with each that is made from now on."""
        self._told.append(add)
        if _SDK in sys.modules:
            self._patch(sys.modules[_SDK])
            present = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the public getter makes a proxy where there is none
            if isinstance(present, sys.modules[_SDK].TracerProvider):
                add(present)
        elif not self._registered:
            self._registered = True
            register_post_import_hook(self._patch, _SDK)

    def leave(self, add: Callable[[Any], None]) -> None:
        """Call no more. May be called twice."""
        if add in self._told:
            self._told.remove(add)
        if not self._told and self._undo is not None and self._undo():
            self._undo = None

    def _patch(self, module: Any) -> None:
        if self._undo is not None or not self._told:
            return
        original = module.TracerProvider.__init__

        @functools.wraps(original)
        def joined(provider: Any, *args: Any, **kwargs: Any) -> None:
            original(provider, *args, **kwargs)
            for add in list(self._told):
                add(provider)

        def undo() -> bool:
            if module.TracerProvider.__init__ is not joined:  # another has wrapped it since: it stays, and tells nobody
                return False
            module.TracerProvider.__init__ = original
            return True

        module.TracerProvider.__init__, self._undo = joined, undo


_creations: Final = _Creations()


class Providers:
    """Gives every TracerProvider of the program our processor, and knows which of them export where.

    Args:
        make_processor: called with a provider; returns the processor it gets.
        endpoint: where the drain forwards steps to; None where it does not.
    """

    def __init__(self, make_processor: Callable[[Any], Any], endpoint: str | None) -> None:
        self._make_processor = make_processor
        self._backend = backend_of(endpoint) if endpoint else None
        self._joined: list[tuple[weakref.ref[Any], Any]] = []
        self._exports: tuple[Any, int, bool] = (None, -1, False)
        self._lane = Lane(self._flush)
        self.fallback: StandIn | None = None

    def join(self) -> None:
        """Join the providers that are there and, from now on, those that will be."""
        _creations.tell(self._add)

    def _add(self, provider: Any) -> None:
        try:
            if getattr(provider, "agent_journal_fallback", False) or any(one() is provider for one, _ in self._joined):
                return
            processor = self._make_processor(provider)
            self._joined = [(one, its) for one, its in self._joined if one() is not None]
            self._joined.append((weakref.ref(provider), processor))
            provider.add_span_processor(processor)
            _put_first(provider, processor)
        except Exception:  # noqa: BLE001 - the program's provider must come up
            _log.warning("a TracerProvider could not be joined", exc_info=True)

    def flush(self, timeout_s: float) -> Delivered:
        """Have what waits in processors sent, where it is for the journal or for where the drain sends steps.

        What the program's own exporters say of it is believed.
        """
        if not self._waiting():
            return ALL
        bell = Bell()
        asked = self._lane.ask(timeout_s, bell.ring)
        bell.wait(asked.left_s())
        return Delivered(spans_pending=None) if asked.done is None else asked.done

    def _flush(self, timeout_s: float) -> Delivered:
        sent = [processor.force_flush(int(timeout_s * 1000)) is not False for processor in self._waiting()]
        lost = 0 if self.fallback is None else self.fallback.lost
        return Delivered(spans_pending=lost if all(sent) else None)

    def _waiting(self) -> list[Any]:
        """Return the processors that may hold spans for the journal, or for where the drain sends steps."""
        present: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as above
        ours = None if self.fallback is None else self.fallback.sdk
        providers = {id(one): one for one in (present, ours, *(one() for one, _ in self._joined))}
        found = [processor for provider in providers.values() for processor in processors_of(provider)]
        return [
            processor
            for processor in found
            if getattr(_exporter_of(processor), "agent_journal_exporter", False) or self._sends_there(processor)
        ]

    def _sends_there(self, processor: Any) -> bool:
        exporter = _exporter_of(processor)
        endpoint = getattr(exporter, "_endpoint", None)
        return self._backend is not None and isinstance(endpoint, str) and backend_of(endpoint) == self._backend

    def exported(self) -> bool:
        """Tell whether the program's own exporters send its spans to where the drain would send them."""
        if self._backend is None:
            return False
        provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as above
        processors = processors_of(provider)
        known, count, answer = self._exports
        if provider is known and len(processors) == count:
            return answer
        answer = any(map(self._sends_there, processors))
        self._exports = (provider, len(processors), answer)
        return answer

    def resource(self) -> Mapping[str, Any]:
        """Return the resource of the program's spans: of its provider, else as the environment gives it."""
        present: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as above
        sdk = sys.modules.get(_SDK)
        if sdk is not None and isinstance(present, sdk.TracerProvider):
            return present.resource.attributes
        return resource_of_program()

    def stand_in(self, endpoint: str, environ: Mapping[str, str]) -> None:
        """Carry the spans of other libraries to the endpoint, as long as the program has no provider of its own."""
        if trace_api._TRACER_PROVIDER is not None or environ.get(OTEL_PYTHON_TRACER_PROVIDER):  # noqa: SLF001 - as above
            return
        try:
            self.fallback = _stand_in(endpoint, environ)
            self.fallback.sdk.add_span_processor(self._make_processor(self.fallback.sdk))
        except Exception as error:  # noqa: BLE001 - the journal goes on without
            _log.warning("reason=<%s> | spans of other libraries are not forwarded", error)
            return
        # Not through `set_tracer_provider`, which can be called once: that once belongs to the program.
        trace_api._TRACER_PROVIDER = self.fallback  # noqa: SLF001

    def close(self) -> None:
        """Journal no more spans of others; send what the stand-in still holds, and leave all providers as they were."""
        _creations.leave(self._add)
        forks.leave(self._lane)
        for reference, processor in self._joined:
            processor.shutdown()
            _leave(reference(), processor)
        self._joined.clear()
        if self.fallback is not None:
            if trace_api._TRACER_PROVIDER is self.fallback:  # noqa: SLF001 - as above
                trace_api._TRACER_PROVIDER = None  # noqa: SLF001
            self.fallback.sdk.shutdown()


def _put_first(provider: Any, processor: Any) -> None:
    """Have a processor told before all others: as the provider shuts down it ends what is open, for them to export."""
    active: Any = getattr(provider, "_active_span_processor", None)
    with contextlib.suppress(AttributeError), active._lock:  # noqa: SLF001 - there is no public way
        others = [one for one in active._span_processors if one is not processor]  # noqa: SLF001 - as above
        active._span_processors = (processor, *others)  # noqa: SLF001 - as above


def _leave(provider: Any, processor: Any) -> None:
    """Take a processor out of a provider."""
    active: Any = getattr(provider, "_active_span_processor", None)
    with contextlib.suppress(AttributeError), active._lock:  # noqa: SLF001 - there is no public way
        kept = [one for one in active._span_processors if one is not processor]  # noqa: SLF001 - as above
        active._span_processors = tuple(kept)  # noqa: SLF001 - as above


def processors_of(provider: Any) -> tuple[Any, ...]:
    """Return a provider's span processors, where it is one of the SDK's."""
    active = getattr(provider, "_active_span_processor", None)
    return tuple(getattr(active, "_span_processors", ()))


def _exporter_of(processor: Any) -> Any:
    return getattr(processor, "span_exporter", None) or getattr(
        getattr(processor, "_batch_processor", None), "_exporter", None
    )


def backend_of(endpoint: str) -> tuple[str, int]:
    """Return host and port of an OTLP endpoint; the two ports of OTLP are one, and all names of this machine."""
    parts = urlsplit(endpoint if "://" in endpoint else f"grpc://{endpoint}")
    host = parts.hostname or ""
    try:
        port = parts.port
    except ValueError:  # an exporter's own, which it cannot use either
        port = 0
    if port is None:
        port = _PORTS.get(parts.scheme, _OTLP_GRPC)
    return "localhost" if host in _LOOPBACK else host, _OTLP_GRPC if port == _OTLP_HTTP else port


class StandIn(trace_api.ProxyTracerProvider):
    """Our provider in the place of none, to the program the API's proxy that it is without us.

    Args:
        sdk: has the spans until the program sets a provider of its own.
    """

    agent_journal_fallback = True

    def __init__(self, sdk: Any) -> None:
        self.sdk = sdk
        self.sampler = sdk.sampler  # as the environment says: it decides of our traces too
        self.lost = 0  # spans that did not arrive

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace_api.Tracer:
        """Return a tracer of whichever provider there is when it is used."""
        return LateTracer(self, args, kwargs)


class LateTracer(trace_api.ProxyTracer):
    """A tracer of the stand-in, and of the program's provider from the moment that there is one."""

    def __init__(self, stand_in: StandIn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(*args, **kwargs)
        self._stand_in = stand_in
        self._scope = (args, kwargs)
        self._known: tuple[Any, Any] = (None, None)

    @property
    def _tracer(self) -> trace_api.Tracer:
        provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - as above
        known, tracer = self._known
        if provider is not known or tracer is None:
            args, kwargs = self._scope
            source: Any = self._stand_in.sdk if provider is self._stand_in else trace_api.get_tracer_provider()
            tracer = source.get_tracer(*args, **kwargs)
            self._known = (provider, tracer)
        return tracer


def _stand_in(endpoint: str, environ: Mapping[str, str]) -> StandIn:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_agent_journal.otlp.target import default_resource

    class OfStandIn(TracerProvider):
        """Known for ours as it is created."""

        agent_journal_fallback = True

    provider = StandIn(OfStandIn(resource=Resource.create(default_resource(environ))))
    provider.sdk.add_span_processor(BatchSpanProcessor(_exporter(endpoint, environ, provider)))
    return provider


def _exporter(endpoint: str, environ: Mapping[str, str], provider: StandIn) -> Any:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from otel_agent_journal.forwarding.sender import open_sender
    from otel_agent_journal.mapping.from_sdk import span_record
    from otel_agent_journal.mapping.genai import CAPTURE_CONTENT_VARIABLE, captures_content_on_spans
    from otel_agent_journal.mapping.harmless import harmless_span
    from otel_agent_journal.mapping.to_events import is_ours
    from otel_agent_journal.otlp.answers import SendFailed
    from otel_agent_journal.otlp.target import otlp_target

    sender = open_sender(otlp_target(endpoint, environ))
    with_content = captures_content_on_spans(environ.get(CAPTURE_CONTENT_VARIABLE))

    class OthersExporter(SpanExporter):
        """Sends the spans of other libraries to where the drain sends steps."""

        agent_journal_exporter = True

        def export(self, spans: Any) -> SpanExportResult:
            others = [record for record in map(span_record, spans) if not is_ours(record)]  # steps the drain forwards
            if not with_content:
                others = [harmless_span(record) for record in others]
            try:
                if others:
                    provider.lost += sender.send(others)
            except SendFailed as failure:
                provider.lost += len(others)
                _log.warning("spans=<%d>, reason=<%s> | spans of other libraries were not sent", len(spans), failure)
                return SpanExportResult.FAILURE
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            sender.close()

    return OthersExporter()


def resource_of(provider: Any) -> dict[str, Any]:
    """Return the resource of a provider of the SDK's."""
    from otel_agent_journal.mapping.span_record import plain_attributes

    return plain_attributes(provider.resource.attributes)


def resource_of_program(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the resource of this process's spans as the environment gives it."""
    from otel_agent_journal.otlp.target import default_resource

    return default_resource(environ)
