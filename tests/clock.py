"""What tests say of time by the clock, on a machine that others use, too."""

from __future__ import annotations

import pytest


class TooLate(AssertionError):
    """Something took longer than it may. Another process may have had the machine for as long."""


# A test that fails by this alone is tried three times: what is slow by itself is so each time. What fails by anything
# else is not tried again: what fails by chance is wrong.
by_the_clock = pytest.mark.flaky(reruns=2, only_rerun="^TooLate: ")


def in_time(took_s: float, bound_s: float) -> float:
    """Check that something took less than its bound, and return what it took, in seconds."""
    if took_s >= bound_s:
        raise TooLate(f"it took {took_s:.3f} s, of {bound_s:.3f}")
    return took_s
