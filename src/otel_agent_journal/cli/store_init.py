"""`agent-journal store init`: create what a store is missing. Shows what that is, and asks first."""

from __future__ import annotations

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, agree, opened, yes_option


@click.command("init", short_help="Create what a store is missing: tables, bucket, settings.")
@click.argument("url", required=False)
@yes_option
@common_options
@pass_invocation
def command(invocation: Invocation, url: str | None, yes: bool) -> None:
    """Create what a store is missing: tables, bucket, settings.

    Shows what it would do and asks first. What is there already is left as it is, so that it may be repeated.
    """
    output = invocation.output()
    store = opened(invocation, url, create=True)
    admin = administered(store)
    plan = admin.init_plan()
    if plan:
        agree(f"to prepare {store.url}", plan, yes=yes)
        admin.init()
    if not output.for_people:
        output.record({"store": store.url, "done": plan})
    elif plan:
        output.text(f"{store.url} is prepared")
    else:
        output.text(f"nothing to do: {store.url} is prepared")
