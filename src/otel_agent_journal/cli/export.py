"""`agent-journal export`: a session's spans to an OTLP backend, its events as lines, or the journal to a lake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli import readable, when
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.progress import progress

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output

KEYS: Final = ("session_id", "spans", "otlp")


@click.command("export", short_help="Send spans to an OTLP endpoint, write events out, or the journal to Parquet.")
@click.argument("session", required=False)
@click.option("--jsonl", is_flag=True, help="Write its events to stdout, for `import`, with the values kept apart.")
@click.option(
    "--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write it as one page that opens offline."
)
@click.option(
    "--recording", type=click.Path(path_type=Path, dir_okay=False), help="Write it as one file to commit and replay."
)
@click.option("--otlp", metavar="URL", help="Where to, as http://localhost:4318. [env: AGENT_JOURNAL_OTLP]")
@click.option("--proof", "event", metavar="EVENT", help="Print one event with all that shows it to be sealed, as JSON.")
@click.option("--anchor", "anchors", multiple=True, metavar="WHERE", help="Of --proof: where the log is anchored.")
@click.option("--parquet", "lake", metavar="LAKE", help="Write the journal to Parquet files: a folder, or s3://...")
@click.option("--since", "since_ns", callback=when.since, metavar="WHEN", help=f"Updated since: {when.FORMS}.")
@click.option("--until", "until_ns", callback=when.until, metavar="WHEN", help="Updated by then.")
@click.option("--tables", metavar="NAMES", help="Of --parquet: these alone, as events,sessions. [default: all]")
@click.option("--compact", "day", metavar="DAY", help="Of --parquet: make one file a table of a day's, as 2026-11-30.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    session: str | None,
    jsonl: bool,
    page: Path | None,
    recording: Path | None,
    otlp: str | None,
    event: str | None,
    anchors: tuple[str, ...],
    lake: str | None,
    since_ns: int | None,
    until_ns: int | None,
    tables: str | None,
    day: str | None,
) -> None:
    """Send spans to an OTLP endpoint, write events out, or the journal to Parquet.

    Works for any session, however old. Span ids are those of the run, so that sending it twice shows it once. Steps
    that the program's sampler left out are left out here. Without --otlp the OTLP variables say where to. With --jsonl
    it is written to stdout instead, all that there is of it: agent-journal export SESSION --jsonl > session.jsonl
    With --html it becomes the viewer and the session in one file: agent-journal export SESSION --html session.html
    With --recording it becomes one file that `replay` and pytest run code against.

    With --parquet the whole journal is written to a lake, for SQL, Spark, Athena and Trino; what has changed since is
    written by the same command later.
    """
    output = invocation.output()
    forms = {
        "--parquet": lake,
        "--jsonl": jsonl,
        "--html": page,
        "--recording": recording,
        "--otlp": otlp,
        "--proof": event,
    }
    given = [name for name, value in forms.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} are different forms; give one of them")
    if anchors and not event:
        raise click.UsageError("--anchor goes with --proof EVENT")
    if lake is not None:
        if session:
            raise click.UsageError("--parquet takes the whole journal; leave the session out")
        _to_lake(invocation, output, lake, since_ns, until_ns, tables, day)
        return
    if (since_ns, until_ns, tables, day) != (None, None, None, None):
        raise click.UsageError("--since, --until, --tables and --compact go with --parquet LAKE")
    if jsonl:
        _written_out(invocation, output, session)
    elif page is not None:
        _page(invocation, output, session, page)
    elif recording is not None:
        _recording(invocation, output, session, recording)
    elif event is not None:
        from otel_agent_journal.cli.export_proof import export as export_proof

        export_proof(invocation, output, session, event, anchors)
    else:
        _sent(invocation, output, session, otlp)


def _to_lake(
    invocation: Invocation,
    output: Output,
    lake: str,
    since_ns: int | None,
    until_ns: int | None,
    tables: str | None,
    day: str | None,
) -> None:
    from otel_agent_journal.cli import export_parquet

    if day is None:
        export_parquet.export(invocation, output, lake, since_ns, until_ns, tables)
    elif (since_ns, until_ns, tables) == (None, None, None):
        export_parquet.compact_day(invocation, output, lake, day)
    else:
        raise click.UsageError("--compact rewrites what is there; it goes with --parquet alone")


def _sent(invocation: Invocation, output: Output, session: str | None, otlp: str | None) -> None:
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.forwarding.export import export_session
    from otel_agent_journal.masking import masked

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


def _written_out(invocation: Invocation, output: Output, session: str | None) -> None:
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.reading.written_out import lines_of

    journal = invocation.journal()
    if not session:
        raise need_session(journal, "export --jsonl")
    output.lines(lines_of(journal.store, journal.session(session).session_id))


def _recording(invocation: Invocation, output: Output, session: str | None, file: Path) -> None:
    """Write a session as a file to replay, redacted where the settings say how."""
    from otel_agent_journal.bootstrap.recording_here import redacted_by
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.replays.files import write_recording

    journal = invocation.journal()
    if not session:
        raise need_session(journal, f"export --recording {file}")
    head = journal.session(session)
    size = write_recording(journal.store, head.session_id, file, redacted_by(invocation.settings()))
    if output.for_people:
        output.text(f"session {head.session_id} written to {file}, {readable.size(size)}")
    else:
        output.record({"session_id": head.session_id, "file": str(file), "bytes": size})


def _page(invocation: Invocation, output: Output, session: str | None, page: Path) -> None:
    """Write a session as one page; a file that is there is replaced only by a whole one."""
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.errors import MissingExtra

    try:
        from otel_agent_journal.server.one_file import write_page
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the viewer; {error.name}", "otel-agent-journal[ui]") from error
    journal = invocation.journal()
    if not session:
        raise need_session(journal, f"export --html {page}")
    head = journal.session(session)
    made = page.with_name(f".{page.name}.part")
    try:
        with made.open("w", encoding="utf-8") as file:
            write_page(journal, head, file.write)
        made.replace(page)
    finally:
        made.unlink(missing_ok=True)
    size = page.stat().st_size
    if output.for_people:
        output.text(f"session {head.session_id} written to {page}, {readable.size(size)}")
    else:
        output.record({"session_id": head.session_id, "file": str(page), "bytes": size})
