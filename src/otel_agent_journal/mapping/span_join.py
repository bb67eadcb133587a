"""Joins the events of sessions, as they come, into spans: a START waits here for its ending. No I/O, no clock.

The drain feeds it live, `export` feeds it a whole old session. It knows which attempt of the parent step was running
when a step began, and which steps a dead writer left open. It keeps only as much as its bounds allow; what fell out
is a START that its ending does without.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.event import EMPTY, JournalEvent
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.span_record import SpanLink, SpanRecord
from otel_agent_journal.mapping.to_span import (
    MAX_SPAN_EVENTS,
    is_note,
    last_seen_ns,
    span_id_of,
    span_of_attempt,
    trace_id_of,
)
from otel_agent_journal.pairing import Number, number_of

MAX_OPEN_STEPS: Final = 20_000
MAX_KNOWN_STEPS: Final = 50_000
_ATTEMPTS_OF_A_STEP: Final = 16
_MAX_DEPTH: Final = 100  # steps above a step, should they be above each other

# What a START must keep of its details until its span is made; its content only where that goes on spans.
_SPAN_DETAILS: Final = (
    "attributes",
    "effects",
    "exported",
    "links",
    "parent_span_id",
    "sampled",
    "scope",
    "span_kind",
    "span_name",
    "trace_state",
)


class _Open:
    """An attempt whose ending has not come."""

    __slots__ = ("notes", "resource", "start")

    def __init__(self, start: JournalEvent, resource: Mapping[str, Any]) -> None:
        self.start = start
        self.resource = resource
        self.notes: list[JournalEvent] = []


class _Attempt(msgspec.Struct, frozen=True):
    """Where an attempt's span is, for the steps below it."""

    start_ns: int
    writer: str | None
    trace_id: str
    span_id: str
    parent_step_id: str | None = None
    sampled: bool = True


class SpanJoiner:
    """Makes the spans of steps of their events, but for those of traces that are not sampled. Not thread-safe.

    `include_exported` also makes those of steps whose span the program's own exporter carries, else such a span is
    made only when it was left open. `scope_version` is this package's version.
    """

    def __init__(
        self,
        *,
        capture_content: bool = False,
        include_exported: bool = False,
        scope_version: str = "",
        max_open: int = MAX_OPEN_STEPS,
        max_known: int = MAX_KNOWN_STEPS,
    ) -> None:
        self._capture_content = capture_content
        self._include_exported = include_exported
        self._scope_version = scope_version
        self._max_open = max_open
        self._max_known = max_known
        self._open: OrderedDict[Number, _Open] = OrderedDict()
        self._attempts: OrderedDict[str, tuple[_Attempt, ...]] = OrderedDict()

    @property
    def open_steps(self) -> int:
        """How many attempts wait for their ending."""
        return len(self._open)

    def knows(self, end: JournalEvent) -> bool:
        """Tell whether the START of an ending is here."""
        return number_of(end) in self._open

    def knows_step(self, step_id: str) -> bool:
        """Tell whether a START of a step was here, so that the steps below it find their parent's span."""
        return step_id in self._attempts

    def begin(self, start: JournalEvent, resource: Mapping[str, Any] = EMPTY) -> None:
        """Take in a START; taking it in twice changes nothing."""
        key = number_of(start)
        if key in self._open:
            return
        details = start.details
        if not self._capture_content and details:
            details = {name: details[name] for name in _SPAN_DETAILS if name in details}
            start = msgspec.structs.replace(start, details=details)
        self._open[key] = _Open(start, resource)
        if len(self._open) > self._max_open:
            self._open.popitem(last=False)
        self.recollect(start)

    def recollect(self, start: JournalEvent) -> None:
        """Learn of an attempt as a parent of others, without waiting for its ending."""
        step_id = start.step_id or ""
        attempt = _Attempt(
            start.timestamp_ns,
            start.writer,
            trace_id_of(start),
            span_id_of(start),
            start.parent_step_id,
            _is_sampled(start),
        )
        known = self._attempts.pop(step_id, ())
        self._attempts[step_id] = (*known, attempt)[-_ATTEMPTS_OF_A_STEP:]
        if len(self._attempts) > self._max_known:
            self._attempts.popitem(last=False)

    def note(self, event: JournalEvent) -> None:
        """Take in an event within a step, where it belongs on the step's span."""
        waiting = self._open.get(number_of(event))
        if waiting is None or not is_note(event, capture_content=self._capture_content):
            return
        waiting.notes.append(event)
        if len(waiting.notes) > MAX_SPAN_EVENTS:
            waiting.notes.pop(0)

    def end(self, end: JournalEvent, resource: Mapping[str, Any] = EMPTY) -> SpanRecord | None:
        """Return the span that an ending completes; None where it stays here, or the program's exporter carries it."""
        waiting = self._open.pop(number_of(end), None)
        if waiting is None:
            return self._span(None, end, resource=resource) if self._leaves(end) else None
        if not self._leaves(waiting.start):
            return None
        return self._span(waiting.start, end, notes=waiting.notes, resource=waiting.resource)

    def _leaves(self, event: JournalEvent) -> bool:
        exported = event.details.get("exported") is True and not self._include_exported
        return _is_sampled(event) and not exported

    def interrupt(self, interruption: JournalEvent) -> list[SpanRecord]:
        """Return the spans that a SESSION_INTERRUPTED ends: the writer's open steps of the session, exported too."""
        writer = interruption.details.get("writer") or interruption.writer
        session_id, until_ns = interruption.session_id, interruption.timestamp_ns
        return self._cut(
            last_seen_ns(interruption),
            str(interruption.details.get("reason") or genai.NOT_KNOWN),
            [
                key
                for key, waiting in self._open.items()
                if key[0] == writer
                and waiting.start.session_id == session_id
                and waiting.start.timestamp_ns <= until_ns
            ],
        )

    def abandon(self, last_ns: Mapping[str | None, int]) -> list[SpanRecord]:
        """Return the spans of everything still open, each ended at its writer's time in `last_ns`."""
        spans: list[SpanRecord] = []
        for key in list(self._open):
            spans += self._cut(last_ns.get(key[0], 0), genai.NOT_KNOWN, [key])
        return spans

    def _cut(self, at_ns: int, reason: str, keys: Iterable[Number]) -> list[SpanRecord]:
        cut = [self._open.pop(key) for key in keys]
        return [
            self._span(
                waiting.start,
                None,
                interrupted_ns=at_ns,
                reason=reason,
                notes=waiting.notes,
                resource=waiting.resource,
            )
            for waiting in cut
            if _is_sampled(waiting.start)
        ]

    def _span(
        self,
        start: JournalEvent | None,
        end: JournalEvent | None,
        *,
        resource: Mapping[str, Any],
        interrupted_ns: int | None = None,
        reason: str = genai.NOT_KNOWN,
        notes: Iterable[JournalEvent] = (),
    ) -> SpanRecord:
        record = span_of_attempt(
            start,
            end,
            interrupted_ns=interrupted_ns,
            reason=reason,
            notes=notes,
            resource=resource,
            scope_version=self._scope_version,
            capture_content=self._capture_content,
        )
        first = start or end
        parent = None if first is None or record.parent_span_id else self._parent(first, record.start_ns)
        if parent is None:
            return record
        if parent.trace_id == record.trace_id:
            return msgspec.structs.replace(record, parent_span_id=parent.span_id)
        link = SpanLink(parent.trace_id, parent.span_id)
        return record if link in record.links else msgspec.structs.replace(record, links=(*record.links, link))

    def _parent(self, event: JournalEvent, start_ns: int) -> _Attempt | None:
        """Return the attempt of the parent step that ran as a step began, of the same writer where there is one.

        Past those that are not sampled: a sampler may leave out a step and keep what is below it.
        """
        above = event.parent_step_id
        for _ in range(_MAX_DEPTH):
            begun = [attempt for attempt in self._attempts.get(above or "", ()) if attempt.start_ns <= start_ns]
            if not begun:
                return None
            found = max(begun, key=lambda attempt: (attempt.writer == event.writer, attempt.start_ns))
            if found.sampled:
                return found
            above = found.parent_step_id
        return None


def _is_sampled(event: JournalEvent) -> bool:
    return event.details.get("sampled") is not False
