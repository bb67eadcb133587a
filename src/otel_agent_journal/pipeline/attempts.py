"""How often this process has begun a step: retries and resumed steps have the id of the first attempt.

Bounded: the counts of the steps longest not begun are forgotten, and such a step counts from 1 again, as it would
in another process.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Final

MAX_STEPS: Final = 8192


class Attempts:
    """Counts attempts by step id."""

    def __init__(self, max_steps: int = MAX_STEPS) -> None:
        self._max_steps = max_steps
        # Not a dict: finding the oldest entry of one whose head was deleted is linear.
        self._counts: OrderedDict[str, int] = OrderedDict()

    def next(self, step_id: str) -> int:
        """Return the number of the attempt that begins now, from 1."""
        counts = self._counts
        attempt = counts.pop(step_id, 0) + 1
        counts[step_id] = attempt
        if len(counts) > self._max_steps:
            with contextlib.suppress(KeyError):  # another thread was faster
                counts.popitem(last=False)
        return attempt
