"""Text in lines of so many cells of a terminal: wide characters count two, combining ones none."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from otel_agent_journal.terminal import neutral

_LEAST: int = 20  # cells of a line, however narrow the terminal is


def wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    """Yield the lines of a text, neutral, each behind `indent` and within `width` cells; 0 leaves them as long."""
    room = max(_LEAST, width - len(indent)) if width else 0
    for line in neutral(text).splitlines() or [""]:
        if not room or cell_len(line) <= room:
            yield f"{indent}{line}".rstrip()
            continue
        for piece in _broken(line, room):
            yield f"{indent}{piece}".rstrip()


def _broken(line: str, room: int) -> Iterator[str]:
    """Yield a line in pieces, broken between words where there are any; each is indented as the line was."""
    indent = line[: len(line) - len(line.lstrip())][: room // 2]
    words = (piece for word in line.strip().split(" ") for piece in chop_cells(word, room - len(indent)) or [""])
    piece = next(words)
    for word in words:
        if cell_len(indent) + cell_len(piece) + 1 + cell_len(word) > room:
            yield indent + piece
            piece = word
        else:
            piece = f"{piece} {word}"
    yield indent + piece
