"""Quantiles of many numbers in bounded memory: exact for the first few thousand, within 1 % from there on. Pure.

Beyond `EXACT` values they are counted in buckets, each 2 % wider than the one before (DDSketch, VLDB 2019): some two
thousand of them for everything from a nanosecond to thirty years.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from math import ceil, log
from typing import Final

EXACT: Final = 4_096
ERROR: Final = 0.01  # of what is said to what is so
_GROWTH: Final = log((1 + ERROR) / (1 - ERROR))


class Quantiles:
    """Numbers of at least 0, added one by one. Not thread-safe."""

    __slots__ = ("_buckets", "_exact", "count")

    def __init__(self) -> None:
        self.count = 0
        self._exact: list[int] = []
        self._buckets: Counter[int] = Counter()

    def add(self, value: int) -> None:
        """Count a number."""
        self.count += 1
        if self._buckets:
            self._buckets[_bucket(value)] += 1
            return
        self._exact.append(value)
        if len(self._exact) > EXACT:
            self._buckets.update(map(_bucket, self._exact))
            self._exact = []

    def at(self, share: float) -> int | None:
        """Return the least number that such a share of them is not above, as SQL's `quantile_disc`; None of none."""
        if not self.count:
            return None
        rank = max(1, ceil(share * self.count))
        if not self._buckets:
            return sorted(self._exact)[rank - 1]
        buckets = sorted(self._buckets)
        passed = list(accumulate(self._buckets[bucket] for bucket in buckets))
        return _value(buckets[bisect_left(passed, rank)])


def _bucket(value: int) -> int:
    return ceil(log(value) / _GROWTH) if value > 0 else -1


def _value(bucket: int) -> int:
    """Return what lies in the middle of a bucket, so that nothing in it is further off than `ERROR`."""
    if bucket < 0:
        return 0
    growth = (1 + ERROR) / (1 - ERROR)
    return round(2 * growth**bucket / (growth + 1))
