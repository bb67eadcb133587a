"""Tables for a terminal, by rich, which is imported here and nowhere else.

Ids are never cut: where a terminal is too narrow, columns that may shrink do, then optional ones go, and what is
still too wide is left to the terminal to wrap.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_agent_journal.cli.readable import one_line

__all__ = ["ID_WIDTH", "Cell", "Column", "cell_len", "fit", "growing", "render", "within"]

ID_WIDTH: Final = 32  # of ids of ours
_GAP: Final = 2


class Column(NamedTuple):
    """A column's heading and how it behaves.

    `right`: its cells stand right. `least`: it may shrink to so many cells. `optional`: it goes where there is no
    room, the highest first; 0 never.
    """

    heading: str
    right: bool = False
    least: int | None = None
    optional: int = 0


class Cell(NamedTuple):
    """A cell's text and its rich style."""

    text: str
    style: str = ""


def render(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, width: int, color: bool) -> list[str]:
    """Return the lines of a table, their text neutral. `width`: of the terminal, 0 where there is none."""
    columns = [column._replace(heading=one_line(column.heading)) for column in columns]
    cells = [[Text(one_line(cell.text), style=cell.style) for cell in row] for row in rows]
    widths = [
        max([cell_len(column.heading), *(cell.cell_len for cell in column_cells)])
        for column, column_cells in zip(
            columns, zip(*cells, strict=True) if cells else [()] * len(columns), strict=True
        )
    ]
    shown = _shown(columns, widths, width)
    final = _shrunk(columns, widths, shown, width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for at in shown:
        column = columns[at]
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=final[at],
        )
    for row in cells:
        table.add_row(*(row[at] for at in shown))
    sink = io.StringIO()
    console = Console(
        file=sink,
        width=sum(final.values()) + _GAP * len(final),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(table)
    return [line.rstrip() for line in sink.getvalue().split("\n")[:-1]]


def growing(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], paint: Callable[..., str]) -> Iterator[str]:
    """Yield a heading, then a line a row as they come; nothing where there is no row.

    A column is `least` cells wide: nobody knows what is still to come. A longer cell stands whole.
    """
    widths = [max(column.least or 0, cell_len(column.heading)) for column in columns]
    for number, row in enumerate(rows):
        if not number:
            yield _line([Cell(column.heading, "bold") for column in columns], widths, paint)
        yield _line([Cell(one_line(cell.text), cell.style) for cell in row], widths, paint)


def _line(cells: Sequence[Cell], widths: Sequence[int], paint: Callable[..., str]) -> str:
    padded = (
        paint(cell.text, *cell.style.split()) + " " * (width - cell_len(cell.text))
        for cell, width in zip(cells, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


def fit(text: str, width: int) -> str:
    """Return text cut or padded to exactly `width` terminal cells."""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, max(0, width - 1)) + "…"


def within(text: str, width: int) -> str:
    """Return text cut to at most `width` terminal cells, an ellipsis for what is left out."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def _shown(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    shown = list(range(len(columns)))
    going = sorted((at for at in shown if columns[at].optional), key=lambda at: columns[at].optional)
    while width and going and _needed(columns, widths, shown) > width:
        shown.remove(going.pop())
    return shown


def _shrunk(columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], width: int) -> dict[int, int]:
    """Return the width of each column shown: those that may shrink do, the last first, until all fit."""
    final = {at: widths[at] for at in shown}
    excess = sum(final.values()) + _GAP * (len(final) - 1) - width if width else 0
    for at in reversed(shown):
        given = min(max(0, excess), widths[at] - _least(columns[at], widths[at]))
        final[at] -= given
        excess -= given
    return final


def _needed(columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(_least(columns[at], widths[at]) for at in shown) + _GAP * (len(shown) - 1)


def _least(column: Column, width: int) -> int:
    return width if column.least is None else min(column.least, width)
