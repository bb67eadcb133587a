"""Texts of several lines, as blocks on a terminal: neutral, indented, each line within the width (see `cells`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_agent_journal.cli import cells
from otel_agent_journal.terminal import neutral

_LEAST: Final = 20  # cells of a line, however narrow the terminal is


def wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    """Yield the lines of a text, each behind `indent` and within `width` cells; 0 leaves them as long.

    What a line is broken into is indented as the line was.
    """
    room = max(_LEAST, width - len(indent)) if width else 0
    for line in neutral(text).splitlines() or [""]:
        before = line[: len(line) - len(line.lstrip())]
        before = before[: room // 2] if room else before
        for piece in cells.wrapped(line.strip() if room else line.lstrip(), room - len(before) if room else 0):
            yield f"{indent}{before}{piece}".rstrip()
