"""`agent-journal demo`: a small research agent, live. Thin: what it does is in `bootstrap`."""

from __future__ import annotations

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command("demo", short_help="Run a small research agent live, no key and no account needed.")
@click.option("--otlp", metavar="URL", help="Forward its spans there, as http://localhost:4318.")
@click.option("--session", metavar="ID", help="Journal it under this session id.")
@common_options
@pass_invocation
def command(invocation: Invocation, otlp: str | None, session: str | None) -> int:
    """Run a small research agent live, no key and no account needed.

    A real LangGraph agent on a scripted model: a subgraph, a fan-out, tools of which one fails and is retried. Shows
    its steps as they begin and end, then the tree, and what to try next.
    """
    from otel_agent_journal.bootstrap import run_demo

    return run_demo(invocation.settings(otlp=otlp, session=session))
