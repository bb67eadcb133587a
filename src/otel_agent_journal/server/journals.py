"""Journals for the threads that answer requests: each has one to itself while it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

AT_ONCE: Final = 4


class Journals:
    """Opens journals as they are needed, up to `AT_ONCE`, and closes them all in the end. Thread-safe."""

    def __init__(self, open_journal: Callable[[], Journal]) -> None:
        self._open = open_journal
        self._lock = threading.Lock()
        self._free: list[Journal] = []
        self._closed = False

    @contextmanager
    def one(self) -> Generator[Journal]:
        """Yield a journal that nobody else uses meanwhile.

        Raises:
            StoreUnreachable: there is none.
        """
        with self._lock:
            journal = self._free.pop() if self._free else None
        if journal is None:
            journal = self._open()
        try:
            yield journal
        finally:
            with self._lock:
                keep = not self._closed and len(self._free) < AT_ONCE
                if keep:
                    self._free.append(journal)
            if not keep:
                journal.close()

    def close(self) -> None:
        """Close those that nobody uses; the others as they are given back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for journal in free:
            journal.close()
