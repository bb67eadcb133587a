"""Spans on their way to a backend, as far as is worth it: a bounded queue, and the thread that empties it.

Best effort: a backend that is away is tried again, and what does not fit the queue is dropped, the oldest first; what
it refuses is dropped too. All of it is counted: the journal has every step, and `export` sends any session again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from otel_agent_journal.delivered import Delivered
from otel_agent_journal.forwarding.sender import SpanSender
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.answers import BatchRefused, SendFailed
from otel_agent_journal.threads import Condition, Thread, start_thread
from otel_agent_journal.uninstrumented import uninstrumented

_log = logging.getLogger(__name__)

BATCH_SPANS: Final = 512  # as the SDK's batch processor
BACKOFF_BASE_S: Final = 0.25
_BACKOFF_CAP_S: Final = 15.0
_WARN_EVERY_S: Final = 60.0
_REFUSED_IN_A_ROW: Final = 20  # requests, with no other between: then it is not one span that is to blame


class ForwardStats(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the spans so far. `pending` wait in the queue or are being sent."""

    target: str
    sent: int = 0
    dropped: int = 0
    pending: int = 0
    open_steps: int = 0
    last_error: str | None = None


class Outbox:
    """Sends spans in batches. Thread-safe.

    Args:
        sender: takes batches to the backend.
        capacity: spans that may wait.
        batch_spans: how many are sent at once.
        linger_s: how long a batch waits for company.
        warn: told in a sentence when spans do not arrive.
    """

    def __init__(
        self, sender: SpanSender, *, capacity: int, batch_spans: int, linger_s: float, warn: Callable[[str], None]
    ) -> None:
        self._sender = sender
        self._capacity = capacity
        self._batch_spans = batch_spans
        self._linger_s = linger_s
        self._warn = warn
        self._changed = Condition()
        self._queue: deque[SpanRecord] = deque()
        self._sending = 0
        self._sent = 0
        self._dropped = 0
        self._told_dropped = 0
        self._last_error: str | None = None
        self._failed_in_a_row = 0
        self._flushes = 0
        self._flushes_served = 0  # those before an attempt that failed, and all where nothing is left
        self._flushes_failed = 0
        self._closing = False
        self._warned_at = 0.0
        self._thread: Thread | None = None

    @property
    def stats(self) -> ForwardStats:
        """What became of the spans so far."""
        with self._changed:
            return ForwardStats(
                target=self._sender.target,
                sent=self._sent,
                dropped=self._dropped,
                pending=len(self._queue) + self._sending,
                last_error=self._last_error,
            )

    def put(self, span: SpanRecord) -> None:
        """Have a span sent. Never waits for the backend."""
        with self._changed:
            if self._closing:
                self._dropped += 1
                return
            self._queue.append(span)
            self._trim()
            if self._thread is None:
                self._thread = start_thread(self._run)
            self._changed.notify_all()

    def _trim(self) -> None:
        while len(self._queue) + self._sending > self._capacity and self._queue:
            self._queue.popleft()
            self._dropped += 1

    def flush(self, timeout_s: float) -> Delivered:
        """Send what waits, now; tell what has not arrived, spans that were given up since the last flush among it.

        Returns at once when an attempt fails, and after `timeout_s` in any case; the retries go on behind it.
        """
        self._send_within(timeout_s)
        with self._changed:
            lost, self._told_dropped = self._dropped - self._told_dropped, self._dropped
            return Delivered(spans_pending=len(self._queue) + self._sending + lost)

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

    def close(self, timeout_s: float) -> None:
        """Send what waits, within `timeout_s`, and end. May be called twice."""
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(0.2)
        self._sender.close()

    # --- the thread ---

    @uninstrumented()
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
        waiting, in_a_row = [batch], 0
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
                in_a_row = 0
                continue
            in_a_row += 1
            if in_a_row >= _REFUSED_IN_A_ROW:
                self._give_up(len(part) + sum(map(len, waiting)), reason)
                return
            if len(part) == 1:
                self._give_up(1, reason)
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

    def _give_up(self, spans: int, reason: str) -> None:
        with self._changed:
            self._sending -= spans
            self._dropped += spans
            self._last_error = reason
            self._changed.notify_all()
        self._complain(f"OTLP {self._sender.target} {reason}; spans given up: {spans}, journal unaffected")

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
