"""Forked children of tests."""

from __future__ import annotations

import os
import signal
import time


def wait_status(child: int, timeout_s: float = 30) -> int | None:
    """Return the wait status of a child once it ends; one that does not in time is killed, and that is None."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
