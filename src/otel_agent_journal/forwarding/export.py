"""Sends an old session to an OTLP backend: every span of it, rebuilt from its events. `agent-journal export`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from otel_agent_journal.errors import JournalError
from otel_agent_journal.event import EMPTY, SESSION_INTERRUPTED, JournalEvent
from otel_agent_journal.forwarding.outbox import BACKOFF_BASE_S, BATCH_SPANS
from otel_agent_journal.forwarding.sender import SpanSender, sender_to
from otel_agent_journal.forwarding.spans import GetBlob, with_blobs
from otel_agent_journal.mapping.genai import CAPTURE_CONTENT_VARIABLE, captures_content_on_spans
from otel_agent_journal.mapping.span_join import SpanJoiner
from otel_agent_journal.mapping.span_record import SpanRecord, plain_attributes
from otel_agent_journal.mapping.to_span import last_seen_ns
from otel_agent_journal.otlp.answers import BatchRefused, SendFailed
from otel_agent_journal.otlp.target import default_resource
from otel_agent_journal.pairing import is_ending, is_start
from otel_agent_journal.projections.about import told_of_process

_ATTEMPTS: Final = 5
_UNBOUNDED: Final = 1_000_000_000


class BackendUnreachable(JournalError):
    """An OTLP backend does not take spans: not there, or it refuses us."""

    exit_code = 4


class Resources:
    """The resource of each process that wrote to a session, as it said itself.

    Args:
        default: of those that said nothing.
        events: the session's.
    """

    def __init__(self, default: Mapping[str, Any], events: Iterable[JournalEvent]) -> None:
        self._default = default
        self._known: dict[str | None, Mapping[str, Any]] = {}
        for event in events:
            resource: Any = (told_of_process(event) or EMPTY).get("resource")
            if isinstance(resource, Mapping):
                self._known.setdefault(event.writer, plain_attributes(cast("Mapping[Any, Any]", resource)))

    def of(self, writer: str | None) -> Mapping[str, Any]:
        """Return the resource of a writer."""
        return self._known.get(writer, self._default)


def spans_of_session(
    events: Iterable[JournalEvent],
    *,
    resources: Callable[[str | None], Mapping[str, Any]] | Mapping[str, Any] = EMPTY,
    capture_content: bool = False,
    get_blob: GetBlob | None = None,
    scope_version: str = "",
) -> Iterable[SpanRecord]:
    """Yield all spans of a session from its events, in any order: nested, linked, each once.

    A step left open is ended at its writer's last event, as interrupted. `resources` is one resource for all, or
    gives that of a writer.
    """
    joiner = SpanJoiner(
        capture_content=capture_content,
        include_exported=True,
        scope_version=scope_version,
        max_open=_UNBOUNDED,
        max_known=_UNBOUNDED,
    )
    last_ns: dict[str | None, int] = {}
    yielded: set[tuple[str, str]] = set()
    for event in sorted(events, key=_begins_first):
        if event.type == SESSION_INTERRUPTED:
            dead = event.details.get("writer") or event.writer
            last_ns[dead] = max(last_ns.get(dead, 0), last_seen_ns(event))
            continue
        last_ns[event.writer] = max(last_ns.get(event.writer, 0), event.timestamp_ns)
        resource = resources(event.writer) if callable(resources) else resources
        spans: Iterable[SpanRecord | None] = ()
        if is_start(event):
            joiner.begin(with_blobs(event, get_blob), resource)
        elif is_ending(event):
            spans = (joiner.end(with_blobs(event, get_blob), resource),)
        elif event.step_id is not None:
            joiner.note(event)
        for span in spans:
            if span is not None and (span.trace_id, span.span_id) not in yielded:
                yielded.add((span.trace_id, span.span_id))
                yield span
    for span in joiner.abandon(last_ns):
        if (span.trace_id, span.span_id) not in yielded:
            yield span


def _begins_first(event: JournalEvent) -> tuple[int, int]:
    return (event.timestamp_ns, 0 if is_start(event) else 2 if is_ending(event) else 1)


def export_session(
    events: Iterable[JournalEvent],
    otlp_url: str | None,
    resource: Callable[[str | None], Mapping[str, Any]] | Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str],
    progress: Callable[[int], None] | None = None,
    get_blob: GetBlob | None = None,
    sender: SpanSender | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Send all spans of a session to an OTLP backend; return how many arrived.

    Args:
        events: the session's, from the store.
        otlp_url: the backend, or None for where the OTLP variables say.
        resource: of all spans, or of a writer's; by default that of the process which wrote them, as it said itself,
            and of one that said nothing what the OTEL variables say.
        environ: the OTEL_* variables.
        progress: called with the number of spans sent so far.
        get_blob: reads an oversize value from the store.
        sender, pause: for tests.

    Raises:
        BackendUnreachable: not all spans arrived.
        ConfigError: the URL or a variable is malformed, or the OTLP packages are not installed.
    """
    outlet = sender or sender_to(otlp_url, environ)
    content = captures_content_on_spans(environ.get(CAPTURE_CONTENT_VARIABLE))
    known = list(events)
    spans = list(
        spans_of_session(
            known,
            resources=Resources(default_resource(environ), known).of if resource is None else resource,
            capture_content=content,
            get_blob=get_blob,
        )
    )
    try:
        return _send_all(outlet, spans, progress, pause)
    finally:
        outlet.close()


def _send_all(
    sender: SpanSender,
    spans: list[SpanRecord],
    progress: Callable[[int], None] | None,
    pause: Callable[[float], None],
) -> int:
    """Send spans in batches, one that is refused in halves; return how many arrived: all of them."""
    sent = 0
    waiting = [spans[at : at + BATCH_SPANS] for at in range(0, len(spans), BATCH_SPANS)][::-1]
    while waiting:
        batch = waiting.pop()
        try:
            rejected = _insist(sender, batch, pause)
        except BatchRefused as refusal:
            if len(batch) == 1:
                raise _unreachable(sender, refusal, sent, len(spans)) from refusal
            middle = len(batch) // 2
            waiting += [batch[middle:], batch[:middle]]
            continue
        except SendFailed as failure:
            raise _unreachable(sender, failure, sent, len(spans)) from failure
        sent += len(batch) - rejected
        if progress is not None:
            progress(sent)
    if sent < len(spans):
        raise _unreachable(sender, SendFailed(f"rejected {len(spans) - sent} spans"), sent, len(spans))
    return sent


def _insist(sender: SpanSender, batch: list[SpanRecord], pause: Callable[[float], None]) -> int:
    for attempt in range(1, _ATTEMPTS):
        try:
            return sender.send(batch)
        except BatchRefused:
            raise
        except SendFailed as failure:
            pause(max(failure.retry_after_s, random.uniform(0, BACKOFF_BASE_S * 2**attempt)))  # noqa: S311 - jitter
    return sender.send(batch)


def _unreachable(sender: SpanSender, failure: SendFailed, sent: int, all_of_them: int) -> BackendUnreachable:
    return BackendUnreachable(
        f"OTLP {sender.target} {failure.reason}; {sent} of {all_of_them} spans were sent, the journal is unaffected:"
        " check the URL and that the backend runs, then export again"
    )
