"""`agent-journal ls`: the sessions of a journal. Its JSON keys are a contract (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import money, readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

KEYS: Final = (
    "session_id",
    "status",
    "agent",
    "steps",
    "errors",
    "input_tokens",
    "output_tokens",
    "started_at",
    "updated_at",
    "duration_ms",
    "cost_usd",
    "unpriced_calls",
)
STATUSES: Final = ("PENDING", "PROCESSING", "COMPLETED", "ERROR", "INTERRUPTED")
STYLES: Final = {"COMPLETED": "green", "ERROR": "red", "INTERRUPTED": "yellow", "PROCESSING": "cyan", "PENDING": "dim"}
_LONGEST_ERROR: Final = 80  # characters of what a failed session failed with
_LONGEST_ID: Final = 40
ON_A_TERMINAL: Final = 50  # sessions listed to a person who did not say how many


def _since(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return a time, given as RFC 3339 or as how long ago, in nanoseconds."""
    if value is None:
        return None
    import time

    from otel_agent_journal.codec import parse_timestamp
    from otel_agent_journal.errors import CodecError

    span_ns = readable.span_of(value)
    if span_ns is not None:
        return time.time_ns() - span_ns
    try:
        return parse_timestamp(value)
    except CodecError as error:
        raise click.BadParameter(f"'{value}' is no time; give how long ago, as 30m, 2h, 7d, or RFC 3339") from error


@click.command("ls", short_help="List sessions, the latest first.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(STATUSES, case_sensitive=False), help="Only these."
)
@click.option("--agent", metavar="NAME", help="Only sessions of this agent.")
@click.option("--tag", "tags", multiple=True, metavar="TAG|NAME=VALUE", help="Only sessions that were given this.")
@click.option("--since", "since_ns", callback=_since, metavar="WHEN", help="Updated since: 30m, 2h, 7d, or RFC 3339.")
@click.option("--min-cost", "least_usd", type=click.FloatRange(min=0), metavar="USD", help="Cost at least so much.")
@click.option("-n", "limit", type=click.IntRange(min=1), metavar="N", help="At most N sessions.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    statuses: tuple[str, ...],
    agent: str | None,
    tags: tuple[str, ...],
    since_ns: int | None,
    least_usd: float | None,
    limit: int | None,
) -> None:
    """List sessions, the latest first.

    --tag takes a tag, a name of the metadata that a run was given, or a name with its value, as tenant=acme; given
    several times, all must be there. A table shows the latest 50 unless -n says otherwise; data formats give all.
    """
    from otel_agent_journal.store.protocol import SessionFilter

    output = invocation.output()
    journal = invocation.journal()
    if output.for_people and limit is None:
        limit = ON_A_TERMINAL
    listed = None if least_usd is not None else limit
    heads = journal.heads(SessionFilter(statuses=statuses, agent=agent, since_ns=since_ns, limit=listed), tags)
    if least_usd is not None:
        heads = islice((head for head in heads if money.is_at_least(journal.cost(head), least_usd)), limit)
    if output.for_people:
        _table(output, journal, list(heads), limit)
    else:
        output.records((record(head, journal.cost(head)) for head in heads), KEYS)


def record(head: SessionHead, cost: Cost) -> dict[str, Any]:
    """Return a session as data: the twelve keys of the contract, null where not known."""
    from otel_agent_journal.codec import format_timestamp

    return {
        "session_id": head.session_id,
        "status": head.status,
        "agent": head.agent,
        "steps": head.steps,
        "errors": head.errors,
        "input_tokens": head.input_tokens,
        "output_tokens": head.output_tokens,
        "started_at": format_timestamp(head.started_ns) if head.started_ns else None,
        "updated_at": format_timestamp(head.updated_ns) if head.updated_ns else None,
        "duration_ms": duration_ms(head),
        **money.keys_of(cost),
    }


def duration_ms(head: SessionHead) -> int | None:
    """Return how long a session took, null while it runs."""
    if not head.started_ns or head.ended_ns is None:
        return None
    return max(0, head.ended_ns - head.started_ns) // readable.NS_PER_MS


def _table(output: Output, journal: Journal, heads: list[SessionHead], limit: int | None) -> None:
    from otel_agent_journal.cli.table import Column

    if not heads:
        output.text(f"no sessions match; the journal is {journal.store.url}")
        return
    columns = (
        Column("SESSION"),
        Column("AGENT", least=8, optional=2),
        Column("STATUS"),
        Column("STEPS", right=True, optional=5),
        Column("ERR", right=True, optional=3),
        Column("TOKENS", right=True, optional=7),
        Column("COST", right=True, optional=4),
        Column("STARTED", optional=4),
        Column("DURATION", right=True, optional=6),
        Column("", least=10, optional=1),
    )
    ids = [head.session_id for head in heads]
    names = readable.short_ids(ids) if output.tty else {one: one for one in ids}
    output.table(columns, _rows(journal, heads, names))
    if len(heads) == limit == ON_A_TERMINAL:
        output.text(output.paint(f"the latest {limit}; -n N shows more", "dim"))


def _rows(journal: Journal, heads: list[SessionHead], names: dict[str, str]) -> Iterator[list[Any]]:
    from otel_agent_journal.cli.table import Cell

    now_ns = journal.clock()
    remarks = journal.each(lambda head: _remark(journal, head, now_ns), heads)
    for head, remark in zip(heads, remarks, strict=True):
        running = head.status == "PROCESSING"
        took = now_ns - head.started_ns if running and head.started_ns else None
        if head.ended_ns is not None:
            took = head.ended_ns - head.started_ns
        tokens = head.input_tokens + head.output_tokens
        yield [
            Cell(names[head.session_id], "bold"),
            Cell(head.agent or "-"),
            Cell(head.status, STYLES[head.status]),
            Cell(f"{head.steps:,}"),
            Cell(str(head.errors) if head.errors else "-", "red" if head.errors else "dim"),
            Cell(readable.count(tokens) if tokens else "-"),
            Cell(money.shown(journal.cost(head)) or "-"),
            Cell(readable.ago(head.started_ns, now_ns) if head.started_ns else "-"),
            Cell(readable.duration(took) or "-"),
            Cell(remark, "dim"),
        ]


def _remark(journal: Journal, head: SessionHead, now_ns: int) -> str:
    if head.status == "PROCESSING":
        running = journal.running_step(head)
        stage = f"{head.stage}: " if head.stage else ""
        return f"▶ {stage}{running}" if running else f"▶ {head.stage or 'running'}"
    if head.status == "INTERRUPTED":
        if head.reason in ("killed", "lost"):
            seen_ns = head.ended_ns or head.updated_ns
            return f"{head.reason} {readable.ago(seen_ns, now_ns)}"
        return {"awaiting_input": "awaiting input"}.get(head.reason or "", head.reason or "")
    error = journal.error_of(head)
    if error is not None:
        return readable.one_line(readable.failure(error), _LONGEST_ERROR)
    return f"fork of {readable.one_line(head.forked_from, _LONGEST_ID)}" if head.forked_from else ""
