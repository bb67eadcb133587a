"""Calls of ours that go through the program's processors and exporters, under locks of theirs."""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable

from otel_agent_journal.threads import Turns, is_collecting, start_thread


class Outside(Turns):
    """Calls them at once, or in a thread of ours where this code may have interrupted who holds such a lock."""

    def __init__(self) -> None:
        super().__init__(start_thread)
        self._calling: set[int] = set()  # threads

    def call(self, work: Callable[[], object]) -> None:
        """Have something done that calls out. Within a finalizer or a signal handler it is not waited for."""
        me = get_ident()
        if (is_collecting() or me in self._calling) and self.bring(work):
            return
        self._calling.add(me)
        try:
            work()
        finally:
            self._calling.discard(me)
