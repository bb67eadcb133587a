"""Group commit: many threads that want their record on the disk share one sync.

Whoever comes first syncs for all that have appended by then; those who come while it runs wait for the next. A
signal handler that appends inside the syncing thread syncs by itself instead of waiting for itself, and so does who
has waited for long: what interrupts the thread that syncs may wait for this very one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_agent_journal.spool.segment import Segment
from otel_agent_journal.threads import Changes, ident

_PATIENCE_S: Final = 1.0


class GroupCommit:
    """Make what was put into a segment survive a power loss. Thread-safe, re-entrant."""

    def __init__(self) -> None:
        self._changes = Changes()
        self._asked = 0
        self._done = 0
        self._leader: int | None = None

    def sync(self, current: Callable[[], Segment]) -> None:
        """Return once everything put into any segment before this call is on the disk.

        `current` gives the segment in use; those before it were synced when they went out of use.

        Raises:
            OSError: the disk failed.
        """
        me = ident()
        mine = self._asked = self._asked + 1
        outer: int | None = None

        def is_settled() -> bool:
            nonlocal outer
            if self._done >= mine:
                return True
            if self._leader is not None and self._leader != me:
                return False
            outer, self._leader = self._leader, me  # no call since it was looked at: nobody else leads
            return True

        try:
            self._changes.wait_until(is_settled, _PATIENCE_S)
            if self._done >= mine:
                return
            self._leader = me
            target = self._asked
            current().sync()
            if target > self._done:
                self._done = target
        finally:
            if self._leader == me:
                self._leader = outer
            self._changes.tell()
