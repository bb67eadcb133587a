"""What a receiver's records amount to, and what became of them: for the drain of a spool that OTLP was received into.

A record is a whole request: the facts of its spans, or the events, heartbeats and values that its log records carry.
What was received is counted when it is delivered, each span and log record once: stored, seen before, none of the
journal's, or set aside. Knows no store and no folder; used by the drain's thread, but for what says otherwise.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from otel_agent_journal.codec import sealed
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import (
    BlobKept,
    Heartbeat,
    LogsReceived,
    Received,
    SpansReceived,
    StepEnded,
    StepOpen,
    encode_fact,
    events_of,
)
from otel_agent_journal.mapping.log_record import WriterHeard, carried, is_carried, log_records
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.projections.id_set import MASK, IdSet

_REMEMBERED_ITEMS: Final = 500_000  # by their ids, to tell what is received again
_REMEMBERED_WRITERS: Final = 100_000


Said = TypeVar("Said")


class ContentRules(Protocol):
    """What may be journaled of content, and where values over the limit go."""

    @property
    def content(self) -> bool:
        """Tell whether content is journaled."""
        ...

    def told(self, said: Said) -> Said:
        """Return a fact or an event as it may be journaled; itself, where nothing is to be changed."""
        ...

    def fitting(self, said: Said) -> tuple[Said, Sequence[BlobKept]]:
        """Return a fact or an event within the limit, and the values that it refers to from now on."""
        ...


class Counted(msgspec.Struct):
    """Spans and log records that were taken from the spool, by what became of them. Counters only grow.

    `recovered` of them were in the spool already when this process began; the others were received since.
    """

    stored: int = 0
    duplicate: int = 0
    left_out: int = 0
    set_aside: int = 0
    recovered: int = 0


class Taken(msgspec.Struct):
    """What records amount to, in the order in which it is to be delivered."""

    events: list[JournalEvent] = msgspec.field(default_factory=list[JournalEvent])
    heartbeats: list[tuple[str, Heartbeat]] = msgspec.field(default_factory=list[tuple[str, Heartbeat]])
    blobs: list[BlobKept] = msgspec.field(default_factory=list[BlobKept])
    unreadable: list[tuple[bytes, str]] = msgspec.field(default_factory=list[tuple[bytes, str]])
    items: list[str] = msgspec.field(default_factory=list[str])  # the event by which each span, each record is known
    left_out: int = 0
    set_aside: int = 0
    recovered: int = 0
    requests: list[int] = msgspec.field(default_factory=list[int])  # by when each was received


class Reception:
    """Reads what was received, and counts it.

    Args:
        spans: what knows the sessions of traces.
        began_ns: what was received before is counted as recovered.
        content: what may be journaled of content; None: everything, as it came.
        keep: called before anything is acknowledged, to write down what was learned of traces.
        delivered: told, by the writer of a spool folder and when they were received, which requests are in the store.
    """

    def __init__(
        self,
        spans: ReceivedSpans,
        *,
        began_ns: int,
        content: ContentRules | None = None,
        keep: Callable[[], object] = lambda: None,
        delivered: Callable[[str, Sequence[int]], None] | None = None,
    ) -> None:
        self._spans = spans
        self._began_ns = began_ns
        self._content = content
        self._keep = keep
        self._delivered = delivered
        self._recent = IdSet()
        self._older = IdSet()
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self.counted = Counted()

    def take(self, received: Received, writer: str, taken: Taken) -> None:
        """Add what a record amounts to. Never raises: what cannot be read is added as such."""
        try:
            if isinstance(received, SpansReceived):
                self._take_spans(received, writer, taken)
            else:
                self._take_logs(received, taken)
        except Exception as error:  # noqa: BLE001 - bytes that came from anywhere
            taken.unreadable.append((encode_fact(received), f"{type(error).__name__}: {error}"))
            taken.set_aside += 1  # how many spans there were is not known
        taken.requests.append(received.received_ns)

    def settle(self, taken: Taken, writer: str, refused: Collection[str]) -> None:
        """Count what is delivered, and tell. `refused`: the ids of events that were set aside."""
        if taken.requests:
            self._keep()
        counted = self.counted
        counted.recovered += taken.recovered
        counted.left_out += taken.left_out
        counted.set_aside += taken.set_aside
        for item in taken.items:
            if item in refused:
                counted.set_aside += 1
            elif self._is_new(item):
                counted.stored += 1
            else:
                counted.duplicate += 1
        if self._delivered is not None and taken.requests:
            self._delivered(writer, taken.requests)

    def _is_new(self, item: str) -> bool:
        """Tell whether an item was not delivered before, as far as is remembered, and remember it."""
        known = hash(item) & MASK
        if known in self._older or not self._recent.add(known):
            return False
        if len(self._recent) >= _REMEMBERED_ITEMS // 2:
            self._recent, self._older = IdSet(), self._recent
        return True

    def silent_s(self, writer: str) -> float | None:
        """Return for how long nothing came of a writer, or None where it was never heard of. From any thread."""
        with self._lock:
            at = self._heard.get(writer)
        return None if at is None else time.monotonic() - at

    def _take_spans(self, received: SpansReceived, writer: str, taken: Taken) -> None:
        facts, spans = self._spans.read(received)
        steps = 0
        for fact in facts:
            is_last = isinstance(fact, StepEnded | StepOpen)  # of the facts of a span
            steps += is_last
            try:
                events = events_of(self._reduced(fact, taken), writer)
            except Exception as error:  # noqa: BLE001 - one bad span never costs the batch
                taken.unreadable.append((encode_fact(fact), f"{type(error).__name__}: {error}"))
                taken.set_aside += is_last
                continue
            taken.events += events
            if is_last:
                taken.items.append(events[0].event_id)
        taken.left_out += spans - steps
        self._count_recovered(received, spans, taken)

    def _take_logs(self, received: LogsReceived, taken: Taken) -> None:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        records = log_records(ExportLogsServiceRequest.FromString(received.request))
        self._count_recovered(received, len(records), taken)
        for record in records:
            if not is_carried(record):
                taken.left_out += 1
                continue
            try:
                found = carried(record)
            except CodecError as error:
                taken.unreadable.append((encode_fact(_alone(record, received)), str(error)))
                taken.set_aside += 1
                continue
            match found:
                case JournalEvent():
                    self._take_event(found, received.received_ns, taken)
                case WriterHeard():
                    self._hear(found.writer)
                    beat = Heartbeat(found.timestamp_ns, found.sessions)
                    taken.heartbeats.append((found.writer, beat))
                    taken.items.append(f"{found.writer}:{found.timestamp_ns}")
                case BlobKept():
                    if self._content is None or self._content.content:
                        taken.blobs.append(found)
                    taken.items.append(f"{found.session_id}:{found.digest}")

    def _take_event(self, event: JournalEvent, received_ns: int, taken: Taken) -> None:
        if event.writer:
            self._hear(event.writer)
        if event.trace_id and event.trace_id != event.session_id:
            self._spans.told(event.trace_id, event.session_id, received_ns)
        reduced = self._reduced(event, taken)
        taken.events.append(event if reduced is event else sealed(reduced))
        taken.items.append(event.event_id)

    def _reduced(self, said: Said, taken: Taken) -> Said:
        if self._content is None:
            return said
        said, blobs = self._content.fitting(self._content.told(said))
        taken.blobs += blobs
        return said

    def _count_recovered(self, received: Received, items: int, taken: Taken) -> None:
        if received.received_ns < self._began_ns:
            taken.recovered += items

    def _hear(self, writer: str) -> None:
        with self._lock:
            self._heard[writer] = time.monotonic()
            self._heard.move_to_end(writer)
            if len(self._heard) > _REMEMBERED_WRITERS:
                self._heard.popitem(last=False)


def _alone(record: Any, received: LogsReceived) -> LogsReceived:
    """Return a request for one of a request's records."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request: Any = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.append(record)
    return LogsReceived(received.received_ns, request.SerializeToString())


def new_reception() -> Reception:
    """Return one with the defaults, for a drain that comes upon what a receiver left."""
    return Reception(ReceivedSpans(), began_ns=time.time_ns())
