"""`agent-journal run`: a program with its agents journaled. Thin: what it does is in `bootstrap`."""

from __future__ import annotations

import os

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command(
    "run",
    short_help="Run a program with its agents journaled, its code untouched.",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--otlp", metavar="URL", help="Forward spans there, as http://localhost:4318. [env: AGENT_JOURNAL_OTLP]")
@click.option("--session", metavar="ID", help="Journal under this session id. [env: AGENT_JOURNAL_SESSION]")
@click.option("--checkpoint", is_flag=True, help="Keep the checkpoints of LangGraph graphs that have no checkpointer.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD...")
@common_options
@pass_invocation
def command(
    invocation: Invocation, otlp: str | None, session: str | None, checkpoint: bool, cmd: tuple[str, ...]
) -> int:
    """Run a program with its agents journaled, its code untouched.

    Its stdin, stdout and exit code stay its own; what we have to say goes to stderr. As in: agent-journal run --
    python my_agent.py
    """
    if not cmd:
        raise click.UsageError("'run' needs a program to run, as in: agent-journal run -- python my_agent.py")
    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.config import CHECKPOINT

    environ = {**os.environ, **({CHECKPOINT: "on"} if checkpoint else {})}
    return run_agent(invocation.settings(otlp=otlp, session=session), cmd, env=environ)
