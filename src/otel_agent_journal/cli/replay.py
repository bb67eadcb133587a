"""`agent-journal replay`: run a program against a recorded session: served from it, and compared with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from otel_agent_journal.cli import when
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import yes_option
from otel_agent_journal.cli.replay_asked import Asked, recorded_program, source_of
from otel_agent_journal.cli.replay_report import show
from otel_agent_journal.cli.replay_run import agree_to_repeat, check, dry_run_of, replayed, unreplayable

DIVERGED: Final = 5


@click.command("replay", short_help="Run a program against a recorded session: nothing is called, all is compared.")
@click.option("--from", "since", metavar="STEP", help="Serve up to this step, call everything from it on.")
@click.option("--until", metavar="STEP", help="End before this step.")
@click.option("--live", multiple=True, metavar="WHAT", help="models, tools, model:NAME or tool:NAME. Repeatable.")
@click.option("--on-drift", default="serve", help="A model is asked something else: serve (default), stop or live.")
@click.option("--on-new", default="stop", help="A call that was not recorded: stop (default), error or live.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True, help="Of models that are called: model=…")
@click.option("--ignore", multiple=True, metavar="RULE", help="time, uuid, or a path as messages[0].content.")
@click.option("--strict", is_flag=True, help="Fail where a model was asked something else, too.")
@click.option("--once", is_flag=True, help="With --from: serve what tools did after it, and do nothing twice.")
@click.option("--no-network", is_flag=True, help="Let the program connect to this machine alone.")
@click.option("--dry-run", is_flag=True, help="Say what cannot be replayed, and why; run nothing.")
@click.option("--as", "name", metavar="ID", help="Journal the replay under this id; by default SESSION~replay-1, -2, …")
@click.option("--export", is_flag=True, help="Send its spans, too.")
@click.option("--all", "everything", is_flag=True, help="Every session, each a line: for CI.")
@click.option("--agent", metavar="NAME", help="Of --all: sessions of this agent.")
@click.option(
    "--since", "since_ns", callback=when.since, metavar="WHEN", help=f"Of --all: updated since: {when.FORMS}."
)
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Of --all: so many of them, at even distances.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Of --all: a report as CI reads it.")
@yes_option
@click.argument("session", metavar="SESSION|FILE", required=False)
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD...")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    session: str | None,
    cmd: tuple[str, ...],
    *,
    dry_run: bool,
    everything: bool,
    agent: str | None,
    since_ns: int | None,
    sample: int | None,
    junit: Path | None,
    **options: Any,
) -> int:
    """Run a program against a recorded session: models and tools answer from the recording, nothing is called.

    Says at which step the program first went another way, and whether its code or a prompt is to blame. The replay is a
    session of its own. As in: agent-journal replay reading-7 -- python my_agent.py. Without a program, the recorded
    one; in place of a session, a file of export --recording.

    For CI: agent-journal replay --all --agent reader --since 7d -- python my_agent.py
    """
    asked = Asked(**options)
    if everything:
        from otel_agent_journal.cli.replay_all import replay_all

        program = [*([session] if session else []), *cmd]
        return replay_all(invocation, asked, program, agent, since_ns, sample, junit, dry=dry_run)
    if (agent, since_ns, sample, junit) != (None, None, None, None):
        raise click.UsageError("--agent, --since, --sample and --junit go with --all")
    output = invocation.output()
    with source_of(invocation, session) as source:
        rules = asked.rules(source)
        unable = unreplayable(source.recording, rules)
        if dry_run:
            return dry_run_of(output, source.recording, rules, unable)
        check(source.recording, unable)
        agree_to_repeat(source.recording, rules, yes=asked.yes)
        program = list(cmd) or recorded_program(source)
        done = replayed(invocation, source, rules, program, asked)
    show(output, done.report)
    if done.report.diverged(strict=asked.strict):
        return DIVERGED
    if done.failed:
        note(f"the program ended with {done.code}, and what was recorded did not fail")
    return int(done.failed)
