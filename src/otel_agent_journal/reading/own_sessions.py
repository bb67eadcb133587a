"""Sessions that this package itself keeps in a journal, beside those of agents: listings leave them out.

They are found by their id, by the beginning of it, and in SQL. Pure.
"""

from __future__ import annotations

from typing import Final

ALERTS: Final = "_alerts-"  # how the ids of the history of alerts begin; a day follows


def is_own(session_id: str) -> bool:
    """Tell whether a session is one of ours, and of no agent."""
    return session_id.startswith(ALERTS)
