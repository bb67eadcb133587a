"""`agent-journal compact`: rewrite sessions into their cheapest form to keep and to read, where a store has one."""

from __future__ import annotations

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.progress import progress


@click.command("compact", short_help="Rewrite sessions into their compact form, in stores such as S3.")
@click.argument("session", required=False)
@click.option("--all", "every", is_flag=True, help="Each session that would gain by it.")
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None, every: bool) -> None:
    """Rewrite sessions into their compact form, in stores such as S3.

    Of one SESSION, or of --all that would gain by it. Readers and writers go on meanwhile; repeating it is harmless.
    """
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.errors import UnsupportedByStore
    from otel_agent_journal.store.protocol import Compacts

    if session and every:
        raise click.UsageError("SESSION and --all exclude each other")
    output = invocation.output()
    journal = invocation.journal()
    store = journal.store
    if not isinstance(store, Compacts):
        raise UnsupportedByStore(store.url, "compact")
    if not session and not every:
        raise need_session(journal, "compact")
    if session:
        count = store.compact(journal.session(session).session_id)
    else:
        with progress(None, "sessions looked at") as bar:
            count = store.compact(progress=bar.to)
    if output.for_people:
        output.text(f"{readable.plural(count, 'session')} compacted")
    else:
        output.record({"store": store.url, "sessions": count})
