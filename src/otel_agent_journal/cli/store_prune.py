"""`agent-journal store prune`: delete sessions that were last updated long ago, whole. Asks first."""

from __future__ import annotations

import time

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, agree, yes_option
from otel_agent_journal.cli.progress import progress
from otel_agent_journal.reading import moments


def _age(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    """Return how long ago, given as 90d, in nanoseconds."""
    age_ns = moments.span_of(value)
    if age_ns is None or not 0 < age_ns < time.time_ns():
        raise click.BadParameter(f"'{value}' is no age; give how long ago, as 30s, 12h, 90d, 2w")
    return age_ns


@click.command("prune", short_help="Delete old sessions, whole.")
@click.argument("url", required=False)
@click.option(
    "--older-than",
    "age_ns",
    callback=_age,
    metavar="AGE",
    required=True,
    help="Not updated for so long: 30s, 12h, 90d, 2w.",
)
@click.option("--dry-run", is_flag=True, help="Say how many, and delete none.")
@yes_option
@common_options
@pass_invocation
def command(invocation: Invocation, url: str | None, age_ns: int, dry_run: bool, yes: bool) -> None:
    """Delete old sessions, whole: their events, head, context and the values kept apart.

    A session in progress stays, however old its last event, while its process is heard of.
    """
    from otel_agent_journal.codec import format_timestamp
    from otel_agent_journal.spool.keeping import KeptFiles
    from otel_agent_journal.store.rules import prune

    output = invocation.output()
    invocation.store = url or invocation.store
    journal = invocation.journal()
    store = journal.store  # what dead processes left in its spool taken in, so that times are right
    administered(store)
    limit_ns = time.time_ns() - age_ns
    before = readable.clock(limit_ns, date=True)
    with progress(0, "looking for old sessions") as bar:
        count = prune(store, limit_ns, dry_run=True, progress=bar.to)
    if count and not dry_run:
        plan = [f"delete {readable.plural(count, 'session')} last updated before {before}, for good"]
        agree(f"to prune {store.url}", plan, yes=yes)
        with progress(0, f"deleting {readable.plural(count, 'session')}") as bar:
            count = prune(store, limit_ns, progress=bar.to)
        KeptFiles(journal.spool).forget()  # a history that goes on is journaled once more
    if not output.for_people:
        output.record(
            {"store": store.url, "before": format_timestamp(limit_ns), "sessions": count, "deleted": not dry_run}
        )
    elif dry_run:
        output.text(f"{readable.plural(count, 'session')} would be deleted, last updated before {before}")
    elif count:
        output.text(f"{readable.plural(count, 'session')} deleted, last updated before {before}")
    else:
        output.text(f"nothing to do: no session was last updated before {before}")
