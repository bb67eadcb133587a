"""`agent-journal mcp`: the journal as tools of any agent that speaks MCP, over stdin and stdout (the extra `mcp`)."""

from __future__ import annotations

from contextlib import suppress

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command("mcp", short_help="Offer the journal to agents as tools, by MCP over stdio.")
@click.option("--session", "session_id", metavar="ID", help="The agent's own session. [env: AGENT_JOURNAL_SESSION]")
@click.option("--allow", multiple=True, metavar="PATTERN", help="More sessions within reach, as team-*; * is all.")
@click.option("--read-only", is_flag=True, help="Offer no tool that writes.")
@common_options
@pass_invocation
def command(invocation: Invocation, session_id: str | None, allow: tuple[str, ...], read_only: bool) -> None:
    """Offer the journal to agents as tools, by MCP over stdio.

    Without --allow an agent reaches its own session and its lineage. It is started by the agent's program, as the
    command of an MCP server.
    """
    from importlib.metadata import version

    from otel_agent_journal.bootstrap.agent_tools import journal_tools
    from otel_agent_journal.bootstrap.openers import open_store
    from otel_agent_journal.errors import MissingExtra, StoreError

    invocation.log()
    settings = invocation.settings()
    try:
        from otel_agent_journal.agent_tools.mcp import server_of
    except ImportError as error:
        raise MissingExtra("what `mcp` runs on (the MCP SDK)", "otel-agent-journal[mcp]") from error
    with suppress(StoreError):  # one that is not there yet, or away, may come; one that cannot be is told now
        open_store(settings).close()
    tools = journal_tools(session_id, store=settings.store, allow=allow or None, written_by="mcp")
    invocation.resources.callback(tools.close)
    server_of(tools, version("otel-agent-journal"), writes=not read_only).run("stdio")
