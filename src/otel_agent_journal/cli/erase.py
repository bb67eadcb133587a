"""`agent-journal erase`: take the content out of a session's events; what happened stays, and its seal holds."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, agree, yes_option
from otel_agent_journal.cli.sealing import SEAL_KEY, key_option, signer_of

KEYS: Final = ("session_id", "events", "sealed")
_USAGE: Final = 2


@click.command("erase", short_help="Erase the content of a session's events; what happened stays, and its seal holds.")
@click.argument("session")
@click.option("--event", "events", multiple=True, metavar="ID", help="This event alone; may be given several times.")
@key_option
@yes_option
@common_options
@pass_invocation
def command(invocation: Invocation, session: str, events: tuple[str, ...], key: str | None, yes: bool) -> None:
    """Erase the content of a session's events; what happened stays, and its seal holds.

    Prompts, answers, inputs, outputs, messages of errors and the values kept apart go; names, times, tokens and ids
    stay. An agent cannot go on from a context that was erased. Of a sealed session --key is needed: the log says that
    it was erased. Broken off, the same command goes on; until then a file beside the spool has the rest.
    """
    from otel_agent_journal.bootstrap.going_back import not_running
    from otel_agent_journal.seals.erasing import erase
    from otel_agent_journal.spool.keeping import KeptFiles
    from otel_agent_journal.spool.set_aside import forget_sessions

    output = invocation.output()
    journal = invocation.journal()
    administered(journal.store)
    folder = journal.spool.parent / "erasing"
    begun = folder.exists() and any(folder.iterdir())
    if begun and journal.exact(session) is None:  # broken off between its deletion and its return
        named = [session]
    else:
        head = journal.session(session)
        if yes and head.session_id != session:
            raise CliError(f"'{session}' is not the whole of an id; with --yes give {head.session_id}", _USAGE)
        not_running(journal, head)
        named = [head.session_id, *head.parts]
    if events and len(named) > 1:
        holders = {event.session_id for event in journal.events(named[0]) if event.event_id in events}
        named = sorted(holders) or named[:1]
    signer = signer_of(key) if key or os.environ.get(SEAL_KEY) else None
    what = readable.plural(len(events), "event") if events else "all events"
    agree(f"to erase for good, in {journal.store.url}", [f"the content of {what} of {one}" for one in named], yes=yes)
    done: list[dict[str, Any]] = []
    for one in named:
        gone = erase(journal.store, one, events, signer, folder, time.time_ns)
        forget_sessions(journal.spool, {one})
        done.append(gone._asdict())
    KeptFiles(journal.spool).forget()
    if not output.for_people:
        output.records(done, KEYS)
        return
    for one in done:
        seal = "; its seal holds" if one["sealed"] else ""
        output.text(f"session {one['session_id']}: content of {readable.plural(one['events'], 'event')} erased{seal}")
