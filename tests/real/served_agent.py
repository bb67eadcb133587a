"""The agent that the tests of `serve` run: this module is imported in the process of a run."""

from __future__ import annotations

import time
from typing import Any

from otel_agent_journal import step


def counting(given: Any) -> Any:
    """Count, a step each."""
    for number in range(given):
        with step("tool", f"count {number}"):
            time.sleep(1.5)
    return {"counted": given}
