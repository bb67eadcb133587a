"""From events, as the drain delivers them, to the spans of steps: joined, and what is not at hand read back.

A step whose START was delivered by a drain before this one is looked up in the store, each session once. How a START
and its ending become a span is `mapping.span_join`'s. Knows nothing of backends; used by one thread.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from otel_agent_journal.event import SESSION_INTERRUPTED, JournalEvent
from otel_agent_journal.mapping.media import BLOB
from otel_agent_journal.mapping.span_join import SpanJoiner
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.pairing import is_ending, is_start

_log = logging.getLogger(__name__)

_MAX_SEARCHED: Final = 200_000  # events of a session looked through for a START that is not here
_MAX_FOUND_SESSIONS: Final = 16
_MAX_SEARCHED_SESSIONS: Final = 10_000

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

ReadSession = Callable[[str], Iterable[JournalEvent]]
GetBlob = Callable[[str, str], bytes | None]


class StepSpans:
    """Makes spans of events, of one writer after the other, each in its order.

    Args:
        joiner: joins STARTs and endings.
        read: reads a session's events from the store.
        get_blob: reads an oversize value from the store.
    """

    def __init__(self, joiner: SpanJoiner, read: ReadSession | None, get_blob: GetBlob | None) -> None:
        self._joiner = joiner
        self._read = read
        self._get_blob = get_blob
        self._found: OrderedDict[str, dict[str, JournalEvent]] = OrderedDict()
        self._searched: OrderedDict[str, None] = OrderedDict()

    @property
    def open_steps(self) -> int:
        """How many steps have begun and not ended."""
        return self._joiner.open_steps

    def of(self, event: JournalEvent, resource: Mapping[str, Any]) -> Sequence[SpanRecord]:
        """Return the spans that end with an event."""
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

    def _look_back(self, session_id: str) -> None:
        """Learn the steps of a session that began before this drain did; once a session."""
        if self._read is None or session_id in self._searched:
            return
        bounded(self._searched, session_id, None, _MAX_SEARCHED_SESSIONS)
        starts: dict[str, JournalEvent] = {}
        for event in self._search(session_id):
            if is_start(event):
                self._joiner.recollect(event)
                starts[_attempt(event)] = event
        bounded(self._found, session_id, starts, _MAX_FOUND_SESSIONS)

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


def bounded(known: OrderedDict[_Key, _Value], key: _Key, value: _Value, limit: int) -> None:
    """Remember something, and forget the oldest beyond a limit."""
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
        if isinstance(value, Mapping) and BLOB in value:
            found[key] = _blob(event.session_id, cast("Mapping[str, Any]", value), get_blob)
    if not found:
        return event
    return msgspec.structs.replace(event, details={**event.details, **found})


def _blob(session_id: str, reference: Mapping[str, Any], get_blob: GetBlob | None) -> Any:
    data = None if get_blob is None else get_blob(session_id, str(reference[BLOB]))
    if data is None:
        return None
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
