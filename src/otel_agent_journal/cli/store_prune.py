"""`agent-journal store prune`: delete sessions that were last updated long ago, whole. Asks first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError, note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, agree, yes_option
from otel_agent_journal.cli.progress import progress
from otel_agent_journal.cli.sealing import recorder_of, seal_key_option
from otel_agent_journal.reading import moments

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.store.protocol import JournalStore


def _age(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return how long ago, given as 90d, in nanoseconds."""
    if value is None:
        return None
    age_ns = moments.span_of(value)
    if age_ns is None or not 0 < age_ns < time.time_ns():
        raise click.BadParameter(f"'{value}' is no age; give how long ago, as 30s, 12h, 90d, 2w")
    return age_ns


@click.command("prune", short_help="Delete old sessions, whole.")
@click.argument("url", required=False)
@click.option(
    "--older-than",
    "age_ns",
    callback=_age,
    metavar="AGE",
    help="Not updated for so long: 30s, 12h, 90d, 2w. Has to be said, but with --archived.",
)
@click.option("--archived", "lake", metavar="LAKE", help="Only what this lake has: a folder, or s3://...")
@click.option("--ahead-of-sinks", is_flag=True, help="Delete what a sink was not sent, too.")
@click.option("--dry-run", is_flag=True, help="Say how many, and delete none.")
@seal_key_option
@yes_option
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    url: str | None,
    age_ns: int | None,
    lake: str | None,
    ahead_of_sinks: bool,
    dry_run: bool,
    yes: bool,
    seal_key: str | None,
) -> None:
    """Delete old sessions, whole: their events, head, context and the values kept apart.

    A session in progress stays, however old its last event, while its process is heard of. With --archived only those
    go that a lake has as they are now, as its manifest says (export --parquet). A session that a sink was not sent
    whole stays.
    """
    from otel_agent_journal.codec import format_timestamp
    from otel_agent_journal.spool.keeping import KeptFiles
    from otel_agent_journal.store.rules import prune

    if age_ns is None and lake is None:
        raise click.UsageError("say how old: --older-than 90d; or what else keeps them: --archived LAKE")
    output = invocation.output()
    invocation.store = url or invocation.store
    journal = invocation.journal()
    store = journal.store  # what dead processes left in its spool taken in, so that times are right
    administered(store)
    limit_ns = time.time_ns() - (age_ns or 0)
    before = readable.clock(limit_ns, date=True)
    only = _everything if lake is None else _kept_by(invocation, lake, store)
    recorded = None if dry_run else recorder_of(store, seal_key)
    chosen = _Chosen(only, frozenset[str]() if ahead_of_sinks else _waiting(store), records=recorded is not None)
    with progress(0, "looking for old sessions") as bar:
        count = prune(store, limit_ns, dry_run=True, only=chosen.found, progress=bar.to)
    if count and not dry_run:
        where = "for good" if lake is None else "which the lake has; values kept apart are not in it"
        plan = [f"delete {readable.plural(count, 'session')} last updated before {before}, {where}"]
        agree(f"to prune {store.url}", plan, yes=yes)
        if recorded is not None:
            recorded(list(chosen.going), "pruned")
        with progress(0, f"deleting {readable.plural(count, 'session')}") as bar:
            count = prune(store, limit_ns, only=chosen.goes, progress=bar.to)
        KeptFiles(journal.spool).forget()  # a history that goes on is journaled once more
    if chosen.spared:
        note(
            f"{readable.plural(len(chosen.spared), 'session')} spared that a sink was not sent whole: agent-journal"
            " sinks says which is behind, sinks forget gives one up, --ahead-of-sinks deletes them all the same"
        )
    if not output.for_people:
        said = {"store": store.url, "before": format_timestamp(limit_ns), "sessions": count, "deleted": not dry_run}
        output.record(said)
    elif dry_run:
        output.text(f"{readable.plural(count, 'session')} would be deleted, last updated before {before}")
    elif count:
        output.text(f"{readable.plural(count, 'session')} deleted, last updated before {before}")
    else:
        which = "" if lake is None else ", and is in the lake as it is now"
        output.text(f"nothing to do: no session was last updated before {before}{which}")


class _Chosen:
    """Which sessions go: all but those that a sink was not sent; where deletions are recorded, those recorded alone."""

    def __init__(self, only: Callable[[SessionHead], bool], waiting: frozenset[str], *, records: bool) -> None:
        self.spared: set[str] = set()
        self.going: set[str] = set()
        self._only = only
        self._waiting = waiting
        self._records = records

    def found(self, head: SessionHead) -> bool:
        """Tell whether a session is to go, as they are looked for."""
        if head.session_id in self._waiting:
            self.spared.add(head.session_id)
            return False
        goes = self._only(head)
        if goes and self._records:
            self.going.add(head.session_id)
        return goes

    def goes(self, head: SessionHead) -> bool:
        """Tell whether a session goes still, as they are deleted."""
        if head.session_id in self._waiting or (self._records and head.session_id not in self.going):
            return False
        return self._only(head)


def _waiting(store: JournalStore) -> frozenset[str]:
    """Return the sessions that a sink was not sent whole.

    Raises:
        CliError: a sink is too far behind to tell.
    """
    from otel_agent_journal.errors import UnsupportedByStore
    from otel_agent_journal.sinks.lag import waiting_sessions

    try:
        found = waiting_sessions(store)
    except UnsupportedByStore:
        return frozenset()
    if found is None:
        raise CliError(
            "a sink is so far behind that what it lacks cannot be told apart: agent-journal sinks says which; send with"
            " agent-journal drain, give it up with sinks forget, or say --ahead-of-sinks",
            1,
        )
    return found


def _everything(_head: SessionHead) -> bool:
    return True


def _kept_by(invocation: Invocation, lake: str, store: JournalStore) -> Callable[[SessionHead], bool]:
    """Return what tells of a session whether a lake has it as it is."""
    from otel_agent_journal.cli.export_parquet import alone, place_of

    place = place_of(lake)
    from otel_agent_journal.lake.archived import Archive
    from otel_agent_journal.lake.manifest import open_lake

    invocation.resources.enter_context(alone(invocation, place))  # until all is deleted
    return Archive(open_lake(place), store).has
