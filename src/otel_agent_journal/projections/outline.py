"""An event without its content: what a tree and a list need of it. Pure.

Whoever reads a whole session to print a line a step takes this of each event as it comes, so that what the steps took
and gave is never in memory together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import EMPTY, JournalEvent
from otel_agent_journal.projections.cost import TOLD

_READ: Final = frozenset(("base", "checkpoint_id", "fork", "raised_at", "reason", "session", "trace", "writer"))
_PRICED: Final = "attributes"  # of a call: what its price depends on
_LONGEST: Final = 1000  # characters; no id and no reason of ours has as many


def outline(event: JournalEvent) -> JournalEvent:
    """Return the event with those of its details alone that the tree of its session depends on."""
    details = event.details
    if not details:
        return event
    priced = _priced(event, details)
    if _READ.isdisjoint(details) and "passed_through" not in details and not priced:
        return msgspec.structs.replace(event, details=EMPTY)
    kept: dict[str, Any] = {
        name: text for name in _READ if isinstance(text := details.get(name), str) and len(text) <= _LONGEST
    }
    if details.get("passed_through") is True:
        kept["passed_through"] = True
    kept |= priced
    return msgspec.structs.replace(event, details=kept or EMPTY)


def _priced(event: JournalEvent, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a call's details what it costs by."""
    if event.usage is None and not event.type.startswith("MODEL"):
        return {}
    said: Any = details.get(_PRICED)
    found = cast("Mapping[str, Any]", said if isinstance(said, Mapping) else EMPTY)
    told = {key: found[key] for key in TOLD if key in found}
    priced: dict[str, Any] = {_PRICED: told} if told else {}
    if details.get("cached") is True:
        priced["cached"] = True
    return priced
