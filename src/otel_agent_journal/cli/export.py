"""`agent-journal export`: the spans of a session, rebuilt from its events, to any OTLP backend."""

from __future__ import annotations

import os
from typing import Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.progress import progress

KEYS: Final = ("session_id", "spans", "otlp")


@click.command("export", short_help="Send a session's spans to an OTLP endpoint such as Jaeger.")
@click.argument("session", required=False)
@click.option("--otlp", metavar="URL", help="Where to, as http://localhost:4318. [env: AGENT_JOURNAL_OTLP]")
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None, otlp: str | None) -> None:
    """Send a session's spans to an OTLP endpoint such as Jaeger.

    Works for any session, however old. Span ids are those of the run, so that sending it twice shows it once. Steps
    that the program's sampler left out are left out here. Without --otlp the OTLP variables say where to.
    """
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.forwarding.export import export_session
    from otel_agent_journal.masking import masked

    output = invocation.output()
    target = invocation.settings(otlp=otlp).otlp
    if target is None:
        raise click.UsageError("there is nowhere to send to; give --otlp URL, as in --otlp http://localhost:4318")
    journal = invocation.journal()
    if not session:
        raise need_session(journal, "export")
    head = journal.session(session)
    with progress(head.steps, "sending spans") as bar:
        spans = export_session(
            journal.events(head.session_id), target, environ=os.environ, progress=bar.to, get_blob=journal.blob
        )
    if output.for_people:
        why = "; its traces were not sampled" if head.steps and not spans else ""
        output.text(f"{readable.plural(spans, 'span')} of session {head.session_id} sent to {masked(target)}{why}")
    else:
        output.record({"session_id": head.session_id, "spans": spans, "otlp": masked(target)})
