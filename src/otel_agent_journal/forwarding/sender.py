"""Sends batches of spans to an OTLP backend: the official encoder's requests over `otlp.transport`.

Knows nothing of events and queues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.answers import Unconfirmed
from otel_agent_journal.otlp.target import OtlpTarget, otlp_target
from otel_agent_journal.otlp.transport import Transport, open_transport

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_MAX_KNOWN_RESOURCES: Final = 256


class SpanSender(Protocol):
    """Takes spans to a backend."""

    @property
    def target(self) -> str:
        """The backend's address, secrets left out: safe to print."""
        ...

    def send(self, spans: Sequence[SpanRecord]) -> int:
        """Send spans; return how many of them the backend rejected although it took the rest.

        What was taken and not confirmed counts as sent: the journal has it, and may send it again.

        Raises:
            BatchRefused: the same call will fail again.
            SendFailed: the same call may succeed later.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def sender_to(url: str | None, environ: Mapping[str, str]) -> SpanSender:
    """Return what sends to `url`, or to where the OTLP variables say. Raises as `otlp_target` and `open_sender` do."""
    return open_sender(otlp_target(url, environ))


def open_sender(target: OtlpTarget) -> SpanSender:
    """Return what sends spans to a target.

    Raises:
        MissingExtra: the OTLP packages are not installed.
        ConfigError: a certificate cannot be used.
    """
    return OtlpSpanSender(open_transport(target))


class OtlpSpanSender:
    """Encodes spans for a transport; the encoder is imported when the first batch is sent."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @cached_property
    def _encoder(self) -> _Encoder:
        return _Encoder()

    @property
    def target(self) -> str:
        """The backend's address, safe to print."""
        return self._transport.target

    def send(self, spans: Sequence[SpanRecord]) -> int:
        """Send spans; return how many the backend rejected. Raises BatchRefused or SendFailed."""
        body = self._encoder.request(spans).SerializeToString()
        try:
            return min(self._transport.export(body).rejected, len(spans))
        except Unconfirmed:
            return 0

    def close(self) -> None:
        """Release connections."""
        self._transport.close()


class _Encoder:
    """Encodes spans by the official encoder; a resource that comes again is made once."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        self._encode_spans: Any = encode_spans
        self._resources: dict[int, tuple[Mapping[str, Any], Resource]] = {}

    def request(self, spans: Sequence[SpanRecord]) -> Any:
        """Return the ExportTraceServiceRequest of spans."""
        from otel_agent_journal.mapping.from_sdk import readable_span

        return self._encode_spans([readable_span(span, self._resource(span.resource)) for span in spans])

    def _resource(self, attributes: Mapping[str, Any]) -> Resource:
        from opentelemetry.sdk.resources import Resource

        from otel_agent_journal.mapping.span_record import plain_attributes

        known = self._resources.get(id(attributes))
        if known is None or known[0] is not attributes:
            if len(self._resources) >= _MAX_KNOWN_RESOURCES:
                self._resources.clear()
            known = self._resources[id(attributes)] = (attributes, Resource(plain_attributes(attributes)))
        return known[1]
