"""Entries that a program without network prints between markers, read out of its output. Pure.

    ===JOURNAL_ENTRY===
    {"event_type": "DATA_CLEANED", "details": {"rows": 12}}
    ===JOURNAL_END===

Between the markers stands one JSON object, over as many lines as it likes, or one a line. Output may hold text that
came from anywhere. Where a nonce is agreed on, only entries that show it count: behind the first marker, or as their
`nonce`. Whatever looks like an entry and is none is reported. Time is linear in the output, and the answer bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import decode_value, valid_text
from otel_agent_journal.errors import CodecError

ENTRY: Final = "===JOURNAL_ENTRY==="
END: Final = "===JOURNAL_END==="
NONCE: Final = "nonce"

MAX_OUTPUT: Final = 4_000_000  # characters that are looked at
MAX_ENTRY: Final = 16_384  # characters of one entry
MAX_ENTRIES: Final = 200
MAX_PROBLEMS: Final = 20
_SHOWN: Final = 200  # characters of what is reported

TORN: Final = "torn"
NESTED: Final = "nested"
MALFORMED: Final = "malformed"
HUGE: Final = "huge"
UNSIGNED: Final = "unsigned"
MISPLACED: Final = "misplaced"
TOO_MANY: Final = "too_many"
UNREAD: Final = "unread"


class Problem(msgspec.Struct, frozen=True):
    """Something that looks like an entry and is none. `line` counts from 1; `beginning` is how it begins."""

    kind: str
    line: int
    message: str
    beginning: str = ""


class Extracted(list[dict[str, Any]]):
    """The entries, in their order. `problems` says what is none; of more than 20 `unreported` is the number."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []
        self.unreported = 0


def entries_in(output: str, nonce: str | None = None) -> Extracted:
    """Return the entries of an output.

    Args:
        output: any text.
        nonce: what an entry has to show; None where nothing is agreed on.
    """
    found = Extracted()
    if ENTRY not in output and END not in output:
        return found
    reading = _Reading(found, nonce or None)
    for number, line in enumerate(_lines(output), start=1):
        reading.take(number, line)
    reading.close()
    if len(output) > MAX_OUTPUT:
        message = f"the output has {len(output):,} characters, and {MAX_OUTPUT:,} of them were read"
        reading.report(UNREAD, reading.number, message)
    return found


def _lines(output: str) -> Iterator[str]:
    """Yield the lines: cut at line feeds alone, for all else may stand within JSON."""
    start = 0
    while start < min(len(output), MAX_OUTPUT):
        end = output.find("\n", start, MAX_OUTPUT)
        end = min(len(output), MAX_OUTPUT) if end < 0 else end
        yield output[start:end]
        start = end + 1


class _Reading:
    """One pass over the lines: outside of a block, or within the one that began in line `_began`."""

    def __init__(self, found: Extracted, nonce: str | None) -> None:
        self.number = 0
        self._found = found
        self._nonce = nonce
        self._block: list[tuple[int, str]] | None = None
        self._began = 0
        self._signed = False

    def take(self, number: int, line: str) -> None:
        self.number = number
        said = line.strip()
        if said.startswith(ENTRY) and not self._within_signed(said):
            if self._block is not None:
                self.report(NESTED, self._began, "another entry begins before this one has ended", self._said())
            self._begin(number, said.removeprefix(ENTRY).strip())
        elif self._block is None:
            if said.startswith(END):
                self.report(TORN, number, "an end without a beginning", said)
            elif ENTRY in line:
                self.report(MISPLACED, number, "a marker stands on a line of its own", line)
        elif said.startswith(END):
            self._end()
        else:
            self._block.append((number, line))

    def close(self) -> None:
        if self._block is not None:
            self.report(TORN, self._began, "the output ends within an entry", self._said())

    def report(self, kind: str, line: int, message: str, beginning: str = "") -> None:
        if len(self._found.problems) < MAX_PROBLEMS:
            shown = valid_text(beginning[:_SHOWN])
            if self._nonce is not None:
                shown = shown.replace(self._nonce, "…")
            self._found.problems.append(Problem(kind, line, message, shown))
        else:
            self._found.unreported += 1

    def _within_signed(self, said: str) -> bool:
        """Tell whether a line that looks like a beginning is within an entry of the nonce's, and without it itself."""
        return self._block is not None and self._signed and not self._shows_nonce(said.removeprefix(ENTRY).strip())

    def _shows_nonce(self, behind: str) -> bool:
        return self._nonce is not None and (behind == self._nonce or behind.startswith(f"{self._nonce} "))

    def _begin(self, number: int, behind: str) -> None:
        self._block, self._began, self._signed = [], number, self._shows_nonce(behind)
        if self._signed and self._nonce is not None:
            behind = behind[len(self._nonce) :].strip()
        if not behind:
            return
        if behind.endswith(END):  # all on one line
            self._block.append((number, behind.removesuffix(END)))
            self._end()
        elif behind.startswith("{"):
            self._block.append((number, behind))

    def _end(self) -> None:
        block, self._block = self._block or [], None
        lines = [(number, text) for number, line in block if (text := line.strip())]
        if not lines:
            self.report(MALFORMED, self._began, "there is nothing between the markers")
            return
        whole = "\n".join(line for _, line in block) if len(lines) > 1 and _size(block) <= MAX_ENTRY else None
        value = None if whole is None else _decoded(whole)
        if isinstance(value, dict):
            self._keep(lines[0][0], cast("dict[str, Any]", value), lines[0][1])
            return
        for number, text in lines:
            if len(text) > MAX_ENTRY:
                message = f"an entry has up to {MAX_ENTRY:,} characters, and this one {len(text):,}"
                self.report(HUGE, number, message, text)
                continue
            value = _decoded(text)
            if isinstance(value, dict):
                self._keep(number, cast("dict[str, Any]", value), text)
            else:
                self.report(MALFORMED, number, "this is no JSON object", text)

    def _keep(self, number: int, entry: dict[str, Any], text: str) -> None:
        shown = entry.get(NONCE)
        if self._nonce is not None:
            if not self._signed and shown != self._nonce:
                self.report(UNSIGNED, number, "it does not show the nonce, so anybody may have written it", text)
                return
            if shown == self._nonce:
                del entry[NONCE]
        if len(self._found) >= MAX_ENTRIES:
            self.report(TOO_MANY, number, f"an output has up to {MAX_ENTRIES} entries", text)
            return
        self._found.append(entry)

    def _said(self) -> str:
        return self._block[0][1].strip() if self._block else ""


def _size(block: list[tuple[int, str]]) -> int:
    return sum(len(line) + 1 for _, line in block)


def _decoded(text: str) -> Any:
    try:
        return decode_value(text)
    except CodecError:
        return None
