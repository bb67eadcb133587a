"""`agent-journal seal anchor`: keep the log's checkpoint where who can write to the store cannot change it."""

from __future__ import annotations

import time

import click

from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

_FAILED = 1


@click.command("anchor", short_help="Keep the log's checkpoint elsewhere: a file, a bucket, a time stamp.")
@click.option("--to", "places", multiple=True, required=True, metavar="WHERE", help="FILE, s3://... or tsa+https://...")
@common_options
@pass_invocation
def command(invocation: Invocation, places: tuple[str, ...]) -> None:
    """Keep the log's checkpoint elsewhere: a file, a bucket, a time stamp.

    s3://BUCKET/PREFIX?days=400 writes an object that nobody can delete for so long, by Object Lock.
    """
    from otel_agent_journal.bootstrap.seals import anchored, open_anchors
    from otel_agent_journal.seals.log import Log

    output = invocation.output()
    store = invocation.journal().store
    log = Log(store)
    anchors = open_anchors(store, places)
    head = log.head()
    if head is None:
        raise CliError("nothing was sealed here yet; agent-journal seal SESSION does that", _FAILED)
    for where in anchored(log, anchors, time.time_ns()):
        if output.for_people:
            output.text(f"{head.size:,} records are anchored at {where}")
        else:
            output.record({"anchor": where, "size": head.size, "checkpoint": head.note})
