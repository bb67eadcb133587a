"""Brings events to a sink, each session's in their order, whatever the sink does with requests and parts of them.

A request holds one record of a session at most. So when a service takes some records of a request and not others, what
it did not take is sent again, later records of its session wait, and nobody sees a session's events out of order. What
is refused for good is found by sending records alone, then events alone, then that event without its details.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from otel_agent_journal.errors import SinkRefused, SinkUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.sinks.port import Limits, Record, Sink
from otel_agent_journal.sinks.records import Packed, key_of, line_of, packed, without_details

FIRST_CEILING_S: Final = 0.1
LAST_CEILING_S: Final = 20.0
LONGEST_WISH_S: Final = 60.0  # of a service that says when to come again
_MAX_REASON: Final = 300  # characters, in the mark of an event that a service refuses

Wait = Callable[[float], bool]


class _Line:
    """What is to be sent of one session. `due_s`: by the monotonic clock, before which it rests."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.events: deque[JournalEvent] = deque()
        self.next: Packed | None = None
        self.alone = False  # its events go one a record, to find the one that is refused
        self.tries = 0
        self.due_s = 0.0

    def head(self, limits: Limits) -> Packed:
        """Return the record that is next, the same until it was taken."""
        if self.next is None:
            alone = Limits(records=limits.records, record_bytes=limits.record_bytes, request_bytes=limits.request_bytes)
            self.next = packed(self.session_id, self.events, alone if self.alone else limits)
        return self.next

    def taken(self) -> None:
        """Go on behind the record that was taken."""
        assert self.next is not None
        for _ in range(self.next.record.events):
            self.events.popleft()
        self.next, self.tries, self.alone = None, 0, False

    def refused(self, why: str) -> bool:
        """Make the next record one that may be taken, after it was refused by itself; tell whether there is one."""
        assert self.next is not None
        if self.next.record.events > 1:
            self.next, self.alone = None, True
            return True
        if self.next.withheld:
            return False
        event, size = self.events[0], len(self.next.record.data)
        line = line_of(without_details(event, size, size, why[:_MAX_REASON]))
        self.next = Packed(Record(self.next.record.key, line, 1), 1)
        return True


class Transfer:
    """Brings events to one sink. Used by one thread; what it counts may be read from any.

    Args:
        sink: takes them.
        wait: waits so many seconds; returns whether to go on.
        jitter: returns a number between two.
    """

    def __init__(self, sink: Sink, *, wait: Wait, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._sink = sink
        self._wait = wait
        self._jitter = jitter
        self._lines: dict[str, _Line] = {}  # by key, in the order in which they are next
        self._failed = 0  # requests in a row
        self.sent = 0
        self.withheld = 0
        self.failures = 0
        self.last_error: str | None = None
        self.is_failing = False

    @property
    def pending(self) -> int:
        """How many events are held, of those that `bring` was given."""
        return sum(len(line.events) for line in list(self._lines.values()))

    def bring(self, events: Iterable[JournalEvent]) -> bool:
        """Send events, and return True once all were taken; False where `wait` said to stop before that.

        Events of a call that was stopped are forgotten; they are for the next call to bring again.
        """
        self._lines = {}
        for event in events:
            key = key_of(event.session_id)
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = _Line(event.session_id)
            line.events.append(event)
        try:
            while self._lines:
                if not self._round():
                    return False
        finally:
            self._lines = {}
        return True

    def _round(self) -> bool:
        try:
            limits = self._sink.limits
            now = time.monotonic()
            request = self._request(limits, now)
            if not request:
                return self._wait(max(0.0, min(line.due_s for line in self._lines.values()) - now))
            self._send(request, limits)
        except SinkUnreachable as error:
            self._note(str(error))
            self._failed += 1
            return self._wait(max(self._pause_s(self._failed), min(error.retry_after_s, LONGEST_WISH_S)))
        return self._wait(0.0)

    def _request(self, limits: Limits, now: float) -> list[_Line]:
        """Return the sessions whose next records go in one request."""
        chosen: list[_Line] = []
        left = limits.request_bytes
        for line in self._lines.values():
            if line.due_s > now:
                continue
            left -= line.head(limits).record.size_bytes
            if left < 0 and chosen:
                break
            chosen.append(line)
            if len(chosen) == limits.records:
                break
        return chosen

    def _send(self, request: Sequence[_Line], limits: Limits) -> None:
        try:
            answers = self._sink.send([line.head(limits).record for line in request])
        except SinkRefused as refusal:
            self._refused(request, limits, refusal)
            return
        self._failed = 0
        self._take(request, answers)

    def _refused(self, request: Sequence[_Line], limits: Limits, refusal: SinkRefused) -> None:
        """Find what it is that is refused: each record by itself, then each event, then it without its details."""
        if len(request) > 1:
            for line in request:
                self._send([line], limits)
            return
        (line,) = request
        self._note(str(refusal))
        if not line.refused(refusal.reason):
            raise SinkUnreachable(str(refusal)) from refusal  # what is small and plain is refused: it is the sink

    def _take(self, request: Sequence[_Line], answers: Sequence[str | None]) -> None:
        failed = False
        for line, why in zip(request, answers, strict=True):
            assert line.next is not None
            key = line.next.record.key
            del self._lines[key]
            if why is None:
                self.sent += line.next.record.events
                self.withheld += line.next.withheld
                line.taken()
            else:
                failed = True
                line.tries += 1
                line.due_s = time.monotonic() + self._pause_s(line.tries)
                self._note(why)
            if line.events:
                self._lines[key] = line  # behind those that were not in this request
        if not failed:
            self.is_failing = False

    def _pause_s(self, tries: int) -> float:
        return self._jitter(0, min(LAST_CEILING_S, FIRST_CEILING_S * 2 ** min(tries, 16)))

    def _note(self, why: str) -> None:
        self.failures += 1
        self.last_error = why
        self.is_failing = True
