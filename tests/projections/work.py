"""How much work a call is, counted and not timed: the lines that Python runs for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def operations(call: Callable[[], object]) -> int:
    """Return how many lines a call runs, each round of a loop and all that it calls in Python included."""
    count = 0

    def traced(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return traced

    # A collection in the midst of it runs the finalizers of what other tests left, and hypothesis's own callback.
    collecting, before = gc.isenabled(), sys.gettrace()
    gc.disable()
    sys.settrace(traced)
    try:
        call()
    finally:
        sys.settrace(before)
        if collecting:
            gc.enable()
    return count
