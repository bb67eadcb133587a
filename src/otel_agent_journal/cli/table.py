"""Tables for a terminal, by rich, which is imported here and nowhere else."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_agent_journal.cli.readable import one_line

_UNBOUNDED: Final = 100_000  # columns; off a terminal nothing is cut and nothing is wrapped


class Column(NamedTuple):
    """A column's heading, whether its cells stand right, and whether they may be cut to fit a terminal."""

    heading: str
    right: bool = False
    shrinks: bool = False


class Cell(NamedTuple):
    """A cell's text and its rich style."""

    text: str
    style: str = ""


def render(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, width: int, color: bool) -> str:
    """Return a table as text. `width`: of the terminal, 0 where there is none."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis" if column.shrinks else "fold",
            min_width=None if column.shrinks else cell_len(column.heading),
        )
    for row in rows:
        table.add_row(*(Text(one_line(cell.text), style=cell.style) for cell in row))
    sink = io.StringIO()
    console = Console(
        file=sink,
        width=width or _UNBOUNDED,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines())


def fit(text: str, width: int) -> str:
    """Return text cut or padded to exactly `width` terminal cells."""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, max(0, width - 1)) + "…"
