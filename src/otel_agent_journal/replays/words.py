"""What events say of replays: which steps can be served, and which were."""

from __future__ import annotations

from typing import Final

SERVED_KINDS: Final = frozenset(("MODEL", "TOOL", "RETRIEVAL"))
BY_HAND: Final = "by_hand"  # on a START: code of the program's own makes the call
SERVABLE: Final = "servable"  # on an ending: that code asks whether it is served
READ: Final = "read"  # the effects of a tool that changes nothing
