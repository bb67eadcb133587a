"""An event without its content: what a tree and a list need of it. Pure.

Whoever reads a whole session to print a line a step takes this of each event as it comes, so that what the steps took
and gave is never in memory together.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otel_agent_journal.event import EMPTY, JournalEvent

_READ: Final = frozenset(("base", "checkpoint_id", "fork", "raised_at", "reason", "session", "trace", "writer"))
_LONGEST: Final = 1000  # characters; no id and no reason of ours has as many


def outline(event: JournalEvent) -> JournalEvent:
    """Return the event with those of its details alone that the tree of its session depends on."""
    details = event.details
    if not details:
        return event
    if _READ.isdisjoint(details) and "passed_through" not in details:
        return msgspec.structs.replace(event, details=EMPTY)
    kept: dict[str, Any] = {
        name: text for name in _READ if isinstance(text := details.get(name), str) and len(text) <= _LONGEST
    }
    if details.get("passed_through") is True:
        kept["passed_through"] = True
    return msgspec.structs.replace(event, details=kept or EMPTY)
