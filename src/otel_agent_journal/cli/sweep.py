"""`agent-journal sweep`: write down that a session was interrupted, where its process has gone.

Readers see such a session as INTERRUPTED anyway; sweeping makes it a fact of the journal. Repeating it writes nothing
new, and a writer that speaks again after all reopens its steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.reading.journal import Journal

KEYS: Final = ("session_id", "writer", "reason", "last_seen_at", "event_id")


@click.command("sweep", short_help="Mark sessions interrupted whose process has gone silent.")
@common_options
@pass_invocation
def command(invocation: Invocation) -> None:
    """Mark sessions interrupted whose process has gone silent.

    Gone is a writer with an open step whose spool shows it dead, or that has no spool here and was silent for 60 s.
    """
    output = invocation.output()
    marked = (_record(event) for event in sweep(invocation.journal(adopt=False)))
    if not output.for_people:
        output.records(output.prompt(marked), KEYS)
        return
    from otel_agent_journal.cli.table import ID_WIDTH, Cell, Column

    found = 0

    def rows() -> Iterator[list[Cell]]:
        nonlocal found
        for row in marked:
            found += 1
            yield [Cell(str(row[key])) for key in ("session_id", "reason", "last_seen_at", "writer")]

    columns = (
        Column("SESSION", least=ID_WIDTH, middle=True),
        Column("REASON"),
        Column("LAST SEEN", least=30),
        Column("WRITER"),
    )
    output.rows(columns, rows())
    output.text(f"{readable.plural(found, 'writer')} marked" if found else "no session has a silent writer")


def sweep(journal: Journal) -> Iterator[JournalEvent]:
    """Finish the spools of dead writers, mark silent ones, and yield every SESSION_INTERRUPTED that came of it."""
    from otel_agent_journal.delivery.interruptions import interruptions
    from otel_agent_journal.event import SESSION_INTERRUPTED

    cursor = journal.store.tip()
    journal.take_in_dead()
    interruptions(journal.store, journal.spool, journal.clock())
    while (page := journal.store.follow(cursor)).events:
        yield from (event for event in page.events if event.type == SESSION_INTERRUPTED)
        cursor = page.cursor


def _record(event: JournalEvent) -> dict[str, Any]:
    return {
        "session_id": event.session_id,
        "writer": event.details.get("writer"),
        "reason": event.details.get("reason"),
        "last_seen_at": event.details.get("last_seen"),
        "event_id": event.event_id,
    }
