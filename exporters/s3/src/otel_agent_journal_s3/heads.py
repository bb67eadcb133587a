"""Heads, replaced by compare-and-set, and their listing, newest first without reading events.

A head's place in the listing is an empty object whose name says time, status and session. It is written before the
head, which names it, and the one before is deleted after: what a crash leaves over is named by no head and passed over.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from itertools import groupby
from typing import Final

import msgspec

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.keys import session_of
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import is_wanted, merged_writers
from otel_agent_journal_s3.layout import PART, Layout, Listed, key_of, slot_of
from otel_agent_journal_s3.objects import Bucket

_CACHED: Final = 1000
_TEXTS: Final = ("session_id", "status", "reason", "agent", "stage", "part_of")


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `head.json`; `by` tells the attempts of one writer from those of others."""

    head: SessionHead
    listed: str
    by: str


class Heads:
    """The heads of a store. Thread-safe."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout
        self._last: OrderedDict[str, tuple[_Stored, str]] = OrderedDict()  # those written here, and their ETags

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        found = self._read(key_of(session_id))
        return found[0].head if found else None

    def write(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; None where another writer was first."""
        key = key_of(head.session_id)
        found = self._last.get(key)
        if head.version and (found is None or found[0].head.version != head.version):
            found = self._read(key)
        elif not head.version:
            found = None  # whether there is one shows as it is written
        stored = found[0].head if found else None
        if head.version != (stored.version if stored else 0):
            return None
        writers = merged_writers(stored, head)
        written = _with_valid_text(msgspec.structs.replace(head, writers=writers, version=head.version + 1))
        listed = found[0].listed if found and stored and _same_place(stored, written) else self._list(key, written)
        made = _Stored(head=written, listed=listed, by=uuid.uuid4().hex)
        if not self._put(key, made, found[1] if found else None):
            return None
        if found is not None and found[0].listed != listed:
            self._bucket.delete([self._name(found[0].listed)])
        return written

    def delete(self, head: SessionHead) -> None:
        """Delete a session's head, if it is this one still, and its place in the listing."""
        key = key_of(head.session_id)
        found = self._read(key)
        self._last.pop(key, None)
        if found is not None and found[0].head == head:
            self._bucket.delete([self._layout.head(key), self._name(found[0].listed)])

    def sessions(self, wanted: SessionFilter) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first.

        A session that is updated while the listing is under way, and was not reached yet, comes at its end.
        """
        seen: set[str] = set()
        moved: dict[str, SessionHead] = {}
        left = wanted.limit if wanted.limit is not None else -1
        listed: set[str] = set()  # what the next pass passes over
        oldest: int | None = None
        while left:
            now, newest = slot_of(time.time_ns()), None
            for slot in self._slots(wanted, oldest, listed):
                at = slot[0][1].slot
                newest = min(at, now) if newest is None else newest  # a head may be dated in the future
                if at >= newest:
                    listed.update(name for name, _ in slot)
                for head in self._heads_of(slot, moved):
                    if left and head.session_id not in seen and is_wanted(head, wanted):
                        seen.add(head.session_id)
                        left -= 1
                        yield head
                if not left:
                    return
            if newest is None:
                break
            oldest = newest
        for head in sorted(moved.values(), key=_newest_first):
            if left and head.session_id not in seen and is_wanted(head, wanted):
                left -= 1
                yield head

    def _slots(self, wanted: SessionFilter, oldest: int | None, listed: set[str]) -> Iterator[list[tuple[str, Listed]]]:
        """Yield the places that may be wanted, a slot of time at a time, down to the oldest, but for those listed."""
        after = self._layout.listed_from(wanted.until_ns) if wanted.until_ns is not None else ""
        statuses = {key_of(status) for status in wanted.statuses}

        def places() -> Iterator[tuple[str, Listed]]:
            for item in self._bucket.list(self._layout.listing, after):
                place = self._layout.place(item.name)
                if place is None or item.name in listed:
                    continue
                if oldest is not None and place.slot < oldest:
                    return
                if wanted.since_ns is not None and place.slot < slot_of(wanted.since_ns):
                    return
                chosen = wanted.parts if place.status == PART else not statuses or place.status in statuses
                if chosen and _may_start_with(place.key, wanted.id_prefix):
                    yield item.name, place

        for _, slot in groupby(places(), key=lambda one: one[1].slot):
            yield list(slot)

    def _heads_of(self, slot: list[tuple[str, Listed]], moved: dict[str, SessionHead]) -> list[SessionHead]:
        """Return the heads that name these places, the latest updated first.

        The others go to `moved`: to a place that may have been passed already, or this one was left over.
        """
        heads: list[SessionHead] = []
        for name, read in self._bucket.each(lambda one: (one[0], self._read(one[1].key)), slot):
            if read is None:
                continue
            if self._name(read[0].listed) == name:
                heads.append(read[0].head)
            else:
                moved[read[0].head.session_id] = read[0].head
        return sorted(heads, key=_newest_first)

    def _read(self, key: str) -> tuple[_Stored, str] | None:
        stored = self._bucket.get(self._layout.head(key))
        return None if stored is None else (msgspec.json.decode(stored.data, type=_Stored), stored.etag)

    def _list(self, key: str, head: SessionHead) -> str:
        name = self._layout.listed(key, _listed_as(head), head.updated_ns, head.version)
        self._bucket.put(name)
        return name.removeprefix(self._layout.listing)

    def _name(self, listed: str) -> str:
        return self._layout.listing + listed

    def _put(self, key: str, made: _Stored, etag: str | None) -> bool:
        name, data = self._layout.head(key), msgspec.json.encode(made)
        put = self._bucket.put_new(name, data) if etag is None else self._bucket.put_over(name, data, etag)
        if put is None:
            found = self._read(key)
            if found is None or found[0].by != made.by:
                self._last.pop(key, None)
                if found is None or found[0].listed != made.listed:
                    self._bucket.delete([self._name(made.listed)])
                return False
            self._keep(key, made, found[1])  # an attempt of ours, whose answer was lost
        else:
            self._keep(key, made, put.etag)
        return True

    def _keep(self, key: str, made: _Stored, etag: str) -> None:
        self._last[key] = made, etag
        self._last.move_to_end(key)
        while len(self._last) > _CACHED:
            self._last.popitem(last=False)


def _newest_first(head: SessionHead) -> tuple[int, str]:
    return -head.updated_ns, head.session_id


def _listed_as(head: SessionHead) -> str:
    return head.status if head.part_of is None else PART


def _same_place(stored: SessionHead, head: SessionHead) -> bool:
    return _listed_as(stored) == _listed_as(head) and slot_of(stored.updated_ns) == slot_of(head.updated_ns)


def _may_start_with(key: str, prefix: str | None) -> bool:
    session_id = session_of(key)
    return not prefix or session_id is None or session_id.startswith(valid_text(prefix))


def _with_valid_text(head: SessionHead) -> SessionHead:
    texts = {field: getattr(head, field) for field in _TEXTS}
    changed = {field: valid_text(text) for field, text in texts.items() if text is not None}
    return msgspec.structs.replace(head, **changed)
