"""What a tool does to the world: `read`, `write`, `irreversible`, or not known: as declared, else as MCP hints."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from otel_agent_journal.event import EFFECTS, EMPTY

_MAX_KNOWN: Final = 1000
_OF_THE_JOURNAL: Final = {  # its own tools, where nothing else is declared of them
    "write_journal_entry": "write",
    "read_journal": "read",
    "query_journal": "read",
    "wait_for_journal": "read",
}


class Effects:
    """The effects that were declared of tools.

    Args:
        declared: by a tool's name or a pattern of names, as `delete_*`; a name counts before patterns, the first of
            these before others.
    """

    def __init__(self, declared: Mapping[str, str] = EMPTY) -> None:
        self._declared = dict(declared)
        self._known: dict[str, str | None] = {}

    def of(self, name: str) -> str | None:
        """Return what was declared of a tool."""
        if not self._declared:
            return _OF_THE_JOURNAL.get(name)
        if name not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            by_pattern = (effects for one, effects in self._declared.items() if fnmatchcase(name, one))
            self._known[name] = self._declared.get(name) or next(by_pattern, None) or _OF_THE_JOURNAL.get(name)
        return self._known[name]


def effects_hinted(hints: Mapping[str, Any]) -> str | None:
    """Return what the annotations of an MCP tool say; they may be wrong, so what is declared counts before them."""
    if hints.get("readOnlyHint") is True:
        return "read"
    if hints.get("destructiveHint") is True:
        return "irreversible"
    return "write" if hints.get("destructiveHint") is False or hints.get("readOnlyHint") is False else None


def known_effects(effects: Any) -> str | None:
    """Return effects that somebody names, if they are any."""
    return effects if isinstance(effects, str) and effects in EFFECTS else None
