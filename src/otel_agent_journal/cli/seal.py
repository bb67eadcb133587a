"""`agent-journal seal`: sign what sessions have. Its other commands are modules `seal_*`, imported when called."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.sealing import key_option, signer_of
from otel_agent_journal.cli.when import span

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.seals.anchors import Anchor
    from otel_agent_journal.seals.sealing import Made, Sealer

# Name to one line of help; a test holds each line equal to its command's own.
COMMANDS: Final[Mapping[str, str]] = {
    "now": "Seal sessions: those that are named, that have ended, or all.",
    "keygen": "Make a key that seals; prints the public one.",
    "log": "Print what the log of seals says.",
    "anchor": "Keep the log's checkpoint elsewhere: a file, a bucket, a time stamp.",
    "rotate": "Let another key follow the one that sealed until now.",
    "verifier": "Print a verifier of proofs that needs nothing of this package.",
}
KEYS: Final = ("session_id", "seal", "new", "size", "root")


class SealGroup(click.Group):
    """A group whose commands are imported when they are called; what is none of them is for `now`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name == "now":
            return now
        return import_module(f"otel_agent_journal.cli.seal_{cmd_name}").command if cmd_name in COMMANDS else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what is no command's name for arguments of `now`."""
        if args and args[0] not in (*COMMANDS, "-h", "--help"):
            args = ["now", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "seal", cls=SealGroup, short_help="Seal sessions, so that a later change is found.", invoke_without_command=True
)
@common_options
@click.pass_context
def command(ctx: click.Context) -> None:
    """Seal sessions, so that a later change is found.

    \b
      agent-journal seal keygen seal.key > seal.pub
      agent-journal seal SESSION --key seal.key
      agent-journal verify SESSION --sealed --key seal.pub

    Keep the key where who can write to the store cannot read it. What a seal shows and what not: docs/seals.md
    """  # noqa: D301 - as in app.py
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command("now", short_help=COMMANDS["now"])
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@click.option("--ended", is_flag=True, help="All sessions that have ended, where something in them is new.")
@click.option("--all", "everything", is_flag=True, help="All sessions, those under way too.")
@click.option("--every", "every_ns", callback=span, metavar="SPAN", help="Go on for ever, a pass each: 10m, 1h.")
@click.option("--anchor", "anchors", multiple=True, metavar="WHERE", help="Keep the checkpoint there after each pass.")
@key_option
@common_options
@pass_invocation
def now(
    invocation: Invocation,
    sessions: tuple[str, ...],
    ended: bool,
    everything: bool,
    every_ns: int | None,
    anchors: tuple[str, ...],
    key: str | None,
) -> None:
    """Seal sessions: those that are named, that have ended, or all.

    A seal covers what has arrived by now; what comes later is in the next one, which costs what is new. Nothing of a
    session changes. --every alone seals sessions that have ended.
    """
    from otel_agent_journal.bootstrap.seals import Passes, named, open_anchors
    from otel_agent_journal.errors import StoreUnreachable
    from otel_agent_journal.seals.sealing import Sealer

    if sum(map(bool, (sessions, ended, everything))) > 1:
        raise click.UsageError("SESSION, --ended and --all are different things to seal; give one of them")
    if not (sessions or ended or everything or every_ns):
        raise click.UsageError("say what to seal: SESSION, --ended or --all; --every 1h for ever")
    output = invocation.output()
    signer = signer_of(key)
    journal = invocation.journal()
    kept = open_anchors(journal.store, anchors)
    sealer = Sealer(journal.store, signer, time.time_ns)
    passes = Passes(journal, running=everything)
    while True:
        try:
            _pass(output, sealer, named(journal, sessions) if sessions else passes.sessions(), kept)
        except StoreUnreachable as error:
            if every_ns is None:
                raise
            note(f"{error}; going on with the next pass")
        if every_ns is None:
            return
        output.flush()
        time.sleep(every_ns / 1e9)
        journal.take_in_dead()


def _pass(output: Output, sealer: Sealer, sessions: Iterable[str], anchors: list[Anchor]) -> None:
    from otel_agent_journal.bootstrap.seals import anchored

    count = _print(output, sealer.seal(sessions))
    for where in anchored(sealer.log, anchors, time.time_ns()):
        note(f"the log's checkpoint is kept at {where}")
    if not count and output.for_people:
        output.text("nothing to do: all is sealed")


def _print(output: Output, made: Iterator[Made]) -> int:
    count = 0

    def counted() -> Iterator[Made]:
        nonlocal count
        for one in made:
            count += 1
            yield one

    if output.for_people:
        for one in counted():
            new = readable.plural(one.new, "new event")
            output.text(f"session {one.session_id}: seal {one.seal}, {new}, {one.size:,} in all, root {one.root}")
            output.flush()
    else:
        output.records(output.prompt(one._asdict() for one in counted()), KEYS)
    return count
