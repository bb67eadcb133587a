"""`agent-journal seal log`: print what the log of seals says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.seals.records import Record

KEYS: Final = ("index", "is", "session", "at", "seal", "size", "root", "why", "events", "all", "note")


@click.command("log", short_help="Print what the log of seals says.")
@click.option("--checkpoint", is_flag=True, help="Print its signed checkpoint alone, to keep, mail or print.")
@common_options
@pass_invocation
def command(invocation: Invocation, checkpoint: bool) -> None:
    """Print what the log of seals says.

    As it stands in the store, unchecked: `verify --sealed` checks it.
    """
    from otel_agent_journal.seals.log import Log

    output = invocation.output()
    log = Log(invocation.journal().store)
    head = log.head()
    if checkpoint:
        for line in () if head is None else head.note.splitlines():
            output.text(line)
        return
    records: Iterator[tuple[int, Record]] = (
        () if head is None else ((index, record) for index, (_, record) in enumerate(log.records(head)))  # type: ignore[assignment]
    )
    if not output.for_people:
        output.records(({"index": index, **_plain(record)} for index, record in records), KEYS)
        return
    if head is None:
        output.text("nothing was sealed here yet")
    for index, record in records:
        said = _plain(record)
        session = said.get("session") or "-"
        rest = ", ".join(f"{name} {said[name]}" for name in ("seal", "size", "why", "all") if name in said)
        output.text(f"{index:>6}  {said['at']}  {said['is']:<8}{session}  {rest}")


def _plain(record: Record) -> dict[str, Any]:
    return msgspec.to_builtins(record)
