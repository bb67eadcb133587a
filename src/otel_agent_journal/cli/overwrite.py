"""`agent-journal overwrite`: rewind a session, to go on from an earlier point in place. Asks first."""

from __future__ import annotations

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import agree, yes_option
from otel_agent_journal.pasting import pasted


@click.command("overwrite", short_help="Rewind a session: go on from an earlier point of it, in place.")
@click.argument("session", required=False, metavar="SESSION@STEP")
@click.option("--from-point", "sequence", metavar="SEQ", help="From behind an event of the context, [INSTANCE:]SEQ.")
@yes_option
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None, sequence: str | None, yes: bool) -> None:
    """Rewind a session: go on from an earlier point of it, in place.

    STEP is a number that `show` prints, or another name of a step: the session goes on before it. What came after
    counts no more, is not deleted, and can be shown and forked still. Then: agent-journal resume SESSION -- CMD
    """
    from otel_agent_journal.bootstrap.going_back import not_running, rewind_to, settle
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.cli.going_back import found_point, happened_after, shown

    output = invocation.output()
    journal = invocation.journal()
    if not session:
        raise need_session(journal, "overwrite")
    settle(journal)
    head, point = found_point(journal, session, sequence=sequence, option="--from-point")
    if point.number is None and sequence is None:
        raise click.UsageError(
            f"which point? {head.session_id}@STEP, STEP as in: agent-journal show {pasted(head.session_id)}"
        )
    not_running(journal, head)
    behind = f"before step {point.number}" if sequence is None else f"from behind event {sequence}"
    plan = [f"go on {behind}; what came after counts no more"]
    if calls := happened_after(journal, head, point.at_ns):
        plan += ["these tools were called after it, and may have changed the world:", *shown(calls)]
    agree(f"to rewind {head.session_id}", plan, yes=yes)
    rewind_to(journal.store, point)
    if output.for_people:
        shown, named = readable.one_line(head.session_id), pasted(head.session_id)
        output.text(f"{shown} goes on {behind}: agent-journal resume {named} -- CMD")
    else:
        output.record({"session_id": head.session_id, "number": point.number, "asked": point.asked})
