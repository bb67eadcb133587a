"""Group commit: many threads that want their record on the disk share one sync.

Whoever comes first syncs for all that have appended by then; those who come while it runs wait for the next. A
signal handler that appends inside the syncing thread syncs by itself instead of waiting for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from otel_agent_journal.spool.segment import Segment

_LOOK_AGAIN_S: Final = 1.0  # should a KeyboardInterrupt have swallowed a leader's word


class GroupCommit:
    """Make what was put into a segment survive a power loss. Thread-safe, re-entrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._asked = 0
        self._done = 0
        self._leader: int | None = None
        self.syncs = 0

    def sync(self, current: Callable[[], Segment]) -> None:
        """Return once everything put into any segment before this call is on the disk.

        `current` gives the segment in use; those before it were synced when they went out of use.

        Raises:
            OSError: the disk failed.
        """
        me, outer, leads = threading.get_ident(), None, False
        try:
            with self._changed:
                self._asked += 1
                mine = self._asked
                while self._leader is not None and self._leader != me:
                    self._changed.wait(_LOOK_AGAIN_S)
                    if self._done >= mine:
                        return
                outer, self._leader, leads = self._leader, me, True
                target = self._asked
            current().sync()
            with self._changed:
                self.syncs += 1
                self._done = max(self._done, target)
        finally:
            if leads:
                self._leader = outer
                with self._changed:
                    self._changed.notify_all()
