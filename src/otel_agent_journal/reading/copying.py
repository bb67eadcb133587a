"""A journal from one store into another, whatever the two are: events as they arrived, blobs before what names them.

Works a page at a time and can be broken off between any two calls: all that it writes is idempotent, and a page is
yielded with its cursor only when it is in the target. Where that cursor is kept, and how often a store that does not
answer is tried, is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import Any, Final, TypeVar, cast

import msgspec

from otel_agent_journal.errors import EventTooLarge, UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.media import BLOB, WITHIN
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading.writing import EventWriter, runs_of, sequence_of
from otel_agent_journal.store.protocol import BlobStore, JournalStore, PutByOthers
from otel_agent_journal.store.rules import current, merged_writers

PAGE_EVENTS: Final = 500
_HEAD_TRIES: Final = 5
_KNOWN_BLOBS: Final = 10_000  # that were just copied, and are not asked for again
_BLOBS_TOGETHER: Final = 16  # in one call: a large one is a megabyte

Result = TypeVar("Result")
Insist = Callable[[Callable[[], Result]], Result]


class CopiedPage(msgspec.Struct, frozen=True, kw_only=True):
    """What one page brought into the target, and the cursor of the source behind it.

    `last` is the key of the last of its events that both have, None where the target can take none of them.
    """

    cursor: str
    last: tuple[str, int, str] | None
    events: int
    blobs: int
    sessions: frozenset[str]
    too_large: tuple[EventTooLarge, ...] = ()


class CopiedOthers(msgspec.Struct, frozen=True):
    """What other programs put into a session, and is in the target now."""

    events: int = 0
    blobs: int = 0
    too_large: tuple[EventTooLarge, ...] = ()


class StoreCopy:
    """Copies from `source` to `target`. `insist` makes each call to either, and may try it again."""

    def __init__(self, source: JournalStore, target: JournalStore, *, insist: Insist[Any]) -> None:
        self._source = source
        self._target = target
        self._insist = insist
        self._writer = EventWriter(target, insist=insist)
        self._heads = self._writer.heads
        self._known_blobs: set[tuple[str, str]] = set()

    def events(self, cursor: str | None) -> Iterator[CopiedPage]:
        """Copy all events after a cursor, and yield each page once it is in the target.

        Session events of a page are written before its context events, so that both go in batches: the order in which
        events arrived is kept from page to page, and within each kind.

        Raises:
            ConflictError: the target has an event of that id, or of that place in an instance, with another content.
            UnsupportedByStore: the target cannot keep what the source holds.
        """
        while True:
            page = self._insist(lambda after=cursor: self._source.follow(after, limit=PAGE_EVENTS))
            if not page.events:
                return
            blobs = self._copy_blobs(page.events)
            too_large = self._writer.append([event for event in page.events if event.seq is None])
            for instance_id, run in runs_of(event for event in page.events if event.seq is not None):
                self._writer.append_context(instance_id, run, self._earlier)
            cursor = page.cursor
            left_out = {error.event_id for error in too_large}
            yield CopiedPage(
                cursor=page.cursor,
                last=next((event.key for event in reversed(page.events) if event.event_id not in left_out), None),
                events=len(page.events),
                blobs=blobs,
                sessions=frozenset(event.session_id for event in page.events),
                too_large=too_large,
            )

    def put_by_others(self, session_id: str) -> CopiedOthers:
        """Copy what other programs put into a session of the source, which `events` does not come by."""
        source = self._source
        if not isinstance(source, PutByOthers):
            return CopiedOthers()
        return self._insist(lambda: self._copy_others(source.put_by_others(session_id)))

    def _copy_others(self, events: Iterator[JournalEvent]) -> CopiedOthers:
        copied = CopiedOthers()
        while batch := list(islice(events, PAGE_EVENTS)):
            blobs, too_large = self._copy_blobs(batch), self._writer.append(batch)
            copied = CopiedOthers(copied.events + len(batch), copied.blobs + blobs, copied.too_large + too_large)
        return copied

    def heads(self, heads: Iterable[SessionHead]) -> int:
        """Write the heads of what was copied, and return how many of these sessions had to have theirs written.

        A head is made of the events that the target has; of the source's it takes when writers were heard of.
        """
        before = self._heads.written
        self._heads.write()
        return self._heads.written - before + sum(self.head(head) for head in heads)

    def head(self, head: SessionHead) -> bool:
        """Bring the target's head of one session up to its events; return whether it had to be written."""
        for _ in range(_HEAD_TRIES):
            stored = self._insist(lambda: self._target.head(head.session_id))
            now = self._insist(lambda stored=stored: current(self._target, head.session_id, stored))
            if now is None:
                return False
            writers = merged_writers(head, now)
            if now is stored and now.writers == writers:
                return False
            written = msgspec.structs.replace(now, writers=writers)
            if self._insist(lambda head=written: self._target.write_head(head)) is not None:
                return True
        return False  # somebody else is writing it all the time, and from the same events

    def _earlier(self, instance_id: str, first: int, last: int) -> list[JournalEvent]:
        """Return events of an instance that the source gives later, though they come first."""
        return self._insist(lambda: sequence_of(self._source, instance_id, first, last))

    def _copy_blobs(self, events: Sequence[JournalEvent]) -> int:
        """Copy the values that events refer to, with their media types; return how many were there to be copied."""
        source, target = self._source, self._target
        if not isinstance(source, BlobStore) or not source.capabilities.blobs:
            return 0
        wanted: dict[str, dict[str, None]] = {}
        for event in events:
            for digest in blobs_of(event.details):
                if (event.session_id, digest) not in self._known_blobs:
                    wanted.setdefault(event.session_id, {})[digest] = None
        copied = 0
        for session_id, named in wanted.items():
            digests = list(named)
            for start in range(0, len(digests), _BLOBS_TOGETHER):
                some = digests[start : start + _BLOBS_TOGETHER]
                # What is not there was lost before, or is a key of the user's own that looks like a reference.
                found = self._insist(lambda: source.get_blobs(session_id, some))  # noqa: B023 - done before the next
                if not found:
                    continue
                if not isinstance(target, BlobStore) or not target.capabilities.blobs:
                    raise UnsupportedByStore(target.url, "blobs")
                self._insist(lambda: target.put_blobs(session_id, found))  # noqa: B023 - done before the next
                copied += len(found)
                if len(self._known_blobs) >= _KNOWN_BLOBS:
                    self._known_blobs.clear()
                self._known_blobs.update((session_id, digest) for digest in found)
        return copied


def has_event(store: JournalStore, key: tuple[str, int, str]) -> bool:
    """Tell whether a store has the event of a key."""
    session_id, timestamp_ns, _ = key
    found = store.read(session_id, (timestamp_ns, ""))
    return any(event.key == key for event in takewhile(lambda event: event.timestamp_ns == timestamp_ns, found))


def blobs_of(value: Any) -> Iterator[str]:
    """Yield the digests of the values kept apart that some details refer to, however deep."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        digest = mapping.get(BLOB)
        if isinstance(digest, str):
            yield digest
            within: Any = mapping.get(WITHIN)
            yield from cast("list[str]", within) if isinstance(within, list) else ()
            return
        for item in mapping.values():
            yield from blobs_of(item)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[Any]", value):
            yield from blobs_of(item)
