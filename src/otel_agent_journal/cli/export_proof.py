"""`agent-journal export SESSION --proof EVENT`: one event and all that shows it to be sealed, as one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from otel_agent_journal.cli.contract import CliError

if TYPE_CHECKING:
    from otel_agent_journal.cli.invocation import Invocation
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.reading.journal import Journal

_NOT_FOUND = 3
_LEAST = 4  # characters of an id


def export(invocation: Invocation, output: Output, session: str | None, wanted: str, anchors: Sequence[str]) -> None:
    """Print the proof of an event of a session."""
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.cli.verify_sealed import anchored
    from otel_agent_journal.seals.proofs import proof_of

    journal = invocation.journal()
    if not session:
        raise need_session(journal, f"export --proof {wanted}")
    if len(wanted) < _LEAST:
        raise click.UsageError(f"--proof {wanted}: give {_LEAST} characters of the event's id, or more")
    event = _event(journal, journal.session(session).session_id, wanted)
    proof = proof_of(journal.store, event, list(anchored(journal.store, anchors, ())))
    output.document(msgspec.json.encode(proof))


def _event(journal: Journal, session_id: str, wanted: str) -> JournalEvent:
    """Return the event that is meant by its id, or by the beginning of that."""
    found: JournalEvent | None = None
    for event in journal.events(session_id):
        if event.event_id == wanted:
            return event
        if event.event_id.startswith(wanted):
            if found is not None:
                raise CliError(
                    f"several events of session {session_id} have ids that begin with '{wanted}'", _NOT_FOUND
                )
            found = event
    if found is None:
        listed = f"agent-journal show {session_id} --events -o jsonl"
        raise CliError(f"session {session_id} has no event '{wanted}'; {listed} lists them", _NOT_FOUND)
    return found
