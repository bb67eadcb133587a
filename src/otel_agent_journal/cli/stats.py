"""`agent-journal stats`: calls, failures and causes, times, tokens and cost by agent, tool, model, user or day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import money, readable, when
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.reading import amounts

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.stats import Group
    from otel_agent_journal.reading.journal import Journal

    Groups = list[tuple[str | None, Group]]

BY: Final = ("agent", "tool", "model", "user", "day")
KEYS: Final = (
    "by",
    "name",
    "calls",
    "failures",
    "causes",
    "p50_ms",
    "p95_ms",
    "input_tokens",
    "output_tokens",
    *amounts.KEYS,
)
_SHOWN_CAUSES: Final = 3
_NONE: Final = "(none)"  # of what belongs to no group


@click.command("stats", short_help="Count calls, failures, times, tokens and cost by agent, tool, model, user, day.")
@click.option("--by", type=click.Choice(BY), default="agent", help="What to group by; default agent.")
@click.option("--agent", metavar="NAME", help="Only sessions of this agent.")
@click.option("--user", metavar="NAME", help="Only sessions of this user.")
@click.option("--tag", "tags", multiple=True, metavar="TAG|NAME=VALUE", help="Only sessions that were given this.")
@click.option("--since", "since_ns", callback=when.since, metavar="WHEN", help=f"Only calls since: {when.FORMS}.")
@click.option("--until", "until_ns", callback=when.until, metavar="WHEN", help="Only calls that began by then.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    by: str,
    agent: str | None,
    user: str | None,
    tags: tuple[str, ...],
    since_ns: int | None,
    until_ns: int | None,
) -> None:
    """Count calls, failures, times, tokens and cost by agent, tool, model, user or day.

    A call is an attempt: a tool that is tried three times is called three times. By user and day, invocations are
    counted. Tokens and cost count for the agent, or the tool, right around the model call, each once. Days are UTC.
    """
    from otel_agent_journal.cli.progress import fleeting
    from otel_agent_journal.projections.stats import ordered
    from otel_agent_journal.reading.stats import stats_of

    output = invocation.output()
    journal = invocation.journal()
    wanted = (*tags, *((f"user={user}",) if user else ()))
    with fleeting("sessions read") as moved:
        stats = stats_of(journal, by, agent=agent, tags=wanted, since_ns=since_ns, until_ns=until_ns, moved=moved)
    groups = list(ordered(stats, by))
    if output.for_people:
        _print(output, journal, by, groups)
    else:
        output.records((record(by, name, group) for name, group in groups), KEYS)


def record(by: str, name: str | None, group: Group) -> dict[str, Any]:
    """Return a group as data, null where not known."""
    return {
        "by": by,
        "name": name,
        "calls": group.calls,
        "failures": group.failures,
        "causes": [{"cause": cause, "count": count} for cause, count in group.causes.most_common()],
        "p50_ms": _ms(group.took.at(0.5)),
        "p95_ms": _ms(group.took.at(0.95)),
        "input_tokens": group.input_tokens,
        "output_tokens": group.output_tokens,
        **amounts.keys_of(group.cost),
    }


def _ms(took_ns: int | None) -> float | None:
    return None if took_ns is None else took_ns / readable.NS_PER_MS


def _print(output: Output, journal: Journal, by: str, groups: Groups) -> None:
    from otel_agent_journal.cli.table import Column
    from otel_agent_journal.projections.cost import summed

    if not groups:
        output.text(f"nothing was called; the journal is {journal.store.url}")
        return
    columns = (
        Column(by.upper(), least=12),
        Column("CALLS", right=True),
        Column("FAILED", right=True),
        Column("P50", right=True, optional=3),
        Column("P95", right=True, optional=2),
        Column("TOKENS", right=True, optional=4),
        Column("COST", right=True),
        Column("CAUSES", least=16, optional=1),
    )
    output.table(columns, _rows(groups))
    total = summed(group.cost for _, group in groups)
    if len(groups) > 1 and total.priced:
        output.text(output.paint(f"{money.shown(total)} in all", "dim"))
    if total.unpriced:
        note(unpriced(journal, total.unpriced, total.unpriced + total.priced))


def _rows(groups: Groups) -> Iterator[list[Any]]:
    from otel_agent_journal.cli.table import Cell

    for name, group in groups:
        tokens = group.input_tokens + group.output_tokens
        yield [
            Cell(_NONE, "dim") if name is None else Cell(name, "bold"),
            Cell(f"{group.calls:,}"),
            Cell(_failed(group), "red" if group.failures else "dim"),
            Cell(readable.duration(group.took.at(0.5)) or "-"),
            Cell(readable.duration(group.took.at(0.95)) or "-"),
            Cell(readable.count(tokens) if tokens else "-"),
            Cell(money.shown(group.cost) or "-"),
            Cell(_causes(group), "dim"),
        ]


def _failed(group: Group) -> str:
    if not group.failures:
        return "-"
    return f"{group.failures:,} ({100 * group.failures / max(1, group.calls):.0f} %)"


def _causes(group: Group) -> str:
    """Return the most frequent causes of failures, with how often each was one."""
    most = group.causes.most_common(_SHOWN_CAUSES)
    more = f", {len(group.causes) - _SHOWN_CAUSES} more" if len(group.causes) > _SHOWN_CAUSES else ""
    named = ((cause.replace("__main__.", ""), count) for cause, count in most)  # the program's own classes
    return ", ".join(f"{count}× {readable.one_line(cause, 60)}" for cause, count in named) + more


def unpriced(journal: Journal, calls: int, of: int) -> str:
    """Return what to say of calls whose cost is not known, and what would tell it."""
    from otel_agent_journal.reading.prices import EXTRA

    told = f"{calls:,} of {readable.plural(of, 'call')} unpriced"
    if not journal.prices.listed.is_there:
        return f"{told}; for a list of prices: pip install '{EXTRA}'"
    return f"{told}: no price is known of these models, or no usage; prices.toml may name them (docs/cost.md)"
