"""`agent-journal store repair`: write the heads that are missing or not what their events amount to, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, opened
from otel_agent_journal.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.store.rules import Repaired

KEYS = ("session_id", "found", "written")


@click.command("repair", short_help="Write the heads of sessions that are missing or wrong.")
@click.argument("url", required=False)
@common_options
@pass_invocation
def command(invocation: Invocation, url: str | None) -> None:
    """Write the heads of sessions that are missing or wrong.

    A head is what listings show of a session. Every session is read from its first event on, and its head written where
    that says something else. Events are never changed. Prints what was found, nothing where all was right.
    """
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.store.protocol import SessionFilter
    from otel_agent_journal.store.rules import repair

    output = invocation.output()
    store = opened(invocation, url)
    heads: dict[str, SessionHead | None] = dict.fromkeys(administered(store).session_ids())
    heads.update((head.session_id, head) for head in store.sessions(SessionFilter(parts=True)))
    found: list[Repaired] = []

    def repaired() -> Iterator[Repaired]:
        with progress(len(heads), f"looking at {readable.plural(len(heads), 'session')}") as move:
            for session_id in heads:
                one = repair(store, session_id)
                move(1)
                if one is not None:
                    found.append(one)
                    yield one

    _print(output, repaired())
    written = sum(one.written for one in found)
    outcome = f"{readable.plural(len(found), 'finding')}, {readable.plural(written, 'head')} written"
    looked = readable.plural(len(heads), "session")
    click.echo(f"looked at {looked}: {outcome if found else 'nothing wrong'}", err=True)


def _print(output: Output, findings: Iterator[Repaired]) -> None:
    if not output.for_people:
        output.records((finding._asdict() for finding in findings), KEYS)
        return
    from otel_agent_journal.cli.table import Cell, Column

    rows = list(findings)
    if rows:
        output.table(
            (Column("SESSION"), Column("FOUND", least=20), Column("HEAD WRITTEN")),
            ((Cell(one.session_id), Cell(one.found), Cell("yes" if one.written else "no")) for one in rows),
        )
