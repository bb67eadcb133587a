"""The tools for Strands. Imports Strands, so only who asks for them imports this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import strands

from otel_agent_journal.agent_tools.offered import offered
from otel_agent_journal.agent_tools.tools import JournalTools


def tools_of(tools: JournalTools) -> list[Any]:
    """Return the tools as decorated functions."""
    decorated = cast("Callable[[Any], Any]", strands.tool)  # whose overloads do not say all of their types
    return [decorated(one.function) for one in offered(tools)]
