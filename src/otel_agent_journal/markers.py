"""Entries that a program without network prints between markers, read out of its output. Pure.

    ===JOURNAL_ENTRY===
    {"event_type": "DATA_CLEANED", "details": {"rows": 12}}
    ===JOURNAL_END===

Between the markers stands one JSON object, over as many lines as it likes, or one a line. Output may hold text that
came from anywhere. Where a nonce is agreed on, only entries that show it count: behind the first marker, or as their
`nonce`. Whatever looks like an entry and is none is reported. Time is linear in the output, and the answer bounded.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, cast

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
MAX_TRIED: Final = 2_000  # lines within markers that are read as JSON
_SHOWN: Final = 200  # characters of what is reported
_MARKER: Final = re.compile(f"{re.escape(ENTRY)}|{re.escape(END)}")

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
    if ENTRY in output or END in output:
        _Reading(found, output[:MAX_OUTPUT], nonce or None).read()
        if len(output) > MAX_OUTPUT:
            message = f"the output has {len(output):,} characters, and {MAX_OUTPUT:,} of them were read"
            found.problems.append(Problem(UNREAD, output.count("\n", 0, MAX_OUTPUT) + 1, message))
    return found


class _Block(NamedTuple):
    """An entry that has begun: in which line, whether by the nonce, what stands behind the marker, what comes after."""

    line: int
    signed: bool
    behind: str
    start: int


class _Reading:
    """One pass from marker to marker; each line is looked at once. Lines end at line feeds: all else may be in JSON."""

    def __init__(self, found: Extracted, output: str, nonce: str | None) -> None:
        self._found = found
        self._output = output
        self._nonce = nonce
        self._block: _Block | None = None
        self._tried = 0

    def read(self) -> None:
        """Read all of it."""
        output, seen, line = self._output, 0, 1
        for marker in _MARKER.finditer(output):
            at = marker.start()
            begin = output.rfind("\n", seen, at) + 1
            before, seen = seen, at
            if not begin and before:
                continue  # further along a line that was looked at
            line += output.count("\n", before, at)
            end = output.find("\n", at)
            end = len(output) if end < 0 else end
            self._take(line, output[begin:at].strip(), output[at:end].strip(), begin, end + 1)
            seen = at + 1
        if self._block is not None:
            self._report(TORN, self._block.line, "the output ends within an entry", self._said(len(output)))

    def _take(self, line: int, before: str, said: str, begin: int, behind: int) -> None:
        """Take a line with a marker in it: what stands before that, the rest, and where the line begins and ends."""
        if before:
            if self._block is None and said.startswith(ENTRY):
                self._report(MISPLACED, line, "a marker stands on a line of its own", f"{before} {said}")
        elif said.startswith(END):
            if self._block is None:
                self._report(TORN, line, "an end without a beginning", said)
            else:
                self._end(begin)
        else:
            self._begin(line, said.removeprefix(ENTRY).strip(), begin, behind)

    def _begin(self, line: int, behind: str, begin: int, after: int) -> None:
        signed = self._nonce is not None and (behind == self._nonce or behind.startswith(f"{self._nonce} "))
        if self._block is not None:
            if self._block.signed and not signed:
                return  # printed within an entry of the nonce's, by whatever does not know it
            self._report(NESTED, self._block.line, "another entry begins before this one ends", self._said(begin))
        if signed and self._nonce is not None:
            behind = behind[len(self._nonce) :].strip()
        self._block = _Block(line, signed, behind, after)
        if behind.endswith(END):  # all on one line
            self._block = self._block._replace(behind=behind.removesuffix(END))
            self._end(after)

    def _end(self, end: int) -> None:
        """Read what stands in an entry that ends here."""
        block, self._block = self._block, None
        assert block is not None
        body = self._output[block.start : end]
        text = f"{block.behind}\n{body}" if block.behind.startswith("{") else f"\n{body}"
        value = _object(text) if len(text) <= MAX_ENTRY else None
        if value is not None:
            self._keep(block, block.line, value, text)
            return
        nothing = True
        for number, line in enumerate(text.split("\n"), start=block.line):
            said = line.strip()
            if said:
                nothing = False
                self._line(block, number, said)
        if nothing:
            self._report(MALFORMED, block.line, "there is nothing between the markers")

    def _line(self, block: _Block, number: int, said: str) -> None:
        if len(said) > MAX_ENTRY:
            message = f"an entry has up to {MAX_ENTRY:,} characters, and this one {len(said):,}"
            self._report(HUGE, number, message, said)
            return
        self._tried += 1
        if len(self._found) >= MAX_ENTRIES or self._tried > MAX_TRIED:
            message = f"an output has up to {MAX_ENTRIES} entries, and up to {MAX_TRIED:,} lines that may be one"
            self._report(TOO_MANY, number, message, said)
            return
        value = _object(said)
        if value is None:
            self._report(MALFORMED, number, "this is no JSON object", said)
        else:
            self._keep(block, number, value, said)

    def _keep(self, block: _Block, number: int, entry: dict[str, Any], text: str) -> None:
        if self._nonce is not None:
            shown = entry.get(NONCE) == self._nonce
            if not block.signed and not shown:
                message = "it does not show the nonce, so anybody may have written it"
                self._report(UNSIGNED, number, message, text.strip())
                return
            if shown:
                del entry[NONCE]
        if len(self._found) >= MAX_ENTRIES:
            self._report(TOO_MANY, number, f"an output has up to {MAX_ENTRIES} entries", text.strip())
            return
        self._found.append(entry)

    def _said(self, end: int) -> str:
        """Return how the entry that has begun begins, up to where it ends."""
        assert self._block is not None
        start = self._block.start
        return f"{self._block.behind} {self._output[start : min(end, start + _SHOWN)].strip()}".strip()

    def _report(self, kind: str, line: int, message: str, beginning: str = "") -> None:
        if len(self._found.problems) >= MAX_PROBLEMS:
            self._found.unreported += 1
            return
        shown = valid_text(beginning[:_SHOWN])
        if self._nonce is not None:
            shown = shown.replace(self._nonce, "…")
        self._found.problems.append(Problem(kind, line, message, shown))


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, None where it is none."""
    try:
        value = decode_value(text) if "{" in text else None
    except CodecError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
