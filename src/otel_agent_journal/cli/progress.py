"""A progress bar on stderr for long work, where stderr is a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import click

_REDRAWS: Final = 200  # of a whole bar; drawing it for every event would take longer than the work


@contextmanager
def progress(total: int, label: str) -> Generator[Callable[[int], None]]:
    """Give a function that moves the bar by a number of units out of `total`."""
    if not sys.stderr.isatty():
        yield lambda _units: None
        return
    bar = click.progressbar(
        length=max(1, total), label=label, file=sys.stderr, update_min_steps=max(1, total // _REDRAWS)
    )
    with bar:
        yield bar.update
