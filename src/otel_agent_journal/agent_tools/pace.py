"""How many entries may be written: a store of tokens a session, filled again at a steady pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from otel_agent_journal.threads import Lock

AT_ONCE: Final = 60
A_MINUTE: Final = 60
_SESSIONS: Final = 1_000  # remembered; a session that is forgotten begins with all its tokens


class Pace:
    """Says how long to wait until the next entry. Thread-safe.

    Args:
        at_once: entries that may come in a row.
        a_minute: how many more a minute.
        clock: seconds, never going back.
    """

    def __init__(
        self, at_once: int = AT_ONCE, a_minute: float = A_MINUTE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_once = at_once
        self._a_second = a_minute / 60
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # of a session: its tokens, and when they were counted
        self._lock = Lock()

    def take(self, session_id: str) -> float:
        """Take a token and return 0; where there is none return the seconds until there is."""
        with self._lock:
            now_s = self._clock()
            left, counted_s = self._left.pop(session_id, (float(self._at_once), now_s))
            left = min(float(self._at_once), left + (now_s - counted_s) * self._a_second)
            wait_s = 0.0 if left >= 1 else (1 - left) / self._a_second
            self._left[session_id] = (left if wait_s else left - 1, now_s)
            if len(self._left) > _SESSIONS:
                del self._left[next(iter(self._left))]
            return wait_s
