"""Which session, which step: what was named on the command line, or what to say where that names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.pasting import pasted
from otel_agent_journal.reading.naming import find_step

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

__all__ = ["find_step", "need_session"]

_USAGE = 2


def need_session(journal: Journal, command: str) -> CliError:
    """Return the usage error of a command that was given no session; it names the newest."""
    newest = journal.newest()
    if newest is None:
        return CliError(f"'{command}' needs a session, and the journal {journal.store.url} is empty", _USAGE)
    named = pasted(newest.session_id)
    return CliError(
        f"'{command}' needs a session; the newest is {newest.session_id}: agent-journal {command} {named}", _USAGE
    )
