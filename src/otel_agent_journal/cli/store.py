"""`agent-journal store`: what an operator does to a store. Its commands are modules `store_*`, imported when called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

from otel_agent_journal.cli.invocation import common_options

# Name to one line of help; a test holds each line equal to its command's own.
COMMANDS: Final[Mapping[str, str]] = {
    "init": "Create what a store is missing: tables, bucket, settings.",
    "info": "Say what a store is, what it holds, and what it can do.",
    "copy": "Copy a journal from one store to another, and compare them.",
    "prune": "Delete old sessions, whole.",
    "delete": "Delete sessions, whole and everywhere.",
    "repair": "Write the heads of sessions that are missing or wrong.",
    "iam-policy": "Print the AWS policy that a role needs, and no more.",
}


class StoreGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"otel_agent_journal.cli.store_{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "store",
    cls=StoreGroup,
    short_help="Prepare, look at, copy, prune, delete from and repair stores.",
    invoke_without_command=True,
)
@common_options
@click.pass_context
def command(ctx: click.Context) -> None:
    """Prepare, look at, copy, prune, delete from and repair stores.

    A store is named by its URL: sqlite:///path, postgresql://..., dynamodb://table, s3://bucket/prefix.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
