"""Heads, replaced by compare-and-set, and their listing, newest first without reading events.

A head's place in the listing is an empty object whose name says time, status and session. It is written before the
head, which names it, and the one before is deleted after: what a crash leaves over is named by no head and passed over.
The snapshot stands on a line of its own behind the head, so that listings need not fetch it. A head that was deleted
leaves an empty one, since S3 deletes under no condition.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count, groupby
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.keys import session_of
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import is_wanted, merged_writers
from otel_agent_journal_s3.layout import PART, Layout, Listed, key_of, slot_of
from otel_agent_journal_s3.objects import Bucket, Stored
from otel_agent_journal_s3.segments import place_of_cursor
from otel_agent_journal_s3.settling import Settling

_CACHED: Final = 1000
_MORE: Final = 20  # places looked at beyond those that are wanted: a slot is read to its end
_TEXTS: Final = ("session_id", "status", "reason", "agent", "stage", "part_of", "forked_from")
_LISTED_BYTES: Final = 16 * 1024  # of an object, in which the head is but for one with hundreds of writers


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `head.json`; `by` tells the attempts of one writer from those of others."""

    head: SessionHead | None = None
    listed: str = ""
    by: str = ""


class Found(NamedTuple):
    """A head as it was found or written: without its snapshot where that was not asked for."""

    stored: _Stored
    etag: str

    @property
    def version(self) -> int:
        """The version over which the next one is written."""
        return self.stored.head.version if self.stored.head else 0


class Heads:
    """The heads of a store. Thread-safe."""

    def __init__(self, bucket: Bucket, layout: Layout, settling: Settling) -> None:
        self._bucket = bucket
        self._layout = layout
        self._settling = settling
        self._last: OrderedDict[str, Found] = OrderedDict()  # those written here, without snapshots

    def head(self, session_id: str) -> SessionHead | None:
        """Return a session's head, or None where there is none yet."""
        found = self.find(key_of(session_id))
        return found.stored.head if found else None

    def find(self, key: str) -> Found | None:
        """Return what there is of a session's head, also if it was deleted."""
        return _found(self._bucket.get(self._layout.head(key)))

    def write(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head over the version it was read at; None where another writer was first."""
        key = key_of(head.session_id)
        found = self._last.get(key)
        if head.version and (found is None or found.version != head.version):
            found = self.find(key)
        elif not head.version:
            found = None  # whether there is one shows as it is written
        if head.version != (found.version if found else 0):
            return None
        stored = found.stored.head if found else None
        writers = merged_writers(stored, head)
        written = _with_valid_text(msgspec.structs.replace(head, writers=writers, version=head.version + 1))
        if stored is not None and _may_know_less(written, stored):
            self._settling.mark(key, head.session_id)
        in_place = found is not None and stored is not None and _same_place(stored, written)
        listed = found.stored.listed if found and in_place else self._list(key, written)
        if not self._put(key, _Stored(head=written, listed=listed, by=uuid.uuid4().hex), found):
            return None
        if found is not None and found.stored.listed not in ("", listed):
            self._bucket.delete([self._name(found.stored.listed)])
        return written

    def delete(self, key: str, found: Found) -> None:
        """Delete the head of a session whose events are gone, and its place in the listing.

        One that was written over it meanwhile goes too, since it may count what is gone: what it knew besides is found
        without it.
        """
        self._last.pop(key, None)
        deleted = _Stored(by=uuid.uuid4().hex)
        there = found
        while there.stored.head is not None:
            put = self._bucket.put_over(self._layout.head(key), _body_of(deleted), there.etag)
            now = self.find(key) if put is None else None
            if now is None or now.stored.by == deleted.by:
                self._bucket.delete([self._name(there.stored.listed)])
                return
            self._settling.mark(key, there.stored.head.session_id)
            there = now

    def sessions(self, wanted: SessionFilter) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, the latest updated first.

        A session that is updated while the listing is under way, and was not reached yet, comes at its end.
        """
        seen: set[str] = set()
        moved: dict[str, SessionHead] = {}
        left = wanted.limit if wanted.limit is not None else -1
        listed: set[str] = set()  # what the next pass passes over
        oldest: int | None = None
        # What moves may go to any place that was passed, of a killed agent days late. Hence a second pass down to the
        # last place; from then on they go over the newest alone, for what moved again, until there is none.
        for number in count(1):
            now, newest = slot_of(time.time_ns()), None
            for slot in self._slots(wanted, oldest, listed):
                newest = min(slot[0][1].slot, now) if newest is None else newest  # a head may be dated in the future
                listed.update(name for name, _ in slot)
                for head in self._heads_of(slot, moved):
                    if left and head.session_id not in seen and is_wanted(head, wanted):
                        seen.add(head.session_id)
                        left -= 1
                        yield head
                if not left:
                    return
            if newest is None or not left:
                break
            oldest = None if number == 1 else newest
        for head in sorted(moved.values(), key=_newest_first):
            if left and head.session_id not in seen and is_wanted(head, wanted):
                left -= 1
                yield head

    def _slots(self, wanted: SessionFilter, oldest: int | None, listed: set[str]) -> Iterator[list[tuple[str, Listed]]]:
        """Yield the places that may be wanted, a slot of time at a time, down to the oldest, but for those listed."""
        after = self._layout.listed_from(wanted.until_ns) if wanted.until_ns is not None else ""
        statuses = {key_of(status) for status in wanted.statuses}

        def places() -> Iterator[tuple[str, Listed]]:
            few = {} if wanted.limit is None else {"few": wanted.limit + _MORE}
            for item in self._bucket.list(self._layout.listing, after, **few):
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
        for name, stored in self._bucket.each(lambda one: (one[0], self._listed(one[1].key)), slot):
            if stored is None or stored.head is None:
                continue
            if self._name(stored.listed) == name:
                heads.append(stored.head)
            else:
                moved[stored.head.session_id] = stored.head
        return sorted(heads, key=_newest_first)

    def _listed(self, key: str) -> _Stored | None:
        """Return a head without its snapshot, which is not fetched unless the head is large itself."""
        read = self._bucket.get_first(self._layout.head(key), _LISTED_BYTES)
        if read is not None and b"\n" not in read.data:
            read = self._bucket.get(self._layout.head(key))
        return None if read is None else _decode_head(read.data.partition(b"\n")[0])

    def _list(self, key: str, head: SessionHead) -> str:
        name = self._layout.listed(key, _listed_as(head), head.updated_ns, head.version)
        self._bucket.put(name)
        return name.removeprefix(self._layout.listing)

    def _name(self, listed: str) -> str:
        return self._layout.listing + listed

    def _put(self, key: str, made: _Stored, over: Found | None) -> bool:
        name, data = self._layout.head(key), _body_of(made)
        put = self._bucket.put_over(name, data, over.etag) if over else self._bucket.put_new(name, data)
        if put is not None:
            self._keep(key, made, put.etag)
            return True
        found = self.find(key)
        if found is not None and found.stored.by == made.by:
            self._keep(key, made, found.etag)  # an attempt of ours, whose answer was lost
            return True
        if found is not None and over is None and found.stored.head is None:
            return self._put(key, made, found)
        self._last.pop(key, None)
        if found is None or found.stored.listed != made.listed:
            self._bucket.delete([self._name(made.listed)])
        return False

    def _keep(self, key: str, made: _Stored, etag: str) -> None:
        assert made.head is not None
        head = msgspec.structs.replace(made.head, snapshot=b"")
        self._last.pop(key, None)  # to the end, also where it is deleted meanwhile
        self._last[key] = Found(msgspec.structs.replace(made, head=head), etag)
        while len(self._last) > _CACHED:
            self._last.popitem(last=False)


_decode_head: Final = msgspec.json.Decoder(_Stored).decode
_decode_snapshot: Final = msgspec.json.Decoder(bytes).decode


def _body_of(stored: _Stored) -> bytes:
    snapshot = stored.head.snapshot if stored.head else b""
    head = msgspec.structs.replace(stored.head, snapshot=b"") if stored.head else None
    first = msgspec.json.encode(msgspec.structs.replace(stored, head=head))
    return first + b"\n" + msgspec.json.encode(snapshot) + b"\n"


DELETED_BYTES: Final = len(_body_of(_Stored(by=uuid.uuid4().hex)))  # of what is left of a head that was deleted


def _found(stored: Stored | None) -> Found | None:
    if stored is None:
        return None
    first, _, second = stored.data.partition(b"\n")
    found = _decode_head(first)
    if found.head is not None:
        found = msgspec.structs.replace(
            found, head=msgspec.structs.replace(found.head, snapshot=_decode_snapshot(second))
        )
    return Found(found, stored.etag)


def _may_know_less(head: SessionHead, stored: SessionHead) -> bool:
    """Tell whether a head has fewer of its session's events than the one before, or does not say which."""
    before = place_of_cursor(stored.cursor or "")
    return before is not None and (place_of_cursor(head.cursor or "") or ()) < before


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
