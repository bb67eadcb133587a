"""The tools for LangChain and LangGraph. Imports langchain-core, so only who asks for them imports this."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import BaseTool, StructuredTool

from otel_agent_journal.agent_tools.offered import Offered, offered
from otel_agent_journal.agent_tools.tools import JournalTools


def tools_of(tools: JournalTools) -> list[BaseTool]:
    """Return the tools, their effects declared in their metadata as those of MCP tools are."""
    return [_tool(one) for one in offered(tools)]


def _tool(one: Offered) -> BaseTool:
    hints: dict[str, Any] = dict(one.hints)
    return StructuredTool.from_function(one.function, name=one.name, parse_docstring=True, metadata=hints)
