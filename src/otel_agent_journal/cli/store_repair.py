"""`agent-journal store repair`: write the heads that are missing or not what their events amount to, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, opened
from otel_agent_journal.cli.progress import progress
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.store.rules import Repaired

KEYS: Final = ("session_id", "found", "written")


@click.command("repair", short_help="Write the heads of sessions that are missing or wrong.")
@click.argument("url", required=False)
@common_options
@pass_invocation
def command(invocation: Invocation, url: str | None) -> None:
    """Write the heads of sessions that are missing or wrong.

    A head is what listings show of a session. Every session is read from its first event on, and its head written where
    that says something else. Events are never changed. Prints what it finds as it finds it, nothing where all is right.
    """
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.store.protocol import SessionFilter
    from otel_agent_journal.store.rules import repair

    output = invocation.output()
    store = opened(invocation, url)
    heads: dict[str, SessionHead | None] = dict.fromkeys(administered(store).session_ids())
    heads.update((head.session_id, head) for head in store.sessions(SessionFilter(parts=True)))
    looked, found, written = readable.plural(len(heads), "session"), 0, 0

    def repaired() -> Iterator[Repaired]:
        nonlocal found, written
        with progress(len(heads), f"looking at {looked}") as bar:
            for session_id in heads:
                one = repair(store, session_id)
                bar(1)
                if one is not None:
                    found, written = found + 1, written + one.written
                    bar.clear()
                    yield one

    _print(output, repaired())
    outcome = f"{readable.plural(found, 'finding')}, {readable.plural(written, 'head')} written"
    say(f"looked at {looked}: {outcome if found else 'nothing wrong'}")


def _print(output: Output, findings: Iterator[Repaired]) -> None:
    if not output.for_people:
        output.records(output.prompt(finding._asdict() for finding in findings), KEYS)
        return
    from otel_agent_journal.cli.table import ID_WIDTH, Cell, Column

    output.rows(
        (Column("SESSION", least=ID_WIDTH, middle=True), Column("HEAD WRITTEN"), Column("FOUND")),
        ((Cell(one.session_id), Cell("yes" if one.written else "no"), Cell(one.found)) for one in findings),
    )
