"""The tools for Strands. Imports Strands, so only who asks for them imports this."""

from __future__ import annotations

from typing import Any

import strands

from otel_agent_journal.agent_tools.offered import offered
from otel_agent_journal.agent_tools.tools import JournalTools


def tools_of(tools: JournalTools) -> list[Any]:
    """Return the tools as decorated functions."""
    decorated: Any = strands.tool  # whose overloads say less than nothing of what comes out
    return [decorated(one.function) for one in offered(tools)]
