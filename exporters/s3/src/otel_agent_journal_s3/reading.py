"""A session's events in order: its journal, and the segments that are not in it yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import Final, NamedTuple

from otel_agent_journal.codec import decode_line
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.keys import session_of
from otel_agent_journal_s3.answers import Item
from otel_agent_journal_s3.contents import Contents, offset_of, told_by
from otel_agent_journal_s3.known import COVERS, LAST_BYTES
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lines import Line, Read, key_at, read_body
from otel_agent_journal_s3.objects import Bucket
from otel_agent_journal_s3.segments import PRUNED, Segment, last_pruned, segments_of

_TOLD_BYTES: Final = 4 * 1024  # of a segment, with what it says of itself and those before it
_AT_ONCE: Final = 8
_TRIES: Final = 3
_SEEN: Final = 1024  # sessions
_NOT_LISTED: Final = 1 << 40  # the size of a segment that is taken to be there


class _Wanted(NamedTuple):
    """A segment that is to be read; its body where it was fetched already."""

    name: str
    body: bytes | None


class Seen:
    """The last segment of each session that a client reads context of: what comes next is listed from there on."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def segments(self, bucket: Bucket, layout: Layout, key: str) -> list[Segment]:
        """Return a session's segments with events; of those before the last one seen, whatever their names may have."""
        last = self._last.get(key, 0)
        listed = segments_of(bucket.list(layout.segments(key), layout.segment(key, last - 1) if last else ""))
        if last and (not listed or listed[0].number != last):
            last, listed = 0, segments_of(bucket.list(layout.segments(key)))
        if listed:
            self._last.pop(key, None)
            self._last[key] = listed[-1].number
            for oldest in list(self._last)[:-_SEEN]:
                self._last.pop(oldest, None)
        pruned = last_pruned(listed)
        before = range(last if pruned < 0 else 0)
        named = [Segment(layout.segment(key, number), number, _NOT_LISTED, 0.0) for number in before]
        return named + _behind(listed, pruned)


class Whole:
    """A session as it is read at once: the journal, and the segments from the first that is not in it."""

    def __init__(self, bucket: Bucket, layout: Layout, key: str) -> None:
        # The journal first: what is rewritten meanwhile is in the segments too, which stay.
        self.journal = bucket.get(layout.journal(key))
        self.covers = int(self.journal.metadata.get(COVERS, "0")) if self.journal else 0
        after = layout.segment(key, self.covers - 1) if self.covers else ""
        listed = segments_of(bucket.list(layout.segments(key), after))
        self.next = listed[-1].number + 1 if listed else self.covers
        pruned = last_pruned(listed)
        if pruned >= 0:
            self.journal = None
        found = [one for one in listed if one.number > pruned and one.has_events]
        read = bucket.get_all([one.name for one in found])
        # None is one that was pruned meanwhile, and with it all that was there.
        self.segments = [(one.number, stored.data) for one, stored in zip(found, read, strict=True) if stored]

    def cover(self, allowed_bytes: int | None) -> int:
        """Leave out the last segments, so that the rest is within so many bytes; return the first one left out."""
        size_bytes = len(self.journal.data) if self.journal else 0
        for count, (number, body) in enumerate(self.segments):
            size_bytes += len(body)
            if allowed_bytes is not None and size_bytes > allowed_bytes:
                del self.segments[count:]
                return number
        return self.next

    def read(self) -> Iterator[Read]:
        """Yield what stands in each line, in order of arrival."""
        if self.journal is not None:
            yield from read_body(self.journal.data)
        for _, body in self.segments:
            yield from read_body(body)

    def lines(self) -> list[Line]:
        """Return its lines in order of time and id, each key once, the first that arrived."""
        return in_order([read.line for read in self.read()])


def sessions_of(bucket: Bucket, layout: Layout) -> Iterator[tuple[str, list[Item]]]:
    """Yield the key of every session that there is, or was, and what is in its folder: a listing of all."""
    items = bucket.list(layout.journals)
    for key, found in groupby(items, key=lambda item: item.name.removeprefix(layout.journals).partition("/")[0]):
        yield key, list(found)


def session_ids(bucket: Bucket, layout: Layout) -> Iterator[str]:
    """Yield the id of every session that has an event."""
    for key, items in sessions_of(bucket, layout):
        segments = segments_of(items)
        bodies = [one.name for one in segments if one.number > last_pruned(segments) and one.has_events]
        if last_pruned(segments) < 0:
            bodies += [item.name for item in items if item.name == layout.journal(key) and item.size_bytes]
        session_id = session_of(key) if bodies else None
        if bodies and session_id is None:  # hashed: an event has it
            stored = bucket.get(bodies[0])
            lines = stored.data.splitlines()[:1] if stored else ()
            session_id = next((decode_line(line).session_id for line in lines), None)
        if session_id is not None:
            yield session_id


def in_order(lines: list[Line]) -> list[Line]:
    """Return lines in order of their keys, of equal keys the first."""
    lines.sort(key=_key)  # stable, and quick where most of it is in order
    return [line for number, line in enumerate(lines) if number == 0 or line.key != lines[number - 1].key]


def read(bucket: Bucket, layout: Layout, key: str, after: tuple[int, str] | None) -> Iterator[JournalEvent]:
    """Yield a session's events in order, decoded as they are asked for; behind a place what may be there is fetched."""
    lines = Whole(bucket, layout, key).lines() if after is None else _lines_after(bucket, layout, key, after)
    for line in lines:
        yield decode_line(line.text)


def instances_in(bucket: Bucket, layout: Layout, key: str) -> list[str]:
    """Return the instances that have context events in a session, out of the segments with context alone."""
    wanted = _wanted(bucket, Seen().segments(bucket, layout, key), lambda contents: bool(contents.instances))
    found = (read for body in _bodies(bucket, wanted) for read in read_body(body))
    return list({read.instance_id: None for read in found if read.seq is not None and read.instance_id is not None})


def read_instance(
    bucket: Bucket,
    layout: Layout,
    key: str,
    instance_id: str,
    from_seq: int,
    *,
    seen: Seen,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[Line]:
    """Return the lines of an instance's events from a number on, in order: the first so many, or the last.

    Of the segments with context those that have them are fetched.
    """
    wanted = _wanted(bucket, seen.segments(bucket, layout, key), lambda contents: contents.may_have(instance_id))
    if limit is not None and not newest_first:
        of_old = list(wanted)[::-1]
        wanted = iter(of_old[_place_of(bucket, of_old, instance_id, from_seq) :])
    found = dict[int, Line]()
    for body in _bodies(bucket, wanted):
        seqs = _seqs_in(body, instance_id)
        found.update((seq, line) for seq, line in seqs.items() if seq >= from_seq)
        is_enough = limit is not None and len(found) >= limit
        if is_enough or ((limit is None or newest_first) and min(seqs, default=from_seq + 1) <= from_seq):
            break
    return [found[seq] for seq in sorted(found)]


def _place_of(bucket: Bucket, segments: list[_Wanted], instance_id: str, from_seq: int) -> int:
    """Return which of an instance's segments, the first one first, has a number of its sequence."""
    place, low, high = 0, 0, len(segments) if from_seq > 0 else 0
    while high - low > 1:
        middle = at = (low + high) // 2
        seqs: dict[int, Line] = {}
        while at > low and not seqs:  # what has the bit of the instance may be another's
            for body in _bodies(bucket, iter(segments[at : at + 1])):
                seqs = _seqs_in(body, instance_id)
            at -= not seqs
        if seqs and min(seqs) > from_seq:
            high = at
        else:
            place, low = (at if seqs else place), middle
    return place


def _seqs_in(body: bytes, instance_id: str) -> dict[int, Line]:
    reads = read_body(body)
    return {read.seq: read.line for read in reads if read.seq is not None and read.instance_id == instance_id}


def _lines_after(bucket: Bucket, layout: Layout, key: str, after: tuple[int, str]) -> list[Line]:
    timestamp_ns, beyond = after[0], key_at(*after)
    journal, covers = _journal_after(bucket, layout.journal(key), timestamp_ns)  # first, as in `Whole`
    listed = segments_of(bucket.list(layout.segments(key), layout.segment(key, covers - 1) if covers else ""))
    pruned = last_pruned(listed)
    wanted = _wanted(bucket, _behind(listed, pruned), lambda contents: contents.may_be_after(timestamp_ns))
    bodies = [journal if pruned < 0 else b"", *reversed(list(_bodies(bucket, wanted)))]
    return in_order([one.line for body in bodies for one in read_body(body) if one.line.key > beyond])


def _behind(listed: list[Segment], pruned: int) -> list[Segment]:
    return [one for one in listed if one.number > pruned and one.has_events]


def _journal_after(bucket: Bucket, name: str, timestamp_ns: int) -> tuple[bytes, int]:
    """Return the lines of a journal that may be of a time or later, and the first segment that is not in it."""
    for _ in range(_TRIES):
        end = bucket.get_last(name, LAST_BYTES)
        if end is None:
            return b"", 0
        covers = int(end.metadata.get(COVERS, "0"))
        start, begins = offset_of(end.metadata, timestamp_ns), end.size_bytes - len(end.data)
        if start >= begins:
            return end.data[start - begins :], covers
        before = bucket.get_part(name, start, begins, end.etag)
        if before is not None:  # else it was rewritten meanwhile
            return before.data + end.data, covers
    stored = bucket.get(name)
    return (stored.data, int(stored.metadata.get(COVERS, "0"))) if stored else (b"", 0)


def _wanted(bucket: Bucket, segments: list[Segment], is_wanted: Callable[[Contents], bool]) -> Iterator[_Wanted]:
    """Yield the segments that may have what is wanted, by what the last ones tell: the last first.

    One that is gone or empty was pruned, and with it all before it.
    """
    rest = segments
    while rest:
        nearest = rest[-1]
        last = bucket.get_first(nearest.name, _TOLD_BYTES)
        if last is None or last.data == PRUNED:
            return
        told = told_by(last.metadata)
        first = nearest.number + 1 - max(1, len(told.nearest))  # the last one is read where it tells nothing
        near, rest = [one for one in rest if one.number >= first], [one for one in rest if one.number < first]
        for one in reversed(near):
            if not told.nearest or is_wanted(told.nearest[nearest.number - one.number]):
                is_whole = one is nearest and len(last.data) == last.size_bytes
                yield _Wanted(one.name, last.data if is_whole else None)
        if not is_wanted(told.earlier):
            return


def _bodies(bucket: Bucket, wanted: Iterator[_Wanted]) -> Iterator[bytes]:
    """Yield the bodies of segments, more and more at a time; those that were pruned meanwhile are passed over."""
    at_once = 1
    while part := list(islice(wanted, at_once)):
        found = bucket.get_all([one.name for one in part if one.body is None])
        fetched = iter(found)
        for one in part:
            stored = None if one.body is not None else next(fetched)
            body = one.body if stored is None else stored.data
            if body is not None:
                yield body
        at_once = min(2 * at_once, _AT_ONCE)


def _key(line: Line) -> bytes:
    return line.key
