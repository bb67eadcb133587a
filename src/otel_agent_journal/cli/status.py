"""`agent-journal status`: where one session stands now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from otel_agent_journal.cli import money, readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal


@click.command("status", short_help="Say where a session stands: status, stage, open steps, tokens.")
@click.argument("session", required=False)
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None) -> None:
    """Say where a session stands: status, stage, open steps, tokens.

    SESSION may be the beginning of an id.
    """
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.reading.session_records import stood

    output = invocation.output()
    journal = invocation.journal()
    if not session:
        raise need_session(journal, "status")
    stored = journal.session(session)
    found = stood(journal, stored)
    sinks = _sinks(invocation, journal)
    if sinks is not None:
        found["sinks"] = sinks
    if not output.for_people:
        output.record(found)
        return
    _print(output, journal, journal.judged(stored), found)


def _sinks(invocation: Invocation, journal: Journal) -> list[dict[str, Any]] | None:
    """Return how far the sinks of the settings are with the whole store; None where there are none."""
    urls = invocation.settings().sinks
    if not urls:
        return None
    from otel_agent_journal.cli.sinks import record
    from otel_agent_journal.sinks.lag import lags

    now_ns = journal.clock()
    return [record(lag, now_ns) for lag in lags(journal.store, urls, now_ns, of_others=False)]


def _print(output: Output, journal: Journal, head: SessionHead, found: dict[str, Any]) -> None:
    from otel_agent_journal.cli.ls import STYLES
    from otel_agent_journal.codec import parse_timestamp
    from otel_agent_journal.reading.session_records import last_seen_ns

    now_ns = journal.clock()

    def say(name: str, text: str) -> None:
        output.text(f"{output.paint(f'{name:<10}', 'dim')} {text}")

    reason = f" ({head.reason.replace('_', ' ')})" if head.reason else ""
    say("session", output.paint(head.session_id, "bold"))
    say("status", output.paint(head.status, STYLES[head.status]) + reason)
    if (error := journal.error_of(head)) is not None:
        say("error", output.paint(readable.failure(error), "red"))
    say("agent", head.agent or "-")
    if said := readable.said_of(head.about):
        say("tags", said)
    for process in head.about.processes:
        say("process", readable.process(process))
    if head.stage:
        done = "" if head.progress is None else f"  {head.progress:g} %"
        say("stage", head.stage + done)
    seen_ns = last_seen_ns(head)
    say("last seen", f"{readable.clock(seen_ns, date=True)} ({readable.ago(seen_ns, now_ns)})" if seen_ns else "never")
    for step in found["open_steps"]:
        since = readable.ago(parse_timestamp(step["started_at"]), now_ns)
        what = readable.one_line(f"{step['number']} {step['kind'].lower()} {step['name']}", 60)
        state = "running" if step["status"] == "running" else f"left open ({step['reason']})"
        say("open", f"{what}  {state}, began {since}")
    for sink in found.get("sinks", ()):
        far = f"{sink['behind']:,}{' or more' if sink['or_more'] else ''} events, {sink['lag_s']:,.0f} s behind"
        wrong = "" if sink["error"] is None else f": {readable.one_line(sink['error'])}"
        say("sink", f"{sink['sink']}  {far if sink['behind'] else 'caught up'}{wrong}")
    say("steps", f"{head.steps:,}")
    say("errors", output.paint(str(head.errors), "red") if head.errors else "0")
    say("tokens", f"{head.input_tokens:,} in, {head.output_tokens:,} out")
    if cost := money.shown(journal.cost(head)):
        say("cost", cost)
    if head.ended_ns is not None and head.started_ns:
        say("duration", readable.duration(head.ended_ns - head.started_ns))
