"""The text that a step streams, of which only the end and the length are kept."""

from __future__ import annotations

from bisect import insort
from typing import Final

from otel_agent_journal.event import CHUNK, REASONING

STREAMED: Final = (CHUNK, REASONING)
TAIL: Final = 200  # characters that a row shows
_KEPT: Final = 400  # of the end, so that a chunk that comes late still finds its place


class Streamed:
    """What came of one attempt's text. The same whatever order it came in, as far as the end is concerned."""

    __slots__ = ("_chunks", "_kept", "fresh", "length", "torn")

    def __init__(self) -> None:
        self._chunks: list[tuple[int, str, str]] = []
        self._kept = 0
        self.length = 0  # in UTF-16 units
        self.fresh: list[tuple[int, str]] = []  # offset and text of what is new since it was last told
        self.torn = False  # whether something came that belongs before what was told

    def add(self, at_ns: int, event_id: str, text: str) -> None:
        """Take in a piece of the text."""
        place = (at_ns, event_id, text[-_KEPT:])
        if self._chunks and place < self._chunks[-1]:
            self.torn = True
            self.fresh.clear()
        elif not self.torn:
            self.fresh.append((self.length, text))
        self.length += units(text)
        insort(self._chunks, place)
        self._kept += len(place[2])
        while self._kept - len(self._chunks[0][2]) >= _KEPT:
            self._kept -= len(self._chunks.pop(0)[2])

    def told(self) -> list[tuple[int, str]]:
        """Return what is new, in pieces with their offsets; nothing where what came does not follow what was told."""
        fresh, self.fresh, self.torn = self.fresh, [], False
        return fresh

    @property
    def tail(self) -> str:
        """The end of the text, on one line; a space at its end stays, since more is to follow."""
        kept = "".join(text for _, _, text in self._chunks)
        return (" ".join(kept.split()) + " " * kept[-1:].isspace())[-TAIL:]


def units(text: str) -> int:
    """Return how long a text is in UTF-16 units, as JavaScript counts."""
    return len(text) + sum(letter > "\uffff" for letter in text) if not text.isascii() else len(text)
