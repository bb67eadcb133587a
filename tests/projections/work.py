"""How much work a call is, counted and not timed: the byte codes that Python runs for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def operations(call: Callable[[], object]) -> int:
    """Return how many byte codes a call runs, all that it calls in Python included."""
    count = 0

    def traced(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
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
