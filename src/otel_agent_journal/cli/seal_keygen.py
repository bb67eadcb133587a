"""`agent-journal seal keygen`: make a key that seals."""

from __future__ import annotations

import os
from pathlib import Path

import click

from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command("keygen", short_help="Make a key that seals; prints the public one.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", help="What the key is called in every signature. [default: agent-journal-, and eight digits]")
@common_options
@pass_invocation
def command(invocation: Invocation, file: Path, name: str | None) -> None:
    """Make a key that seals; prints the public one.

    FILE is for you alone, and is never replaced. The public key is what `verify --sealed` needs: keep it where who can
    write to the store cannot change it, as in a repository.
    """
    from otel_agent_journal.seals.keys import make_key

    output = invocation.output()
    public = make_key(file, f"agent-journal-{os.urandom(4).hex()}" if name is None else name)
    if output.format == "json":
        output.record({"name": public.name, "public_key": str(public), "file": str(file)})
    else:
        output.text(str(public))
    note(f"the secret key is in {file}; losing it costs new seals, not old ones: who reads it can forge")
