"""`agent-journal store iam-policy`: the AWS policy document that a role needs at a store, and no more."""

from __future__ import annotations

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, opened
from otel_agent_journal.terminal import say


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

    def said(text: str) -> None:
        say(f"note: {text}")

    output = invocation.output()
    document = administered(opened(invocation, url)).iam_policy(role, said)
    output.document(msgspec.json.encode(document))
