"""A set of 64-bit ids in about nine bytes each, for folds that must recognise what they have counted.

Ids are kept in sorted arrays of bounded length, themselves in order: an add or a look-up is two binary searches and
at most one short move of memory, about two microseconds at any size. It removes nothing. The ids should be spread
evenly, as hashes are; any others only make it slower.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from typing import Final

MASK: Final = (1 << 64) - 1

_CHUNK_IDS: Final = 1024  # longer chunks cost more per insertion, shorter ones more overhead per id


class IdSet:
    """A growing set of integers from 0 to 2**64 - 1. Not thread-safe.

    Args:
        remembers: how many of the latest ids `latest` gives.
        latest: ids to begin with, the oldest first.
        before: how many came before those: they are counted, and no longer told apart.
    """

    __slots__ = ("_chunks", "_firsts", "_latest", "_size")

    def __init__(self, remembers: int = 0, *, latest: Iterable[int] = (), before: int = 0) -> None:
        self._chunks: list[array[int]] = [array("Q")]
        self._firsts: array[int] = array("Q", (0,))
        self._size = before
        self._latest = deque[int](maxlen=remembers)
        for number in latest:
            self.add(number)

    def add(self, number: int) -> bool:
        """Take `number` in; tell whether it is new."""
        place = bisect_right(self._firsts, number) - 1
        chunk = self._chunks[place]
        at = bisect_left(chunk, number)
        if at < len(chunk) and chunk[at] == number:
            return False
        chunk.insert(at, number)
        self._size += 1
        self._latest.append(number)
        if len(chunk) > _CHUNK_IDS:
            half = len(chunk) // 2
            self._chunks[place : place + 1] = (chunk[:half], chunk[half:])
            self._firsts.insert(place + 1, chunk[half])
        return True

    def __contains__(self, number: int) -> bool:
        chunk = self._chunks[bisect_right(self._firsts, number) - 1]
        at = bisect_left(chunk, number)
        return at < len(chunk) and chunk[at] == number

    def __len__(self) -> int:
        return self._size

    @property
    def latest(self) -> tuple[int, ...]:
        """The latest ids that were new, as many as are remembered, the oldest of them first."""
        return tuple(self._latest)
