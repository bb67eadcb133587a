"""`agent-journal ls`: the sessions of a journal. Its JSON keys are a contract (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, tee
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import money, readable, when
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.cli.table import Cell
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.reading.searching import Match

STATUSES: Final = ("PENDING", "PROCESSING", "COMPLETED", "ERROR", "INTERRUPTED")
STYLES: Final = {"COMPLETED": "green", "ERROR": "red", "INTERRUPTED": "yellow", "PROCESSING": "cyan", "PENDING": "dim"}
_LONGEST_ERROR: Final = 80  # characters of what a failed session failed with
_LONGEST_ID: Final = 40
_LEAST_ID: Final = 12  # cells of an id on a narrow terminal: both its ends
ON_A_TERMINAL: Final = 50  # sessions listed to a person who did not say how many


def _meta(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return names and values of metadata."""
    found = [value.partition("=") for value in values]
    for name, equals, _ in found:
        if not (name and equals):
            raise click.BadParameter(f"'{name}' has no value; give NAME=VALUE, as tenant=acme")
    return [(name, value) for name, _, value in found]


@click.command("ls", short_help="List sessions, the latest first.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(STATUSES, case_sensitive=False), help="Only these."
)
@click.option("--agent", metavar="NAME", help="Only sessions of this agent.")
@click.option("--user", metavar="NAME", help="Only sessions of this user.")
@click.option("--tag", "tags", multiple=True, metavar="TAG|NAME=VALUE", help="Only sessions that were given this.")
@click.option("--meta", multiple=True, callback=_meta, metavar="NAME=VALUE", help="Only with this in their metadata.")
@click.option("--since", "since_ns", callback=when.since, metavar="WHEN", help=f"Updated since: {when.FORMS}.")
@click.option("--until", "until_ns", callback=when.until, metavar="WHEN", help="Last updated until then.")
@click.option("--grep", "text", metavar="TEXT", help="Only with this text in their content, in either case.")
@click.option("--min-cost", "least_usd", type=click.FloatRange(min=0), metavar="USD", help="Cost at least so much.")
@click.option("-n", "limit", type=click.IntRange(min=1), metavar="N", help="At most N sessions.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    statuses: tuple[str, ...],
    agent: str | None,
    user: str | None,
    tags: tuple[str, ...],
    meta: list[tuple[str, str]],
    since_ns: int | None,
    until_ns: int | None,
    text: str | None,
    least_usd: float | None,
    limit: int | None,
) -> None:
    """List sessions, the latest first.

    --tag takes a tag, a name of the metadata that a run was given, or a name with its value, as tenant=acme; --tag and
    --meta may be given several times, and all must be there. --grep looks into every session that the other options
    leave. A table shows the latest 50 unless -n says otherwise; data formats give all.
    """
    from otel_agent_journal.reading.session_records import KEYS, record
    from otel_agent_journal.store.protocol import SessionFilter

    output = invocation.output()
    journal = invocation.journal()
    if output.for_people and limit is None:
        limit = ON_A_TERMINAL
    wanted = SessionFilter(
        statuses=statuses,
        agent=agent,
        since_ns=since_ns,
        until_ns=until_ns,
        limit=None if text or least_usd is not None else limit,
    )
    heads = journal.heads(wanted, tags, [*meta, *([("user", user)] if user else [])])
    if least_usd is not None:
        dear = (one for one in heads if money.is_at_least(journal.cost(one), least_usd))
        heads = islice(dear, None if text else limit)
    if output.for_people:
        found = _searched(journal, heads, text, limit) if text else ((head, None) for head in heads)
        _print(output, invocation, journal, list(found), limit)
    elif text:
        rows = (_found(head, journal.cost(head), match) for head, match in _searched(journal, heads, text, limit))
        output.records(rows, (*KEYS, "match"))
    else:
        output.records((record(head, journal.cost(head)) for head in heads), KEYS)


def _searched(
    journal: Journal, heads: Iterable[SessionHead], text: str, limit: int | None
) -> Iterator[tuple[SessionHead, Match]]:
    """Yield so many sessions that hold a text, with where it is; says in the end what was searched."""
    from otel_agent_journal.cli.progress import progress
    from otel_agent_journal.reading.searching import SEARCHED, first_match

    looked, hits = 0, 0
    with progress(None, "sessions searched") as bar:
        try:
            given, kept = tee(heads)
            for head, match in zip(kept, journal.each(lambda one: first_match(journal, one, text), given), strict=True):
                looked += 1
                bar(1)
                if match is not None:
                    hits += 1
                    bar.clear()
                    yield head, match
                if hits == limit:
                    break
        finally:
            bar.drop()
            note(f"searched {readable.plural(looked, 'session')}: {SEARCHED}, and what is kept apart of these")


def _found(head: SessionHead, cost: Cost, match: Match) -> dict[str, Any]:
    import msgspec

    from otel_agent_journal.reading.session_records import record

    told = msgspec.to_builtins(match)
    return {**record(head, cost), "match": {name: value for name, value in told.items() if name != "session_id"}}


def _print(
    output: Output,
    invocation: Invocation,
    journal: Journal,
    found: Sequence[tuple[SessionHead, Match | None]],
    limit: int | None,
) -> None:
    """Print sessions for people, with where in each the text is that was looked for."""
    if not found:
        output.text(f"no sessions match; the journal is {journal.store.url}")
        return
    with invocation.paged(output):
        _table(output, journal, [head for head, _ in found], [match for _, match in found if match is not None])
        if len(found) == limit == ON_A_TERMINAL:
            output.text(output.paint(f"the latest {limit}; -n N shows more", "dim"))


def _table(output: Output, journal: Journal, heads: list[SessionHead], matches: Sequence[Match]) -> None:
    from otel_agent_journal.cli.table import Column

    columns = (
        Column("SESSION", least=_LEAST_ID, middle=True),
        Column("AGENT", least=8, optional=3),
        Column("STATUS"),
        Column("STEPS", right=True, optional=2),
        Column("ERR", right=True, optional=4),
        Column("TOKENS", right=True, optional=6),
        Column("COST", right=True, optional=5),
        Column("STARTED", optional=1),
        Column("DURATION", right=True, optional=5),
        Column("FOUND" if matches else "REMARK", least=16, optional=1, sparse=True),
    )
    ids = [head.session_id for head in heads]
    names = readable.short_ids(ids) if output.tty else {one: one for one in ids}
    output.table(columns, _rows(journal, heads, names, [readable.one_line(_where(match)) for match in matches]))


def _where(match: Match) -> str:
    step = "" if match.number is None else f"@{match.number} {match.name}: "
    return step + match.text


def _rows(
    journal: Journal, heads: list[SessionHead], names: dict[str, str], found: Sequence[str]
) -> Iterator[list[Cell]]:
    from otel_agent_journal.cli.table import Cell

    now_ns = journal.clock()
    remarks = found or journal.each(lambda head: _remark(journal, head, now_ns), heads)
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
