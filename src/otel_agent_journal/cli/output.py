"""Where and how results are written: a table for people, JSON, JSON lines or CSV for programs.

The format is the option's, else AGENT_JOURNAL_OUTPUT, else a table on a terminal and JSON lines in a pipe. Data goes
out as UTF-8 whatever the locale says, times in it are RFC 3339 UTC with nine digits, and ids are whole. Nothing that a
command gives reaches a terminal raw, whatever field it is of: control characters are made visible in text and in cells,
and escaped in JSON. The styles of `paint` are the one exception. Knows nothing of sessions and steps.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import msgspec

from otel_agent_journal.cli.contract import FORMATS, OutputClosed
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.terminal import neutral, neutral_json, neutral_line

if TYPE_CHECKING:
    from otel_agent_journal.cli.table import Cell, Column

Item = TypeVar("Item")

ANSI: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
_HELD_S: Final = 0.1  # how long what was written may wait for more of it: readers see the first at once
_encode: Final = msgspec.json.Encoder().encode


class Output:
    """One command's stdout. `format` is table, json, jsonl or csv; `color` and `tty` are facts of the stream.

    `stream` is where it goes: stdout, or a pager before it.
    """

    def __init__(self, form: str, stream: BinaryIO, *, tty: bool = False, color: bool = False, width: int = 0) -> None:
        self.format = form
        self.tty = tty
        self.color = color
        self.width = width
        self.stream = stream
        self._flushed_s = 0.0
        # What `paint` puts into a line no text of a journal can forge, since nobody knows it before.
        self._mark = f"\x1b[{os.urandom(8).hex()}:"
        self._styled = re.compile(re.escape(self._mark) + r"([\d;]+)m")

    @classmethod
    def detect(cls, option: str | None) -> Output:
        """Return the output of this process, its format as told or found.

        Raises:
            ConfigError: AGENT_JOURNAL_OUTPUT names no format.
        """
        chosen = option or os.environ.get("AGENT_JOURNAL_OUTPUT") or ""
        if chosen and chosen not in FORMATS:
            raise ConfigError(f"AGENT_JOURNAL_OUTPUT is '{chosen}'; it must be one of {', '.join(FORMATS)}")
        tty = sys.stdout.isatty()
        return cls(
            chosen or ("table" if tty else "jsonl"),
            sys.stdout.buffer,
            tty=tty,
            color=wants_color(sys.stdout.isatty(), os.environ),
            width=_terminal_width() if tty else 0,
        )

    @property
    def for_people(self) -> bool:
        """Whether a person reads this."""
        return self.format == "table"

    def records(self, records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Write records as data, one after the other as they come. `columns`: those of CSV, which has no nesting."""
        if self.format == "csv":
            self._csv(records, columns)
        else:
            self.encoded(_encode(record) for record in records)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write one record as data: in JSON an object, not an array of one."""
        if self.format in ("jsonl", "csv"):
            self.records((record,), tuple(record))
        else:
            self.document(_encode(record))

    def document(self, data: bytes) -> None:
        """Write one document of JSON: on a line where lines were asked for, else laid out."""
        laid_out = data if self.format == "jsonl" else msgspec.json.format(data, indent=2)
        self._write(neutral_json(laid_out) + b"\n")

    def encoded(self, objects: Iterable[bytes]) -> None:
        """Write objects already encoded as JSON, one after the other as they come: lines, or one array."""
        if self.format == "json":
            self._array(objects)
            return
        self.lines(objects)

    def lines(self, lines: Iterable[bytes]) -> None:
        """Write lines of JSON as they come, whatever the format: what another program reads again."""
        for line in lines:
            self._write(neutral_json(line) + b"\n")
            self._hand_over()

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
        """Write a table for people."""
        from otel_agent_journal.cli.table import render

        for line in render(columns, rows, width=self.width, paint=self.paint):
            self.text(line)

    def rows(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
        """Write a table for people row by row as they come, its heading with the first; see `table.growing`."""
        from otel_agent_journal.cli.table import growing

        for line in growing(columns, rows, self.paint, width=self.width):
            self.text(line)
            self.flush()

    def text(self, line: str = "") -> None:
        """Write one line for people. What is in it is made neutral, line ends too; what `paint` made of it stands."""
        pieces = self._styled.split(line)  # text, style, text, style, ... text
        pieces[::2] = map(neutral_line, pieces[::2])
        pieces[1::2] = [f"\x1b[{codes}m" for codes in pieces[1::2]]
        self._write("".join(pieces).encode("utf-8", "replace") + b"\n")
        self._hand_over()

    def paint(self, text: str, *styles: str) -> str:
        """Return text in styles of `ANSI` for a line of `text`, where this output has colours."""
        if not self.color or not styles or not text:
            return text
        return f"{self._mark}{';'.join(ANSI[style] for style in styles)}m{text}{self._mark}0m"

    def prompt(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items, each flushed before the next is asked for: for work of which every result is waited for."""
        for item in items:
            yield item
            self.flush()

    def flush(self) -> None:
        """Hand over what was written. Raises `OutputClosed` where the reader went away."""
        try:
            self.stream.flush()
        except BrokenPipeError as error:
            raise OutputClosed from error

    def _write(self, data: bytes) -> None:
        try:
            self.stream.write(data)
        except BrokenPipeError as error:
            raise OutputClosed from error

    def _hand_over(self) -> None:
        now_s = time.monotonic()
        if now_s - self._flushed_s >= _HELD_S:
            self.flush()
            self._flushed_s = now_s

    def _array(self, items: Iterable[bytes]) -> None:
        separator = b"["
        for item in items:
            self._write(separator + b"\n  " + neutral_json(item))
            separator = b","
            self._hand_over()
        self._write(b"[]\n" if separator == b"[" else b"\n]\n")

    def _csv(self, records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        writer.writerow(map(neutral, columns))
        self._write(line.getvalue().encode("utf-8", "replace"))
        for record in records:
            line.seek(0)
            line.truncate()
            writer.writerow([_cell(record.get(column)) for column in columns])
            self._write(line.getvalue().encode("utf-8", "replace"))
            self._hand_over()


def wants_color(tty: bool, environ: Mapping[str, str]) -> bool:
    """Tell whether to colour: never under NO_COLOR, always under FORCE_COLOR, else on a terminal that can."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return environ["FORCE_COLOR"] != "0"
    return tty and environ.get("TERM") != "dumb"


def _terminal_width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return 80


def _cell(value: Any) -> Any:
    """Return a value as CSV holds it: text made neutral, what is nested as JSON."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return neutral(value) if isinstance(value, str) else neutral_json(_encode(value)).decode("utf-8")
