"""What segments and journals have in them, told without reading them: times, and whose context. Pure.

The name of a segment is its number and nothing else, since that is what writers compete for, and a listing shows names
and sizes alone. So each segment says in its metadata what it and those before it have: one GET of the last tells which
of 64 a reader must fetch, and whether it must look further back. A journal is in order of time, and says where some
times stand in it. Both only let readers pass by what has nothing for them: what is not known is read.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final, NamedTuple

from otel_agent_journal.codec import parse_timestamp, valid_text
from otel_agent_journal_s3.lines import TIME_BYTES, Line

CONTENTS: Final = "contents"  # metadata of a segment: eight bytes for itself, each before it, and all that are left
PLACES: Final = "places"  # metadata of a journal: offsets with the times of the lines there
MOST: Final = 64  # with base64 700 bytes; S3 takes 2 KB of metadata
_INSTANCES: Final = 18  # bits, of which each instance has one: it may be another's too
_ANY_MS: Final = (1 << 64 - _INSTANCES) - 1  # until the year 4199
_NS: Final = 10**6


class Contents(NamedTuple):
    """What is in a segment, or in several: all before `until_ms`, and context of the instances with these bits."""

    until_ms: int
    instances: int

    def and_of(self, other: Contents) -> Contents:
        """Return what is in either."""
        return Contents(max(self.until_ms, other.until_ms), self.instances | other.instances)

    def may_be_after(self, timestamp_ns: int) -> bool:
        """Tell whether there may be an event of this time or a later one."""
        return self.until_ms * _NS > timestamp_ns or self.until_ms == _ANY_MS

    def may_have(self, instance_id: str) -> bool:
        """Tell whether there may be context of an instance."""
        return bool(self.instances & _bit(instance_id))


NOTHING: Final = Contents(0, 0)
ANYTHING: Final = Contents(_ANY_MS, (1 << _INSTANCES) - 1)


def contents_of(keys: Iterable[bytes], instance_ids: Iterable[str]) -> Contents:
    """Return what is in a segment, by the keys of its lines and the instances that it has context of."""
    latest = max(keys, default=None)
    if latest is None:
        return NOTHING
    until_ms = parse_timestamp(latest[:TIME_BYTES].decode()) // _NS + 1
    instances = 0
    for instance_id in instance_ids:
        instances |= _bit(instance_id)
    return Contents(min(until_ms, _ANY_MS), instances)


def _bit(instance_id: str) -> int:
    return 1 << blake2b(valid_text(instance_id).encode(), digest_size=1).digest()[0] % _INSTANCES


class Told(NamedTuple):
    """What a segment tells: of itself and those before it, the nearest first, and of all before these together."""

    nearest: tuple[Contents, ...] = ()
    earlier: Contents = NOTHING

    def behind(self, contents: Contents) -> Told:
        """Return what is told by the next segment, which has these contents."""
        nearest = (contents, *self.nearest)
        earlier = self.earlier
        for one in nearest[MOST:]:
            earlier = earlier.and_of(one)
        return Told(nearest[:MOST], earlier)

    def metadata(self) -> dict[str, str]:
        """Return it as it stands in a segment's metadata."""
        words = [one.until_ms << _INSTANCES | one.instances for one in (*self.nearest, self.earlier)]
        return {CONTENTS: _text(struct.pack(f">{len(words)}Q", *words))}


UNKNOWN: Final = Told((), ANYTHING)


def told_by(metadata: Mapping[str, str]) -> Told:
    """Return what a segment tells by its metadata; that anything may be there, where it says nothing."""
    words = _words(metadata.get(CONTENTS, ""))
    if not words:
        return UNKNOWN
    *nearest, earlier = [Contents(word >> _INSTANCES, word & (1 << _INSTANCES) - 1) for word in words]
    return Told(tuple(nearest), earlier)


def places_of(lines: Sequence[Line]) -> dict[str, str]:
    """Return the metadata of a journal of these lines: where the first line of each part of it stands, and its time."""
    starts = [0, *accumulate(len(line.text) + 1 for line in lines)]
    words: list[int] = []
    for number in range(0, len(lines), max(1, -(-len(lines) // MOST))):
        at_ms = parse_timestamp(lines[number].key[:TIME_BYTES].decode()) // _NS
        words += [min(at_ms, _ANY_MS), starts[number]]
    return {PLACES: _text(struct.pack(f">{len(words)}Q", *words))}


def offset_of(metadata: Mapping[str, str], timestamp_ns: int) -> int:
    """Return where in a journal a line begins, before which there is nothing of this time or a later one."""
    words = _words(metadata.get(PLACES, ""))
    offset = 0
    for at_ms, start in zip(words[::2], words[1::2], strict=False):
        if (at_ms + 1) * _NS > timestamp_ns or at_ms == _ANY_MS:
            break
        offset = start
    return offset


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode()


def _words(text: str) -> tuple[int, ...]:
    try:
        data = urlsafe_b64decode(text)
        return struct.unpack(f">{len(data) // 8}Q", data)
    except (Error, ValueError, struct.error):  # another program's
        return ()
