"""A set of 64-bit ids in about nine bytes each, for folds that must recognise what they have counted.

Ids are kept in sorted arrays of bounded length, themselves in order: an add or a look-up is two binary searches and
at most one short move of memory, about two microseconds at any size. It forgets nothing and removes nothing. The
ids should be spread evenly, as hashes are; any others only make it slower.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

MASK: Final = (1 << 64) - 1

_CHUNK_IDS: Final = 1024  # longer chunks cost more per insertion, shorter ones more overhead per id


class IdSet:
    """A growing set of integers from 0 to 2**64 - 1. Not thread-safe."""

    __slots__ = ("_chunks", "_firsts", "_size")

    def __init__(self) -> None:
        self._chunks: list[array[int]] = [array("Q")]
        self._firsts: array[int] = array("Q", (0,))
        self._size = 0

    def add(self, number: int) -> bool:
        """Take `number` in; tell whether it is new."""
        place = bisect_right(self._firsts, number) - 1
        chunk = self._chunks[place]
        at = bisect_left(chunk, number)
        if at < len(chunk) and chunk[at] == number:
            return False
        chunk.insert(at, number)
        self._size += 1
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
