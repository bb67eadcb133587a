"""A session's events that `follow` does not give: what other programs have put into the store by themselves.

Nobody gave those an order of arrival, so they are found by reading: all at the first look, and what is new of them at
the next ones. One that comes more than a minute after events of a later time than its own is not news any more;
`JournalStore.read` has it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import JournalStore, PutByOthers

EVERY_S: Final = 1.0  # between two looks
LATE_NS: Final = 60 * 1_000_000_000  # how much later than its time an event may come


class OthersEvents:
    """One session's events by others, each once, to be woven into those that are followed.

    There are none where the store gives everything by `follow`, nor for all sessions together (None).
    """

    def __init__(self, store: JournalStore, session_id: str | None) -> None:
        self._store = store if isinstance(store, PutByOthers) else None
        self._read = store.read
        self._session_id = session_id
        self._found: deque[JournalEvent] = deque()  # in order of time, not yet given
        self._given: dict[tuple[str, int, str], None] = {}  # of the time that is read again
        self._newest_ns: int | None = None  # of any event that was seen; never ahead of the clock
        self._looked = False
        self._again_s = 0.0

    def woven(self, followed: Iterable[JournalEvent]) -> Iterator[JournalEvent]:
        """Yield events that were followed, in their order, each behind those by others of an earlier time.

        Where none were followed, all there are by others: the journal is read to its end.
        """
        if self._store is None or self._session_id is None:
            yield from followed
            return
        if time.monotonic() >= self._again_s:
            self._look(self._store, self._session_id)
        last = True
        for event in followed:
            last = False
            while self._found and self._found[0].key < event.key:
                yield self._found.popleft()
            self._saw(event)
            yield event
        if last:
            yield from self._found
            self._found.clear()

    def _look(self, store: PutByOthers, session_id: str) -> None:
        since_ns = None if self._newest_ns is None else self._newest_ns - LATE_NS
        self._given = {key: None for key in self._given if since_ns is None or key[1] >= since_ns}
        for event in store.put_by_others(session_id, since_ns):
            if event.key not in self._given:
                self._given[event.key] = None
                self._found.append(event)
                self._saw(event)
        if self._newest_ns is None and self._looked:  # nothing was followed either: the next looks need a beginning
            for event in self._read(session_id):
                self._saw(event)
        self._looked = True
        self._again_s = time.monotonic() + EVERY_S

    def _saw(self, event: JournalEvent) -> None:
        self._newest_ns = max(self._newest_ns or 0, min(event.timestamp_ns, time.time_ns()))
