"""What the commands that verify share: how findings are printed, and the exit code that says there are some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.cli import readable

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output

CHECK_FAILED: Final = 5
KEYS: Final = ("session_id", "check", "event_id", "detail")


def print_findings(output: Output, findings: Iterator[Any], sessions: Sequence[str], checks: Iterable[str]) -> None:
    """Print findings as they come: tuples of session, check, event and detail."""
    if not output.for_people:
        output.records(output.prompt(finding._asdict() for finding in findings), KEYS)
        return
    from otel_agent_journal.cli.table import ID_WIDTH, Cell, Column, cell_len

    names = readable.short_ids(list(sessions))
    columns = (
        Column("SESSION", least=min(ID_WIDTH, max(map(cell_len, names.values()), default=0)), middle=True),
        Column("CHECK", least=max(map(len, checks))),
        Column("EVENT", least=ID_WIDTH, middle=True),
        Column("DETAIL"),
    )
    output.rows(
        columns,
        (
            (
                Cell(names.get(one.session_id, one.session_id or "-")),
                Cell(one.check, "red"),
                Cell(one.event_id or "-"),
                Cell(one.detail),
            )
            for one in findings
        ),
    )
