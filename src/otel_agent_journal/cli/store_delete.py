"""`agent-journal store delete`: delete sessions, whole and everywhere. Says what goes, and asks first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, agree, yes_option
from otel_agent_journal.cli.progress import progress
from otel_agent_journal.cli.sealing import recorder_of, seal_key_option

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.store.deleting import Deleted

KEYS: Final = ("session_id", "status", "agent", "steps", "events", "parts", "forked_from", "deleted")
_USAGE: Final = 2
_MAX_SHOWN: Final = 50  # sessions that the plan names


@click.command("delete", short_help="Delete sessions, whole and everywhere.")
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION...")
@click.option("--forks", is_flag=True, help="Delete the sessions that were forked from these, too.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@seal_key_option
@yes_option
@common_options
@pass_invocation
def command(
    invocation: Invocation, sessions: tuple[str, ...], forks: bool, dry_run: bool, yes: bool, seal_key: str | None
) -> None:
    """Delete sessions, whole and everywhere.

    Events, head, contexts of agents, documents, values kept apart, the traces that are part of it, and what the spool
    had set aside. A session that runs is left alone, one that was forked goes with its forks. With --yes ids
    are whole.
    """
    from otel_agent_journal.bootstrap.going_back import not_running
    from otel_agent_journal.store.deleting import in_order

    output = invocation.output()
    journal = invocation.journal()
    administered(journal.store)
    named = {head.session_id: head for head in (_meant(journal, text, yes=yes) for text in sessions)}
    heads = in_order(journal.store, list(named.values()), forks=forks)
    for head in heads:
        not_running(journal, head)
    recorded = recorder_of(journal.store, seal_key) if not dry_run else None
    if not dry_run:
        agree(f"to delete for good, in {journal.store.url}", _plan(heads), yes=yes)
    if recorded is not None:
        recorded([one for head in heads for one in (head.session_id, *head.parts)], "deleted")
    gone: dict[str, Deleted] = {}
    if not dry_run:
        gone = {one.session_id: one for one in _deleted(journal, heads)}
    if not output.for_people:
        output.records((_record(head, deleted=head.session_id in gone) for head in heads), KEYS)
    elif dry_run:
        for line in _plan(heads):
            output.text(line)
        output.text(f"{readable.plural(len(heads), 'session')} would be deleted")
    else:
        events = readable.plural(sum(one.events for one in gone.values()), "event")
        output.text(f"{readable.plural(len(gone), 'session')} deleted, {events}")


def _meant(journal: Journal, text: str, *, yes: bool) -> SessionHead:
    """Return the session that is meant; where nobody is asked the beginning of an id is not enough."""
    head = journal.session(text)
    if yes and head.session_id != text:
        whole = head.session_id
        raise CliError(f"'{text}' is not the whole of an id; nothing was deleted: with --yes give {whole}", _USAGE)
    return head


def _plan(heads: Sequence[SessionHead]) -> Iterator[str]:
    for head in heads[:_MAX_SHOWN]:
        facts = [
            readable.one_line(head.agent or "no agent"),
            head.status,
            readable.plural(head.steps, "step"),
            readable.plural(head.events, "event"),
        ]
        if head.started_ns:
            facts.append(f"started {readable.clock(head.started_ns, date=True)}")
        if head.parts:
            facts.append(f"with {readable.plural(len(head.parts), 'part')}")
        if head.forked_from:
            facts.append(f"a fork of {readable.one_line(head.forked_from)}")
        yield f"{readable.one_line(head.session_id)}  {', '.join(facts)}"
    if len(heads) > _MAX_SHOWN:
        yield f"and {len(heads) - _MAX_SHOWN} more"


def _deleted(journal: Journal, heads: Sequence[SessionHead]) -> Iterator[Deleted]:
    """Delete sessions one after the other, and what this machine keeps of them beside the store."""
    from otel_agent_journal.spool.keeping import KeptFiles
    from otel_agent_journal.spool.set_aside import forget_sessions
    from otel_agent_journal.store.deleting import delete
    from otel_agent_journal.store.protocol import Erases

    with progress(len(heads), f"deleting {readable.plural(len(heads), 'session')}") as bar:
        for head in heads:
            gone = delete(journal.store, head.session_id)
            forget_sessions(journal.spool, {head.session_id, *head.parts})
            bar(1)
            if gone is not None:
                yield gone
    KeptFiles(journal.spool).forget()  # a history that goes on is journaled once more
    if isinstance(journal.store, Erases):
        journal.store.erase()


def _record(head: SessionHead, *, deleted: bool) -> dict[str, Any]:
    return {
        "session_id": head.session_id,
        "status": head.status,
        "agent": head.agent,
        "steps": head.steps,
        "events": head.events,
        "parts": list(head.parts),
        "forked_from": head.forked_from,
        "deleted": deleted,
    }
