"""Counters that several processes count and one reads: 64-bit integers in shared memory, a row for each process.

Each cell is written by one process alone, and among its threads a lock is enough; a reader sums up the rows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from ctypes import c_int64
from multiprocessing.sharedctypes import RawArray
from typing import Any, Final

NAMES: Final = (
    # by those that serve
    "requests",
    "received",
    "rejected",
    "left_out",
    "malformed",
    "too_large",
    "unauthenticated",
    "busy",
    "bytes",
    "in_flight_bytes",
    # by the one that delivers
    "stored",
    "duplicate",
    "set_aside",
    "recovered",
    "spool_bytes",
)
_INDEX: Final[Mapping[str, int]] = {name: index for index, name in enumerate(NAMES)}


class Counters:
    """The counters of so many processes. Made before they are started, and handed to each."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._cells: Any = RawArray(c_int64, processes * len(NAMES))

    def row(self, process: int) -> Row:
        """Return the counters of one process, to be counted by it alone."""
        return Row(self._cells, process * len(NAMES))

    def totals(self) -> dict[str, int]:
        """Return the sums over all processes."""
        cells = list(self._cells)
        return {name: sum(cells[index :: len(NAMES)]) for name, index in _INDEX.items()}


class Row:
    """One process's counters."""

    def __init__(self, cells: Any, start: int) -> None:
        self._cells = cells
        self._start = start
        self._adding = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        """Count. From any thread."""
        with self._adding:
            self._cells[self._start + _INDEX[name]] += count

    def put(self, name: str, value: int) -> None:
        """Set what is counted elsewhere."""
        self._cells[self._start + _INDEX[name]] = value
