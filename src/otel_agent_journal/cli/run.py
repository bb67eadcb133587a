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
@click.option(
    "--sinks", metavar="URLS", help="Send events on to these streams, with commas between. [env: AGENT_JOURNAL_SINKS]"
)
@click.option("--session", metavar="ID", help="Journal under this session id. [env: AGENT_JOURNAL_SESSION]")
@click.option("--checkpoint", is_flag=True, help="Keep the checkpoints of LangGraph graphs that have no checkpointer.")
@click.option("--ui", is_flag=True, help="Show it live in a browser: prints the link, and serves it meanwhile.")
@click.option("--ui-stay/--no-ui-stay", default=None, help="With --ui: whether it is served after the end, too.")
@click.option("--open/--no-open", "opens", default=False, help="With --ui: open a browser.")
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD...")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    otlp: str | None,
    sinks: str | None,
    session: str | None,
    checkpoint: bool,
    ui: bool,
    ui_stay: bool | None,
    opens: bool,
    cmd: tuple[str, ...],
) -> int:
    """Run a program with its agents journaled, its code untouched.

    Its stdin, stdout and exit code stay its own; what we have to say goes to stderr. As in: agent-journal run --
    python my_agent.py

    --ui prints a link before the program starts. On a terminal the viewer then stays until Ctrl-C; elsewhere it ends
    with the program, or with the last page that shows it.
    """
    if not cmd:
        raise click.UsageError("'run' needs a program to run, as in: agent-journal run -- python my_agent.py")
    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.config import CHECKPOINT

    environ = {**os.environ, **({CHECKPOINT: "on"} if checkpoint else {})}
    settings = invocation.settings(otlp=otlp, sinks=sinks, session=session)
    if not ui:
        return run_agent(settings, cmd, env=environ)
    from otel_agent_journal.bootstrap.watched_run import run_watched

    return run_watched(settings, cmd, stay=ui_stay, opens=click.launch if opens else None, env=environ)
