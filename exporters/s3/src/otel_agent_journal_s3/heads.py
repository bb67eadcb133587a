"""Heads, replaced by compare-and-set, and their listing, newest first without reading events.

A head names its place in the listing (`listing`). The snapshot stands on a line of its own behind the head, so that
listings need not fetch it. A head that was deleted leaves one that says so, since S3 deletes under no condition: what a
listing needs of it stays in it, so that a deletion which is broken off is found at its place, and repeated.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count, groupby
from typing import Any, Final, NamedTuple

import msgspec

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import is_wanted, merged_writers
from otel_agent_journal_s3.layout import Layout, key_of
from otel_agent_journal_s3.listing import Listing, Place, name_of, slot_of, stays
from otel_agent_journal_s3.objects import AT_ONCE, Bucket, Stored
from otel_agent_journal_s3.passing import Passing
from otel_agent_journal_s3.segments import place_of_cursor
from otel_agent_journal_s3.settling import Settling

_CACHED: Final = 1000
_MORE: Final = 20  # places looked at beyond those that are wanted: a slot is read to its end
_MOST_AT_ONCE: Final = 64  # heads that are fetched before the first of them is given
_TEXTS: Final = ("session_id", "status", "reason", "agent", "stage", "part_of", "forked_from")
_KEPT: Final = ("session_id", "status", "updated_ns", "part_of", "version", "cursor")  # of one that is deleted
_LISTED_BYTES: Final = 16 * 1024  # of an object, in which the head is but for one with hundreds of writers


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `head.json`.

    `listed`: the name of its place. `by` tells the attempts of one writer from those of others. `deleted`: what is kept
    of a head that there is no more.
    """

    head: SessionHead | None = None
    listed: str = ""
    by: str = ""
    deleted: SessionHead | None = None


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

    def __init__(self, bucket: Bucket, layout: Layout, settling: Settling, passing: Passing) -> None:
        self._bucket = bucket
        self._layout = layout
        self._settling = settling
        self._listing = Listing(bucket, layout, passing)
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
        made = _Stored(head=written, by=uuid.uuid4().hex)
        return written if self._move(key, made, found) else None

    def _move(self, key: str, made: _Stored, found: Found | None) -> bool:
        """Put a head over the one that was found, and see to its place in the listing."""
        assert made.head is not None
        before = found.stored.listed if found is not None else ""
        if before and stays(before, key, made.head):
            return self._put(key, msgspec.structs.replace(made, listed=before), found)
        made = msgspec.structs.replace(made, listed=name_of(key, made.head, made.by))
        etag = self._listing.put(made.listed)
        doubted = bool(before) and self._listing.doubt(before)
        if self._put(key, made, found):
            self._listing.make_sure(made.listed, etag)
            self._listing.delete([before] if before else ())
            return True
        there = self.find(key)
        if there is not None and there.stored.head is None and found is None:  # the session begins anew
            self._listing.delete([there.stored.listed] if there.stored.listed else ())
            if self._put(key, made, there):
                self._listing.make_sure(made.listed, etag)
                return True
            there = self.find(key)
        left = {made.listed, *([before] if doubted else ())}
        self._listing.delete(sorted(left - {there.stored.listed if there is not None else ""}))
        return False

    def is_as_judged(self, found: Found | None, version: int) -> bool:
        """Tell whether a head has the version that it was judged by, or its deletion was broken off."""
        if found is None or found.version == version:
            return found is not None or not version
        deleted = found.stored.deleted
        return deleted is not None and deleted.version == version and self._listing.has(found.stored.listed)

    def delete(self, key: str, found: Found) -> str:
        """Delete the head of a session whose events are gone; return the object of its place, which is to go last.

        One that was written over it meanwhile goes too, since it may count what is gone: what it knew besides is found
        without it.
        """
        self._last.pop(key, None)
        by, there = uuid.uuid4().hex, found
        while there.stored.head is not None:
            kept = SessionHead(**{name: getattr(there.stored.head, name) for name in _KEPT})
            deleted = _Stored(listed=there.stored.listed, by=by, deleted=kept)
            put = self._bucket.put_over(self._layout.head(key), _body_of(deleted), there.etag)
            now = self.find(key) if put is None else None
            if now is None or now.stored.by == by:
                break
            self._settling.mark(key, there.stored.head.session_id)
            there = now
        return self._listing.path(there.stored.listed)

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
            for places in self._places(wanted, oldest, listed):
                newest = min(places[0].slot, now) if newest is None else newest  # a head may be dated in the future
                listed.update(place.name for place in places)
                for head in self._heads_of(places, moved, brief=wanted.brief):
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

    def _places(self, wanted: SessionFilter, oldest: int | None, passed: set[str]) -> Iterator[list[Place]]:
        """Yield the places that may be wanted, several whole slots of time at once: a few at first, then more."""
        most = AT_ONCE if wanted.limit is None else max(1, min(AT_ONCE, wanted.limit))
        few = None if wanted.limit is None else wanted.limit + _MORE
        places: list[Place] = []
        for _, slot in groupby(self._listing.places(wanted, oldest, passed, few), key=lambda place: place.slot):
            places += slot
            if len(places) >= most:
                yield places
                places, most = [], min(2 * most, _MOST_AT_ONCE)
        if places:
            yield places

    def _heads_of(self, places: list[Place], moved: dict[str, SessionHead], *, brief: bool) -> list[SessionHead]:
        """Return the heads that name these places, the latest updated first.

        The others go to `moved`: to a place that may have been passed already, or this one was left over.
        """
        heads = [place.head for place in places if place.head is not None and place.is_sure] if brief else []
        others = [place for place in places if not (brief and place.is_sure)]
        for place, stored in self._bucket.each(lambda one: (one, self._listed(one.key)), others):
            head = None if stored is None else stored.head or stored.deleted
            if stored is None or head is None:
                continue
            if stored.listed == place.name:
                heads.append(head)
            elif stored.head is not None:
                moved[head.session_id] = head
        return sorted(heads, key=_newest_first)

    def _listed(self, key: str) -> _Stored | None:
        """Return a head without its snapshot, which is not fetched unless the head is large itself."""
        read = self._bucket.get_first(self._layout.head(key), _LISTED_BYTES)
        if read is not None and b"\n" not in read.data:
            read = self._bucket.get(self._layout.head(key))
        return None if read is None else _decode_head(read.data.partition(b"\n")[0])

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
        self._last.pop(key, None)
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
    said: dict[str, Any] = msgspec.structs.asdict(msgspec.structs.replace(stored, head=head))
    if stored.deleted is not None:
        said["deleted"] = {name: getattr(stored.deleted, name) for name in _KEPT}
    first = msgspec.json.encode(said)
    return first + b"\n" + msgspec.json.encode(snapshot) + b"\n"


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


def _with_valid_text(head: SessionHead) -> SessionHead:
    texts = {field: getattr(head, field) for field in _TEXTS}
    changed = {field: valid_text(text) for field, text in texts.items() if text is not None}
    return msgspec.structs.replace(head, **changed)
