"""Where and how results are written: a table for people, JSON, JSON lines or CSV for programs.

The format is the option's, else AGENT_JOURNAL_OUTPUT, else a table on a terminal and JSON lines in a pipe. Data goes
out as UTF-8 whatever the locale says, times in it are RFC 3339 UTC with nine digits, and ids are whole. Content of a
journal never reaches a terminal raw: control characters are made visible in text and escaped in JSON. Knows nothing
of sessions and steps.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from otel_agent_journal.cli.contract import FORMATS, OutputClosed
from otel_agent_journal.cli.readable import escape_json_controls, neutral
from otel_agent_journal.errors import ConfigError

if TYPE_CHECKING:
    from otel_agent_journal.cli.table import Cell, Column

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
_encode: Final = msgspec.json.Encoder().encode


class Output:
    """One command's stdout. `format` is table, json, jsonl or csv; `color` and `tty` are facts of the stream."""

    def __init__(self, form: str, stream: BinaryIO, *, tty: bool = False, color: bool = False, width: int = 0) -> None:
        self.format = form
        self.tty = tty
        self.color = color
        self.width = width
        self._stream = stream

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
        elif self.format == "json":
            self._array(_encode(record) for record in records)
        else:
            self.lines(_encode(record) for record in records)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write one record as data: in JSON an object, not an array of one."""
        if self.format == "json":
            self.write(self._safe(msgspec.json.format(_encode(record), indent=2)) + b"\n")
        else:
            self.records((record,), tuple(record))

    def lines(self, lines: Iterable[bytes]) -> None:
        """Write lines of JSON as they come."""
        for line in lines:
            self.write(self._safe(line) + b"\n")

    def encoded(self, lines: Iterable[bytes]) -> None:
        """Write objects already encoded as JSON: lines, or one array."""
        if self.format == "json":
            self._array(lines)
        else:
            self.lines(lines)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> None:
        """Write a table for people."""
        from otel_agent_journal.cli.table import render

        self.text(render(columns, rows, width=self.width, color=self.color))

    def text(self, text: str = "") -> None:
        """Write a line for people; content in it was made neutral by the caller."""
        self.write(text.encode("utf-8", "replace") + b"\n")

    def paint(self, text: str, *styles: str) -> str:
        """Return text in styles of `ANSI`, where this output has colours."""
        if not self.color or not styles or not text:
            return text
        return f"\x1b[{';'.join(ANSI[style] for style in styles)}m{text}\x1b[0m"

    def write(self, data: bytes) -> None:
        """Write bytes. Raises `OutputClosed` where the reader went away."""
        try:
            self._stream.write(data)
        except BrokenPipeError as error:
            raise OutputClosed from error

    def flush(self) -> None:
        """Hand over what was written. Raises `OutputClosed` where the reader went away."""
        try:
            self._stream.flush()
        except BrokenPipeError as error:
            raise OutputClosed from error

    def _safe(self, data: bytes) -> bytes:
        return escape_json_controls(data) if self.tty else data

    def _array(self, items: Iterable[bytes]) -> None:
        separator = b"["
        for item in items:
            self.write(separator + b"\n  " + self._safe(item))
            separator = b","
        self.write(b"[]\n" if separator == b"[" else b"\n]\n")

    def _csv(self, records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        writer.writerow(columns)
        self.write(line.getvalue().encode("utf-8", "replace"))
        for record in records:
            line.seek(0)
            line.truncate()
            writer.writerow([_cell(record.get(column)) for column in columns])
            self.write(line.getvalue().encode("utf-8", "replace"))


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
    return neutral(value if isinstance(value, str) else _encode(value).decode("utf-8"))
