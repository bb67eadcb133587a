"""What tests say of time by the clock, on a machine that others use, too."""

from __future__ import annotations

import pytest

# For a test that bounds what something takes: another process may have the machine for as long. It is tried three
# times, and what is slow by itself is so each time. Never for a test of anything else: what fails by chance is wrong.
by_the_clock = pytest.mark.flaky(reruns=2)
