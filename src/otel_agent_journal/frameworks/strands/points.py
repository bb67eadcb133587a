"""The point of an agent's context that a step ran on, where the journal keeps it: in the details of its START."""

from __future__ import annotations

import sys
from typing import Any, Final

_SESSIONS: Final = "otel_agent_journal.frameworks.strands.sessions"


def point_details(agent: Any) -> dict[str, Any]:
    """Return what the START of an agent's step says of its context; nothing of one that others keep.

    The module is not imported for it: where nobody has, nobody keeps a context.
    """
    sessions: Any = sys.modules.get(_SESSIONS)
    point = None if sessions is None else sessions.point_of(agent)
    return {} if point is None else {"context": point}
