"""`agent-journal store iam-policy`: the AWS policy document that a role needs at a store, and no more."""

from __future__ import annotations

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, opened


@click.command("iam-policy", short_help="Print the AWS policy that a role needs, and no more.")
@click.argument("url", required=False)
@click.option(
    "--role",
    type=click.Choice(("writer", "reader", "admin")),
    required=True,
    help="Agents and their drains write, the command line reads, an admin prepares and prunes.",
)
@common_options
@pass_invocation
def command(invocation: Invocation, url: str | None, role: str) -> None:
    """Print the AWS policy that a role needs, and no more.

    A JSON document on stdout, as IAM and CloudFormation take it. The server is asked, once, which key of KMS it
    encrypts with; what it does not say is a note on stderr.
    """
    import msgspec

    def note(text: str) -> None:
        click.echo(f"note: {readable.neutral(text)}", err=True)

    output = invocation.output()
    document = msgspec.json.encode(administered(opened(invocation, url)).iam_policy(role, note))
    output.write((document if output.format == "jsonl" else msgspec.json.format(document, indent=2)) + b"\n")
