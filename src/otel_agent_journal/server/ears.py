"""A session whose raw events are read: who reads is told that something has arrived, and nothing is folded.

So reading on in a session costs what arrives in it, however long it is.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from otel_agent_journal.projections.links import part_named_by
from otel_agent_journal.server.feeds import Readers
from otel_agent_journal.store.linked import parts_in

if TYPE_CHECKING:
    from otel_agent_journal.server.feeds import Feed
    from otel_agent_journal.store.protocol import JournalStore

QUIET_SHARE: Final = 20  # a session is looked at again after this part of the time that it was quiet
LONGEST_S: Final = 0.5
SHORTEST_S: Final = 0.04


class Ear:
    """What arrives in one session and its parts. `look` is called by the thread that follows; all else from any."""

    def __init__(self, session_id: str, store: JournalStore) -> None:
        self.session_id = session_id
        self.ready = threading.Event()  # whatever arrives from here on is told
        self.readers = Readers()
        self.used_s = self._arrived_s = time.monotonic()
        self._looked_s = 0.0
        self._store = store
        self._cursors: dict[str, str | None] = {}

    def detach(self, feed: Feed) -> None:
        """Tell a reader no longer."""
        self.readers.detach(feed)
        self.used_s = time.monotonic()

    def is_due(self, now_s: float) -> bool:
        """Tell whether to look now: the longer nothing has come, the less often, up to a bound."""
        if not self.ready.is_set():
            return True
        pause_s = min(LONGEST_S, max(SHORTEST_S, (now_s - self._arrived_s) / QUIET_SHARE))
        return bool(self.readers) and now_s - self._looked_s >= pause_s

    def look(self) -> bool:
        """Find out whether anything has arrived, and say so; return whether to look again at once.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        self._looked_s = time.monotonic()
        if not self.ready.is_set():
            for name in (self.session_id, *parts_in(self._store, self.session_id)):
                self._cursors[name] = self._store.tip(name)
            self.ready.set()
            return False
        came = False
        for name, cursor in list(self._cursors.items()):
            page = self._store.follow(cursor, session_id=name)
            self._cursors[name] = page.cursor
            came = came or bool(page.events)
            for part in map(part_named_by, page.events):
                if part is not None:
                    self._cursors.setdefault(part, None)
        if came:
            self._arrived_s = self._looked_s
            for feed in self.readers:
                feed.nudge()
        return came
