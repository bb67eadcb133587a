"""What a listing tells of a session's segments, without reading one; and the marks among them. Pure.

A mark is a segment without events. Whoever writes has read each segment before its own, so nobody who knows a session
from before a mark writes behind it without having met it: docs/adr/0025.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from otel_agent_journal_s3.answers import Item
from otel_agent_journal_s3.layout import number_of_segment

RESTS: Final = "rests"  # metadata of a segment: its session is announced anew before the next one is written
ANNOUNCED: Final = "announced"  # metadata of a segment: when its writer announced the session, by the server's clock
PRUNED: Final = b""  # left by a prune: what was before it is gone
SETTLED: Final = b"\n"  # the head has all that was before it


class Segment(NamedTuple):
    """A segment as a listing shows it."""

    name: str
    number: int
    size_bytes: int
    modified_s: float

    @property
    def has_events(self) -> bool:
        return self.size_bytes > len(SETTLED)

    @property
    def is_pruned(self) -> bool:
        """Whether what was before it is gone; it may have been emptied itself."""
        return self.size_bytes == len(PRUNED)

    @property
    def is_settled(self) -> bool:
        """Whether a head has all that was before it."""
        return self.size_bytes == len(SETTLED)


def segments_of(items: Iterable[Item]) -> list[Segment]:
    """Return the segments of a session, in their order, out of a listing of its folder."""
    found = ((item, number_of_segment(item.name)) for item in items if "/segments/" in item.name)
    return [Segment(item.name, number, *item[1:]) for item, number in found if number is not None]


def rests_after(body_bytes: int, metadata: Mapping[str, str]) -> bool:
    """Tell whether a session rests after a segment: each mark, and one whose writer expects no next one soon."""
    return body_bytes <= len(SETTLED) or RESTS in metadata


def last_pruned(segments: Iterable[Segment]) -> int:
    """Return the number of the segment behind which a session begins; -1 for its beginning."""
    return max((one.number for one in segments if one.is_pruned), default=-1)


def end_of(segments: Iterable[Segment]) -> int:
    """Return the number behind the last segment with events; 0 where none has arrived, or all are gone."""
    end = 0
    for one in segments:
        end = 0 if one.is_pruned else one.number + 1 if one.has_events else end
    return end


def cursor_of(key: str, number: int, offset: int = 0) -> str:
    """Return a session's cursor before an event of a segment: one form for each place, behind the event before it."""
    return f"s{number}.{offset}.{key}"


def place_of_cursor(cursor: str) -> tuple[int, int, str] | None:
    """Return the segment, the event in it and the session's key of a cursor of one session; None for any other text."""
    segment, _, rest = cursor.removeprefix("s").partition(".")
    offset, _, key = rest.partition(".")
    is_one = cursor.startswith("s") and segment.isdecimal() and offset.isdecimal()
    return (int(segment), int(offset), key) if is_one else None
