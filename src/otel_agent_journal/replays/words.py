"""What events say of replays: which steps can be served, and which were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SERVED_KINDS: Final = frozenset(("MODEL", "TOOL", "RETRIEVAL"))
BY_HAND: Final = "by_hand"  # on a START: code of the program's own makes the call
SERVABLE: Final = "servable"  # on an ending: that code asks whether it is served
REMOTE: Final = "remote"  # on a START: one call does all of the step, and its answer tells what is below it
PARAMETERS: Final = "parameters"  # on such a START: what it is asked, but for its input
READ: Final = "read"  # the effects of a tool that changes nothing


def is_call(kind: str, details: Mapping[str, Any]) -> bool:
    """Tell whether a step is a call, which is served: by its kind, or since all of it is done elsewhere."""
    return kind in SERVED_KINDS or bool(details.get(REMOTE))
