"""The numbered events of an agent instance: read once, known from then on, appended under the number that comes next.

What was read is kept in memory, so that a call costs what is new. A snapshot of ranges in the store spares the next
process the past; it is a cache, believed where the event that it ends with is there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import decode_value, encode_value, sealed
from otel_agent_journal.context.held import body_of
from otel_agent_journal.context.history import MESSAGES, REDACTED, STATE, History, Snapshot, TooEarly, ranges_of
from otel_agent_journal.context.messages import Draft, placed, put_together, taken_apart
from otel_agent_journal.errors import CodecError, ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent, derived_id, time_ordered_id
from otel_agent_journal.store import lineage
from otel_agent_journal.store.protocol import Blob, BlobStore, Document, DocumentStore, JournalStore, of_session

SNAPSHOT_EVERY: Final = 256  # events between two snapshots in the store
GONE: Final = "[not kept any more]"
_NEAR: Final = 16  # events in which one that is held is settled, most often


class ContextLog:
    """The events of one instance, those of the instances that it was forked from in front of its own. Not thread-safe.

    Args:
        store: where the journal lives; it must keep contexts.
        instance_id: the agent instance.
        session_id: the session of an instance that is not there yet; its own id by default.
        agent: what the first event of an instance says of it.
    """

    def __init__(self, store: JournalStore, instance_id: str, session_id: str | None, agent: Mapping[str, str]) -> None:
        self.store = store
        self.instance_id = instance_id
        self.history = History()
        self._session_id = session_id
        self._agent = agent
        self._bases: tuple[tuple[str, int], ...] = ()  # what it was forked from, and how many events of each
        self._said: dict[int, tuple[str, Mapping[str, Any]]] = {}  # type and details of what was read
        self._numbers: dict[str, int] | None = None  # of the events, by their ids, from when a caller first gives one
        self._last_ns = 0
        self._read_from = 0  # events before that number are read when they are asked for
        self._snapshot_at = 0
        self._blobs = store if isinstance(store, BlobStore) and store.capabilities.blobs else None
        self.loaded = False

    @property
    def session_id(self) -> str:
        """The session that the instance is in, as far as is known by now."""
        return self._session_id or self.instance_id

    @property
    def count(self) -> int:
        """How many events are known."""
        return self.history.next_number

    # --- reading ---

    def refresh(self) -> None:
        """Take in what has been written since, by anybody."""
        if not self.loaded:
            self._load()
        for event in self.store.read_context(self.instance_id, self.count - self._before()):
            self._take(event)

    def history_at(self, at: int | None) -> History:
        """Return the history, from the beginning where an earlier number is asked for than its snapshot's."""
        if at is not None:
            if not 0 <= at <= self.count:
                raise StoreError(f"instance {self.instance_id} has {self.count} events, not {at}")
            try:
                self.history.view(at)
            except TooEarly:
                self._load(from_snapshot=False)
                self.refresh()
        return self.history

    def said(self, numbers: Iterable[int]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        """Yield number, type and whole details of those of these events that are messages or changes.

        One whose body another of them has by now is left out, and else has it from where it is.
        """
        wanted = list(numbers)
        missing = sorted({number for number in wanted if number not in self._said and number < self._read_from})
        for first, last in ranges_of(missing):
            for number, event in self.events(first, last):
                self._said[number] = (event.type, event.details)
        known = [number for number in wanted if number in self._said]
        settled: dict[Any, int] = {}
        for number in known:
            by = self._said[number][1].get("settles")
            if by is not None:
                settled.setdefault(by, number)
        for number in known:
            details = self._said[number][1]
            if "held" in details:
                if number not in settled:
                    yield number, self._said[number][0], self._with_body(number, details)
            elif "settles" not in details or settled[details["settles"]] == number:
                yield number, *self._whole_of(number)

    def forget(self) -> None:
        """Keep nothing of what was said: it is read again where it is asked for."""
        self._said.clear()
        self._read_from = self.count

    def events(self, first: int, last: int) -> Iterator[tuple[int, JournalEvent]]:
        """Yield events by their numbers, the last not included, from wherever they are."""
        begin = 0
        for instance_id, count in (*self._bases, (self.instance_id, max(0, last - self._before()))):
            end = begin + count
            if first < end and last > begin:
                low = max(first, begin)
                found = self.store.read_context(instance_id, low - begin, limit=min(last, end) - low)
                yield from enumerate(found, low)
            begin = end

    def whole(self, number: int, event: JournalEvent) -> JournalEvent:
        """Return an event with what was kept apart in its place."""
        if "held" in event.details:
            return msgspec.structs.replace(event, details=self._with_body(number, event.details))
        return msgspec.structs.replace(event, details=self._whole(event.details, event.session_id))

    def place_of(self, count: int) -> tuple[str, int]:
        """Return the instance whose own events the first `count` end in, and how many of its own that are."""
        begin = 0
        for instance_id, own in self._bases:
            if count <= begin + own:
                return instance_id, count - begin
            begin += own
        return self.instance_id, count - begin

    def _before(self) -> int:
        """How many events there are of the bases."""
        return sum(count for _, count in self._bases)

    def _load(self, *, from_snapshot: bool = True) -> None:
        self._bases = tuple(lineage.bases(self.store, self.instance_id))
        tip = self.store.context_tip(self.instance_id)
        if tip is not None:
            self._session_id = tip.session_id
        snapshot = self._snapshot() if from_snapshot and tip is not None else None
        self.history = History(snapshot)
        self._read_from = self._snapshot_at = self.count
        if snapshot is None:
            for base, count in self._bases:
                for event in self.store.read_context(base, limit=count):
                    self._take(event)
        self.loaded = True

    def _take(self, event: JournalEvent) -> None:
        number = self.count
        try:
            self.history.apply(event)
        except TooEarly:  # a rewind past the snapshot
            self._load(from_snapshot=False)
            for later in self.store.read_context(self.instance_id, self.count - self._before()):
                self._take(later)
                if later.event_id == event.event_id:
                    return
            return
        self._last_ns = max(self._last_ns, event.timestamp_ns)
        if self._numbers is not None:
            self._numbers[event.event_id] = number
        if event.type in MESSAGES or event.type in (STATE, REDACTED):
            self._said[number] = (event.type, event.details)

    def _whole_of(self, number: int) -> tuple[str, Mapping[str, Any]]:
        kind, details = self._said[number]
        if "apart" in details:
            details = self._whole(details, self._session_of(number))
            self._said[number] = (kind, details)
        return kind, details

    def _whole(self, details: Mapping[str, Any], session_id: str) -> dict[str, Any]:
        store = self.store
        return put_together(
            details, lambda digests: store.get_blobs(session_id, digests) if isinstance(store, BlobStore) else {}
        )

    def _with_body(self, number: int, details: Mapping[str, Any]) -> dict[str, Any]:
        """Return the details of an event whose body is in a document, or in the event that settles it, with that."""
        session_id = self._session_of(number)
        message = body_of(self.store, session_id, details["held"]) or self._settled(number)
        if message is None:  # settled between the two
            self.refresh()
            message = self._settled(number) or {"role": details.get("role"), "content": [{"text": GONE}]}
        return {**details, "message": message}

    def _settled(self, number: int) -> dict[str, Any] | None:
        """Return the message of an event that was settled, of what is known or of what came later in its instance."""
        instance_id, own = self.place_of(number + 1)
        for limit in (_NEAR, None):  # most are settled by the next event
            found: list[tuple[int, str, Mapping[str, Any]]] = []
            for offset, event in enumerate(self.store.read_context(instance_id, own, limit=limit), number + 1):
                if event.details.get("settles") == number or (found and event.details.get("part") is True):
                    found.append((offset, event.type, self._whole(event.details, event.session_id)))
                elif found:
                    return next(placed(found)).message
            if limit is None and found:
                return next(placed(found)).message
        return None

    def _session_of(self, number: int) -> str:
        """Return the session of the instance that wrote an event, where its blobs are."""
        instance_id = self.place_of(number + 1)[0]
        if instance_id == self.instance_id:
            return self.session_id
        tip = self.store.context_tip(instance_id)
        return instance_id if tip is None else tip.session_id

    # --- appending ---

    def append(self, drafts: list[Draft], ids: Mapping[int, str]) -> bool:
        """Append events behind what is known, as many at once as the store takes; return whether nobody else was first.

        Args:
            drafts: what is to be appended.
            ids: of those that have one of the caller's, by their places.
        """
        events = self._events_of(drafts, ids)
        size = self.store.capabilities.max_context_events or len(events)
        if not all(self._appended(events[at : at + size]) for at in range(0, len(events), size)):
            return False
        self._keep_snapshot(events[-1].event_id)
        return True

    def id_of(self, message_id: str) -> str:
        """Return the id of the event that has one of the caller's."""
        return derived_id(f"context:{self.instance_id}:{message_id}")

    def number_of(self, message_id: str) -> int | None:
        """Return the number of the message of an id that is there already."""
        if self._numbers is None:
            self._numbers = {event.event_id: number for number, event in self.events(0, self.count)}
        return self._numbers.get(self.id_of(message_id))

    def _appended(self, events: list[JournalEvent]) -> bool:
        try:
            self.store.append_context(self.instance_id, events[0].seq or 0, events)
        except (WrongExpectedSequence, ConflictError):  # a conflict: by somebody with the same `message_id`
            return False
        for event in events:
            self._take(event)
        return True

    def _events_of(self, drafts: list[Draft], ids: Mapping[int, str]) -> list[JournalEvent]:
        """Return what is to be appended, its blobs in the store."""
        own, blobs = self.count - self._before(), dict[str, Blob]()
        events: list[JournalEvent] = []
        for index, draft in enumerate(drafts):
            now_ns = self._last_ns = max(time.time_ns(), self._last_ns + 1)
            details = draft.details if self._blobs is None else taken_apart(draft.details, blobs)
            details = cast("dict[str, Any]", decode_value(encode_value(details)))  # as every process will read it
            if self._agent and own + index == 0:
                details["agent"] = dict(self._agent)
            event = JournalEvent(
                session_id=self.session_id,
                event_id=ids.get(index) or time_ordered_id(now_ns, os.urandom(10)),
                type=draft.type,
                timestamp_ns=now_ns,
                name=draft.name,
                instance_id=self.instance_id,
                seq=own + index,
                details=details,
            )
            events.append(sealed(event))
        if blobs and self._blobs is not None:
            self._blobs.put_blobs(self.session_id, blobs)
        return events

    # --- snapshots ---

    def _document(self) -> Document | None:
        if not isinstance(self.store, DocumentStore) or not self.store.capabilities.documents:
            return None
        return self.store.get_document(of_session(self.session_id), self._name())

    def _name(self) -> str:
        return f"context/{self.instance_id}"

    def _snapshot(self) -> Snapshot | None:
        document = self._document()
        if document is None or not document.data:
            return None
        try:
            kept = cast("dict[str, Any]", decode_value(document.data))
            last = next(self.events(int(kept["next"]) - 1, int(kept["next"])), None)
            if last is None or last[1].event_id != kept["last"]:
                return None  # of a session that was deleted, and has begun anew
            self._last_ns = last[1].timestamp_ns
            ranges = tuple((int(first), int(end)) for first, end in kept["view"])
            redactions = {int(number): int(by) for number, by in kept["redactions"]}
            return Snapshot(int(kept["next"]), ranges, tuple(map(int, kept["changes"])), redactions)
        except (CodecError, KeyError, TypeError, ValueError):
            return None  # it is a cache: what cannot be read is made anew

    def _keep_snapshot(self, last: str) -> None:
        """Write down what is in view, now and then; where that fails what was appended is there all the same."""
        if self.count - self._snapshot_at < SNAPSHOT_EVERY:
            return
        now, store = self.history.snapshot(), self.store
        self._snapshot_at = now.next_number
        if not isinstance(store, DocumentStore) or not store.capabilities.documents:
            return
        kept = {
            "next": now.next_number,
            "last": last,
            "view": now.view,
            "changes": now.changes,
            "redactions": list(now.redactions.items()),
        }
        with suppress(StoreError):
            known = self._document()
            version = 0 if known is None else known.version
            scope, name = of_session(self.session_id), self._name()
            store.put_document(Document(scope=scope, name=name, data=encode_value(kept), version=version))
