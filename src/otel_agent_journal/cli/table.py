"""Tables for a terminal, laid out by cells (`cells`): no line is wider than the terminal, and none is wrapped.

Where there is too little room the widest columns that may shrink do, ids in their middle; then optional ones go, and a
line below the table says which. In data everything is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from otel_agent_journal.cli.cells import cell_len, cut_middle, fit, told_apart, within, wrapped
from otel_agent_journal.cli.readable import one_line

__all__ = ["ID_WIDTH", "Cell", "Column", "cell_len", "fit", "growing", "render"]

ID_WIDTH: Final = 32  # of ids of ours
_GAP: Final = 2
_INDENT: Final = 4  # of what goes on below a row
_LEAST_LINE: Final = 20  # cells of what goes on below a row, however narrow the terminal is

Paint = Callable[..., str]


class Column(NamedTuple):
    """A column's heading and how it behaves.

    `right`: its cells stand right. `least`: it may shrink to so many cells. `middle`: its cells are ids, which are cut
    in the middle. `optional`: it goes where there is no room, the highest first; 0 never. `sparse`: it stands only
    where a row has something in it.
    """

    heading: str
    right: bool = False
    least: int | None = None
    middle: bool = False
    optional: int = 0
    sparse: bool = False


class Cell(NamedTuple):
    """A cell's text and its styles, as `Output.paint` knows them."""

    text: str
    style: str = ""


def render(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, width: int, paint: Paint) -> list[str]:
    """Return the lines of a table, their text neutral. `width`: of the terminal, 0 where there is none."""
    columns = [column._replace(heading=one_line(column.heading)) for column in columns]
    cells = [[Cell(one_line(cell.text), cell.style) for cell in row] for row in rows]
    filled = [at for at, column in enumerate(columns) if not column.sparse or any(row[at].text for row in cells)]
    widths = {
        at: max([cell_len(columns[at].heading), *(cell_len(row[at].text) for row in cells)], default=0) for at in filled
    }
    shown = _shown(columns, widths, width)
    final = _shrunk(columns, widths, shown, width)
    for at in shown:
        _cut_to_fit(columns[at], [row[at].text for row in cells], final[at], cells, at)
    headings = [Cell(column.heading, "bold") for column in columns]
    lines = [_line(columns, row, shown, final, width, paint) for row in (headings, *cells)]
    if gone := [columns[at].heading for at in filled if at not in shown]:
        lines.append(paint(within(f"no room for {', '.join(gone)}; -o json has all", width), "dim"))
    return lines


def growing(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], paint: Paint, *, width: int = 0
) -> Iterator[str]:
    """Yield a heading, then a line a row as they come; nothing where there is no row.

    A column is `least` cells wide: nobody knows what is still to come. A longer cell stands whole, an id is cut where
    there is a terminal; what of the last cell does not fit into the terminal's `width` goes on below.
    """
    widths = [max(column.least or 0, cell_len(column.heading)) for column in columns]
    for number, row in enumerate(rows):
        if not number:
            yield _padded([Cell(column.heading, "bold") for column in columns], widths, paint)
        cells = [Cell(one_line(cell.text), cell.style) for cell in row]
        if width:
            cells = [
                cell._replace(text=cut_middle(cell.text, max(ID_WIDTH, len(column.heading)))) if column.middle else cell
                for column, cell in zip(columns, cells, strict=True)
            ]
        before = sum(max(size, cell_len(cell.text)) + _GAP for size, cell in zip(widths, cells[:-1], strict=False))
        if not width or before + cell_len(cells[-1].text) <= width:
            yield _padded(cells, widths, paint)
            continue
        last, room = cells[-1], max(_LEAST_LINE, width - _INDENT)
        first, rest = ("", last.text)
        if width - before >= _LEAST_LINE:
            first = next(wrapped(last.text, width - before))
            rest = last.text[len(first) :].lstrip()
        yield _padded([*cells[:-1], last._replace(text=first)], widths, paint)
        yield from (" " * _INDENT + paint(line, *last.style.split()) for line in wrapped(rest, room))


def _cut_to_fit(column: Column, texts: list[str], width: int, cells: list[list[Cell]], at: int) -> None:
    """Cut the cells of a column to its width, ids so that they can be told apart."""
    shorter = told_apart(texts, width) if column.middle else {text: within(text, width) for text in texts}
    for row in cells:
        row[at] = row[at]._replace(text=shorter[row[at].text])


def _line(
    columns: Sequence[Column],
    row: Sequence[Cell],
    shown: Sequence[int],
    final: dict[int, int],
    width: int,
    paint: Paint,
) -> str:
    parts: list[str] = []
    for at in shown:
        text = within(row[at].text, final[at])
        room = " " * (final[at] - cell_len(text))
        styled = paint(text, *row[at].style.split())
        parts.append(room + styled if columns[at].right else styled + room)
    line = (" " * _GAP).join(parts).rstrip()
    if width and sum(final.values()) + _GAP * (len(shown) - 1) > width:  # a terminal of a few cells: plain, but whole
        line = within((" " * _GAP).join(fit(row[at].text, final[at]) for at in shown).rstrip(), width)
    return line


def _padded(cells: Sequence[Cell], widths: Sequence[int], paint: Paint) -> str:
    padded = (
        paint(cell.text, *cell.style.split()) + " " * (width - cell_len(cell.text))
        for cell, width in zip(cells, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


def _shown(columns: Sequence[Column], widths: dict[int, int], width: int) -> list[int]:
    shown = list(widths)
    going = sorted((at for at in shown if columns[at].optional), key=lambda at: columns[at].optional)
    while width and going and _needed(columns, widths, shown) > width:
        shown.remove(going.pop())
    return shown


def _shrunk(columns: Sequence[Column], widths: dict[int, int], shown: Sequence[int], width: int) -> dict[int, int]:
    """Return the width of each column shown: of those that may shrink, the widest do first, until all fit."""
    final = {at: widths[at] for at in shown}
    room = width - _GAP * (len(final) - 1)
    if not width or sum(final.values()) <= room:
        return final
    low, high = 0, max(final.values())  # no column that may shrink is wider than some width: the most that fits
    while low < high:
        most = (low + high + 1) // 2
        if sum(_at_most(columns[at], widths[at], most) for at in shown) <= room:
            low = most
        else:
            high = most - 1
    final = {at: _at_most(columns[at], widths[at], low) for at in shown}
    for at in shown:  # a few cells are left where several columns have that width
        if final[at] < widths[at] and final[at] >= low and sum(final.values()) < room:
            final[at] += 1
    return final


def _at_most(column: Column, width: int, most: int) -> int:
    return max(_least(column, width), min(width, most))


def _needed(columns: Sequence[Column], widths: dict[int, int], shown: Sequence[int]) -> int:
    return sum(_least(columns[at], widths[at]) for at in shown) + _GAP * (len(shown) - 1)


def _least(column: Column, width: int) -> int:
    return width if column.least is None else min(max(column.least, cell_len(column.heading)), width)
