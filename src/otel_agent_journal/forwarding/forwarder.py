"""Forwards the spans of steps to an OTLP backend, from the events that the drain delivers.

The drain calls a `Forwarder` with events in order; a thread of its own sends what becomes of them, so that a backend
that is slow or gone never holds up the journal. What does not fit the bounded queue is dropped, oldest first, and
counted: any session can be sent again from the journal, by `export.py`. How events become spans is
`mapping/span_join.py`'s business, what is spoken on the wire `otlp.py`'s.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from otel_agent_journal.delivered import Delivered
from otel_agent_journal.event import EMPTY, SESSION_INTERRUPTED, JournalEvent
from otel_agent_journal.forwarding.sender import SpanSender, sender_to
from otel_agent_journal.mapping.genai import CAPTURE_CONTENT_VARIABLE, captures_content_on_spans
from otel_agent_journal.mapping.span_join import SpanJoiner, is_ending, is_start
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.target import default_resource
from otel_agent_journal.otlp.transport import BatchRefused, SendFailed
from otel_agent_journal.threads import Condition, Thread

_log = logging.getLogger(__name__)

QUEUE_CAPACITY: Final = 10_000
BATCH_SPANS: Final = 512  # as the SDK's batch processor
_LINGER_S: Final = 0.2  # how long a batch waits for company
BACKOFF_BASE_S: Final = 0.25
_BACKOFF_CAP_S: Final = 15.0
_WARN_EVERY_S: Final = 60.0
_MAX_REMEMBERED: Final = 100_000  # spans sent, so that an event delivered again is not a second span
_MAX_SEARCHED: Final = 200_000  # events of a session looked through for a START that is not here
_MAX_FOUND_SESSIONS: Final = 16
_MAX_SEARCHED_SESSIONS: Final = 10_000

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

ReadSession = Callable[[str], Iterable[JournalEvent]]
GetBlob = Callable[[str, str], bytes | None]


class WriterOf(Protocol):
    """What the forwarder knows of the process that wrote events."""

    @property
    def resource(self) -> Mapping[str, str]:
        """The OpenTelemetry resource of that process."""
        ...


class ForwardStats(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the spans so far. `pending` wait in the queue or are being sent."""

    target: str
    sent: int = 0
    dropped: int = 0
    pending: int = 0
    open_steps: int = 0
    last_error: str | None = None


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
        self._sender = sender
        self._read = read
        self._get_blob = get_blob
        self._resource = dict(resource)
        self._capacity = capacity
        self._batch_spans = batch_spans
        self._linger_s = linger_s
        self._warn = warn or _log.warning
        self._joiner = SpanJoiner(capture_content=capture_content, scope_version=scope_version)
        self._resources: dict[int, tuple[Mapping[str, str], Mapping[str, Any]]] = {}
        self._remembered: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._found: OrderedDict[str, dict[str, JournalEvent]] = OrderedDict()
        self._searched: OrderedDict[str, None] = OrderedDict()
        self._changed = Condition()
        self._queue: deque[SpanRecord] = deque()
        self._sending = 0
        self._sent = 0
        self._dropped = 0
        self._failed_in_a_row = 0
        self._flushes = 0
        self._flushes_served = 0  # those before an attempt that failed, and all where nothing is left
        self._flushes_failed = 0
        self._closing = False
        self._last_error: str | None = None
        self._warned_at = 0.0
        self._thread: Thread | None = None

    # --- what the drain calls ---

    def __call__(self, events: Sequence[JournalEvent], writer: WriterOf) -> None:
        """Take in events, of one writer and in its order. Never raises, never waits for the backend."""
        resource = self._resource_of(writer)
        for event in events:
            try:
                spans = self._take(event, resource)
            except Exception:  # noqa: BLE001 - a strange event costs its span, not the drain
                _log.warning("event_id=<%s> | its span could not be made", event.event_id, exc_info=True)
                continue
            for span in spans:
                self._enqueue(span)

    def _resource_of(self, writer: WriterOf) -> Mapping[str, Any]:
        theirs = writer.resource
        known = self._resources.get(id(theirs))
        if known is None or known[0] is not theirs:
            if len(self._resources) > 1000:
                self._resources.clear()
            known = self._resources[id(theirs)] = (theirs, {**self._resource, **theirs})
        return known[1]

    def _take(self, event: JournalEvent, resource: Mapping[str, Any]) -> Sequence[SpanRecord]:
        if is_start(event):
            self._joiner.begin(self._whole(event), resource)
            if event.parent_step_id and not self._joiner.knows_step(event.parent_step_id):
                self._look_back(event.session_id)
            return ()
        if is_ending(event):
            if not self._joiner.knows(event):
                self._recall(event, resource)
            span = self._joiner.end(self._whole(event), resource)
            return () if span is None else (span,)
        if event.type == SESSION_INTERRUPTED:
            self._recall_open(event, resource)
            return self._joiner.interrupt(event)
        if event.step_id is not None:
            self._joiner.note(event)
        return ()

    def _whole(self, event: JournalEvent) -> JournalEvent:
        return with_blobs(event, self._get_blob)

    # --- what a drain before this one had delivered is read back from the store ---

    def _look_back(self, session_id: str) -> None:
        """Learn the steps of a session that began before this drain did; once a session."""
        if self._read is None or session_id in self._searched:
            return
        _bounded(self._searched, session_id, None, _MAX_SEARCHED_SESSIONS)
        starts: dict[str, JournalEvent] = {}
        for event in self._search(session_id):
            if is_start(event):
                self._joiner.recollect(event)
                starts[_attempt(event)] = event
        _bounded(self._found, session_id, starts, _MAX_FOUND_SESSIONS)

    def _recall(self, end: JournalEvent, resource: Mapping[str, Any]) -> None:
        self._look_back(end.session_id)
        start = self._found.get(end.session_id, {}).pop(_attempt(end), None)
        if start is not None:
            self._joiner.begin(self._whole(start), resource)

    def _recall_open(self, interruption: JournalEvent, resource: Mapping[str, Any]) -> None:
        """Take in the STARTs that a dead writer left without an ending: few events come after them, if any."""
        writer = interruption.details.get("writer") or interruption.writer
        starts: dict[str, JournalEvent] = {}
        for event in self._search(interruption.session_id):
            if is_start(event):
                self._joiner.recollect(event)
            if event.writer == writer and is_start(event):
                starts[_attempt(event)] = event
            elif event.writer == writer and is_ending(event):
                starts.pop(_attempt(event), None)
        for start in starts.values():
            self._joiner.begin(self._whole(start), resource)

    def _search(self, session_id: str) -> Iterable[JournalEvent]:
        if self._read is None:
            return
        try:
            for count, event in enumerate(self._read(session_id)):
                if count >= _MAX_SEARCHED:
                    return
                yield event
        except Exception:  # noqa: BLE001 - the store's trouble; the span is made of what is here
            _log.warning("session_id=<%s> | STARTs of spans could not be read back", session_id, exc_info=True)

    # --- the queue ---

    def _enqueue(self, span: SpanRecord) -> None:
        identity = (span.trace_id, span.span_id)
        if identity in self._remembered:
            return
        _bounded(self._remembered, identity, None, _MAX_REMEMBERED)
        with self._changed:
            if self._closing:
                self._dropped += 1
                return
            self._queue.append(span)
            self._trim()
            if self._thread is None:
                self._thread = Thread(self._run)
            self._changed.notify_all()

    def _trim(self) -> None:
        while len(self._queue) + self._sending > self._capacity and self._queue:
            self._queue.popleft()
            self._dropped += 1

    @property
    def stats(self) -> ForwardStats:
        """What became of the spans so far."""
        with self._changed:
            return ForwardStats(
                target=self._sender.target,
                sent=self._sent,
                dropped=self._dropped,
                pending=len(self._queue) + self._sending,
                open_steps=self._joiner.open_steps,
                last_error=self._last_error,
            )

    def flush(self, timeout_s: float) -> Delivered:
        """Send what waits, now; tell what has not arrived, spans that were given up among it.

        Returns at once when an attempt fails, and after `timeout_s` in any case; the retries go on behind it.
        """
        self._send_within(timeout_s)
        with self._changed:
            return Delivered(spans_pending=len(self._queue) + self._sending + self._dropped)

    def _send_within(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._flushes += 1
            asked = self._flushes
            self._changed.notify_all()
            while self._queue or self._sending:
                if self._flushes_failed >= asked:  # by an attempt that began after we came: only that speaks for now
                    return
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def close(self, timeout_s: float) -> ForwardStats:
        """Send what waits, within `timeout_s`, and end; return what became of all spans. May be called twice."""
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(0.2)
        stats = self.stats
        self._sender.close()
        return stats

    # --- the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._flushes_served = self._flushes
                    self._changed.wait()
                if self._closing:
                    return
                self._changed.wait_for(self._is_due, self._linger_s)
                flushes = self._flushes
                batch = [self._queue.popleft() for _ in range(min(self._batch_spans, len(self._queue)))]
                self._sending = len(batch)
            try:
                self._deliver(batch)
            except SendFailed as failure:
                self._back_off(failure, flushes)

    def _is_due(self) -> bool:
        return self._is_hurried() or len(self._queue) >= self._batch_spans

    def _is_hurried(self) -> bool:
        return self._closing or self._flushes > self._flushes_served

    def _deliver(self, batch: list[SpanRecord]) -> None:
        """Send a batch, in halves where it is refused; what did not arrive goes back to the head of the queue.

        A fault of our own, such as a span that cannot be encoded, is a refusal like the backend's.
        """
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            try:
                rejected = self._sender.send(part)
            except BatchRefused as refusal:
                reason = refusal.reason
            except SendFailed:
                self._put_back([part, *reversed(waiting)])
                raise
            except Exception as error:  # noqa: BLE001 - nothing may end this thread but `close`
                reason = f"{type(error).__name__}: {error}"
            else:
                self._arrived(len(part), rejected)
                continue
            if len(part) == 1:
                self._give_up(reason)
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]

    def _arrived(self, spans: int, rejected: int) -> None:
        with self._changed:
            self._sending -= spans
            self._sent += spans - rejected
            self._dropped += rejected
            if rejected:
                self._last_error = f"the backend rejected {rejected} of {spans} spans"
            self._failures_end()
            self._changed.notify_all()

    def _failures_end(self) -> None:
        if self._failed_in_a_row:
            self._failed_in_a_row = 0
            _log.info("target=<%s> | spans arrive again", self._sender.target)

    def _put_back(self, parts: list[list[SpanRecord]]) -> None:
        with self._changed:
            spans = [span for part in parts for span in part]
            self._sending -= len(spans)
            self._queue.extendleft(reversed(spans))
            self._trim()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self._sending -= 1
            self._dropped += 1
            self._last_error = reason
            self._changed.notify_all()
        self._complain(f"OTLP {self._sender.target} {reason}; a span was given up, journal unaffected")

    def _back_off(self, failure: SendFailed, flushes: int) -> None:
        """Wait before the next attempt, but not for a flush that was asked for after this one began."""
        with self._changed:
            self._failed_in_a_row += 1
            self._last_error = failure.reason
            self._flushes_served = self._flushes_failed = flushes
            sent = self._sent
            self._changed.notify_all()
        target = self._sender.target
        self._complain(f"OTLP {target} {failure.reason}; {sent} spans forwarded, journal unaffected, retrying")
        ceiling = min(_BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(self._failed_in_a_row, 10))
        pause = max(failure.retry_after_s, random.uniform(0, ceiling))  # noqa: S311 - full jitter
        with self._changed:
            self._changed.wait_for(self._is_hurried, min(pause, _BACKOFF_CAP_S))

    def _complain(self, text: str) -> None:
        now = time.monotonic()
        if self._warned_at and now - self._warned_at < _WARN_EVERY_S:
            return
        self._warned_at = now
        with contextlib.suppress(Exception):  # stderr may be closed
            self._warn(text)


def _bounded(known: OrderedDict[_Key, _Value], key: _Key, value: _Value, limit: int) -> None:
    known[key] = value
    if len(known) > limit:
        known.popitem(last=False)


def _attempt(event: JournalEvent) -> str:
    return f"{event.writer}:{event.step_id}:{event.attempt}"


def with_blobs(event: JournalEvent, get_blob: GetBlob | None) -> JournalEvent:
    """Return the event with the oversize values that a span is made of put back; without a store they are left out."""
    found: dict[str, Any] = {}
    for key in ("attributes", "events", "links"):
        value: Any = event.details.get(key)
        if isinstance(value, Mapping) and "$blob" in value:
            found[key] = _blob(event.session_id, cast("Mapping[str, Any]", value), get_blob)
    if not found:
        return event
    return msgspec.structs.replace(event, details={**event.details, **found})


def _blob(session_id: str, reference: Mapping[str, Any], get_blob: GetBlob | None) -> Any:
    data = None if get_blob is None else get_blob(session_id, str(reference["$blob"]))
    if data is None:
        return None
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None


# --- making one ---------------------------------------------------------------------------------------------------


def open_forwarder(url: str | None, environ: Mapping[str, str], **options: Any) -> Forwarder:
    """Return a forwarder to `url`, or to where the OTLP variables say; `options` are those of `Forwarder`.

    Raises:
        ConfigError: the URL or a variable is malformed.
        MissingExtra: the OTLP packages are not installed.
    """
    options.setdefault("resource", default_resource(environ))
    options.setdefault("capture_content", captures_content_on_spans(environ.get(CAPTURE_CONTENT_VARIABLE)))
    return Forwarder(sender_to(url, environ), **options)
