"""How long delivery tries again: full-jitter backoff until it is told to stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from otel_agent_journal.threads import Changes

FIRST_CEILING_S: Final = 0.1
LAST_CEILING_S: Final = 10.0
LONGEST_WISH_S: Final = 60.0  # of a store that says when to come again


class Patience:
    """Waits between tries, each a random time up to a ceiling that doubles; gives up at a deadline, if there is one.

    Thread-safe: `until` and `forever` may be called while another thread waits.
    """

    def __init__(
        self,
        *,
        first_s: float = FIRST_CEILING_S,
        last_s: float = LAST_CEILING_S,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._jitter = jitter
        self._deadline: float | None = None
        self._changes = Changes()

    def until(self, deadline: float) -> None:
        """Give up at this `time.monotonic()`; whoever waits is told at once."""
        self._deadline = deadline
        self._changes.tell()

    def forever(self) -> None:
        """Give up no more."""
        self._deadline = None

    def renew(self) -> None:
        """Start over, in a forked child."""
        self._deadline = None
        self._changes = Changes()

    @property
    def is_over(self) -> bool:
        """Tell whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def wait(self, tries: int, wished_s: float = 0.0) -> bool:
        """Wait after the `tries`-th failure, as long as the store wished at least; return whether to try again."""
        delay = self._jitter(0, min(self._last_s, self._first_s * 2 ** min(tries, 16)))
        delay = max(delay, min(wished_s, LONGEST_WISH_S))
        end = time.monotonic() + delay
        while (left := end - time.monotonic()) > 0 and not self.is_over:
            known = self._deadline
            if known is not None:
                left = min(left, known - time.monotonic())
            self._changes.wait_until(lambda known=known: self._deadline != known, left)
        return not self.is_over
