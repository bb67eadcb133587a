"""Forwards the spans of steps to an OTLP backend, from the events that the drain delivers.

The drain calls a `Forwarder` with events in order; `spans` makes spans of them, `outbox` sends these from a thread of
its own, so that a backend that is slow or gone never holds up the journal. What is lost there is counted: any session
can be sent again from the journal, by `export`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from otel_agent_journal.delivered import Delivered
from otel_agent_journal.event import EMPTY, JournalEvent
from otel_agent_journal.forwarding.outbox import BATCH_SPANS, ForwardStats, Outbox
from otel_agent_journal.forwarding.sender import SpanSender, sender_to
from otel_agent_journal.forwarding.spans import GetBlob, ReadSession, StepSpans, bounded
from otel_agent_journal.mapping.genai import CAPTURE_CONTENT_VARIABLE, captures_content_on_spans
from otel_agent_journal.mapping.processes import without_arguments
from otel_agent_journal.mapping.span_join import SpanJoiner
from otel_agent_journal.otlp.target import default_resource

_log = logging.getLogger(__name__)

QUEUE_CAPACITY: Final = 10_000
_LINGER_S: Final = 0.2
_MAX_REMEMBERED: Final = 100_000  # spans sent, so that an event delivered again is not a second span


class WriterOf(Protocol):
    """What the forwarder knows of the process that wrote events."""

    @property
    def resource(self) -> Mapping[str, Any]:
        """The OpenTelemetry resource of that process."""
        ...


class Forwarder:
    """Sends the spans of steps as their endings come. Call it from one thread; everything else is thread-safe.

    Args:
        sender: takes batches to the backend.
        read: reads a session's events from the store, for STARTs that a drain before this one had delivered.
        get_blob: reads an oversize value from the store.
        resource: the resource of writers that say none, and what theirs is laid over.
        capture_content: put message content on spans.
        capacity: spans that may wait while the backend is away.
        warn: told once, in a sentence, when spans do not arrive; by default the log.
        scope_version: this package's version.
    """

    def __init__(
        self,
        sender: SpanSender,
        *,
        read: ReadSession | None = None,
        get_blob: GetBlob | None = None,
        resource: Mapping[str, Any] = EMPTY,
        capture_content: bool = False,
        capacity: int = QUEUE_CAPACITY,
        batch_spans: int = BATCH_SPANS,
        linger_s: float = _LINGER_S,
        warn: Callable[[str], None] | None = None,
        scope_version: str = "",
    ) -> None:
        self._resource = dict(resource)
        self._capture_content = capture_content
        joiner = SpanJoiner(capture_content=capture_content, scope_version=scope_version)
        self._spans = StepSpans(joiner, read, get_blob)
        self._outbox = Outbox(
            sender, capacity=capacity, batch_spans=batch_spans, linger_s=linger_s, warn=warn or _log.warning
        )
        self._resources: dict[int, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        self._remembered: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __call__(self, events: Sequence[JournalEvent], writer: WriterOf) -> None:
        """Take in events, of one writer and in its order. Never raises, never waits for the backend."""
        resource = self._resource_of(writer)
        for event in events:
            try:
                spans = self._spans.of(event, resource)
            except Exception:  # noqa: BLE001 - a strange event costs its span, not the drain
                _log.warning("event_id=<%s> | its span could not be made", event.event_id, exc_info=True)
                continue
            for span in spans:
                identity = (span.trace_id, span.span_id)
                if identity not in self._remembered:
                    bounded(self._remembered, identity, None, _MAX_REMEMBERED)
                    self._outbox.put(span)

    def _resource_of(self, writer: WriterOf) -> Mapping[str, Any]:
        theirs = writer.resource
        known = self._resources.get(id(theirs))
        if known is None or known[0] is not theirs:
            if len(self._resources) > 1000:
                self._resources.clear()
            sent = {**self._resource, **theirs}
            known = self._resources[id(theirs)] = (theirs, sent if self._capture_content else without_arguments(sent))
        return known[1]

    @property
    def stats(self) -> ForwardStats:
        """What became of the spans so far."""
        return msgspec.structs.replace(self._outbox.stats, open_steps=self._spans.open_steps)

    def flush(self, timeout_s: float) -> Delivered:
        """Send what waits, now, as `Outbox.flush` does."""
        return self._outbox.flush(timeout_s)

    def close(self, timeout_s: float) -> ForwardStats:
        """Send what waits, within `timeout_s`, and end; return what became of all spans. May be called twice."""
        self._outbox.close(timeout_s)
        return self.stats


def open_forwarder(url: str | None, environ: Mapping[str, str], **options: Any) -> Forwarder:
    """Return a forwarder to `url`, or to where the OTLP variables say; `options` are those of `Forwarder`.

    Raises:
        ConfigError: the URL or a variable is malformed.
        MissingExtra: the OTLP packages are not installed.
    """
    options.setdefault("resource", default_resource(environ))
    options.setdefault("capture_content", captures_content_on_spans(environ.get(CAPTURE_CONTENT_VARIABLE)))
    return Forwarder(sender_to(url, environ), **options)
