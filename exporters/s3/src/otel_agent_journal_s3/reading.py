"""A session's events in order: its journal, and the segments that are not in it yet."""

from __future__ import annotations

from collections.abc import Iterator

from otel_agent_journal.codec import decode_line
from otel_agent_journal.event import JournalEvent
from otel_agent_journal_s3.known import COVERS, PRUNED
from otel_agent_journal_s3.layout import Layout, number_of_segment
from otel_agent_journal_s3.lines import Line, Read, key_at, read_body
from otel_agent_journal_s3.objects import Bucket, Stored


class Whole:
    """A session as it is read at once: the journal, and the segments from the first that is not in it."""

    def __init__(self, bucket: Bucket, layout: Layout, key: str) -> None:
        # The journal first: what is rewritten meanwhile is in the segments too, which stay.
        self.journal = bucket.get(layout.journal(key))
        self.covers = int(self.journal.metadata.get(COVERS, "0")) if self.journal else 0
        after = layout.segment(key, self.covers - 1) if self.covers else ""
        self.next = self.covers
        self.segments: list[Stored] = []
        found = [(item.name, number_of_segment(item.name)) for item in bucket.list(layout.segments(key), after)]
        numbers = [number for _, number in found if number is not None]
        names = [name for name, number in found if number is not None]
        for number, stored in zip(numbers, bucket.get_all(names), strict=True):
            if stored is None:  # pruned meanwhile, and with it all that was there
                continue
            if stored.metadata.get(PRUNED):
                self.journal = None
                self.segments.clear()
            self.segments.append(stored)
            self.next = number + 1

    def cover(self, allowed_bytes: int | None) -> int:
        """Leave out the last segments, so that the rest is within so many bytes; return the first one left out."""
        size_bytes = len(self.journal.data) if self.journal else 0
        count = 0
        for segment in self.segments:
            size_bytes += len(segment.data)
            if allowed_bytes is not None and size_bytes > allowed_bytes:
                break
            count += 1
        first_left_out = self.next - (len(self.segments) - count)
        del self.segments[count:]
        return first_left_out

    def read(self) -> Iterator[Read]:
        """Yield what stands in each line, in order of arrival."""
        if self.journal is not None:
            yield from read_body(self.journal.data)
        for segment in self.segments:
            yield from read_body(segment.data)

    def lines(self) -> list[Line]:
        """Return its lines in order of time and id, each key once, the first that arrived."""
        return in_order([read.line for read in self.read()])


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


def read_instance(bucket: Bucket, layout: Layout, key: str, instance_id: str, from_seq: int) -> Iterator[JournalEvent]:
    """Yield an instance's events from a number on."""
    found = {
        read.seq: read.line
        for read in Whole(bucket, layout, key).read()
        if read.seq is not None and read.seq >= from_seq and read.instance_id == instance_id
    }
    for seq in sorted(found):
        yield decode_line(found[seq].text)


def _key(line: Line) -> bytes:
    return line.key
