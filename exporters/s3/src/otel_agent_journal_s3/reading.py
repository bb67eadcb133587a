"""A session's events in order: its journal, and the segments that are not in it yet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from otel_agent_journal.codec import decode_line
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.keys import session_of
from otel_agent_journal_s3.known import COVERS
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lines import Line, Read, key_at, read_body
from otel_agent_journal_s3.objects import Bucket, Item
from otel_agent_journal_s3.segments import last_pruned, segments_of


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
    """Yield a session's events in order, decoded as they are asked for."""
    lines = Whole(bucket, layout, key).lines()
    if after is not None:
        beyond = key_at(*after)
        lines = [line for line in lines if line.key > beyond]
    for line in lines:
        yield decode_line(line.text)


def instances_in(bucket: Bucket, layout: Layout, key: str) -> list[str]:
    """Return the instances that have context events in a session."""
    found = Whole(bucket, layout, key).read()
    return list({read.instance_id: None for read in found if read.seq is not None and read.instance_id is not None})


def read_instance(bucket: Bucket, layout: Layout, key: str, instance_id: str, from_seq: int) -> list[Line]:
    """Return the lines of an instance's events from a number on."""
    found = {
        read.seq: read.line
        for read in Whole(bucket, layout, key).read()
        if read.seq is not None and read.seq >= from_seq and read.instance_id == instance_id
    }
    return [found[seq] for seq in sorted(found)]


def _key(line: Line) -> bytes:
    return line.key
