"""`agent-journal collect`: OTLP of any source into the journal. Thin: what it does is in `bootstrap`."""

from __future__ import annotations

from typing import Any

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command("collect", short_help="Receive OTLP from any source, and journal it.")
@click.option("--grpc", default="127.0.0.1:4317", show_default=True, metavar="HOST:PORT", help="Port 0: any, printed.")
@click.option("--http", default="127.0.0.1:4318", show_default=True, metavar="HOST:PORT", help="Port 0: any, printed.")
@click.option("--no-grpc", is_flag=True, help="Do not listen for gRPC.")
@click.option("--no-http", is_flag=True, help="Do not listen for HTTP.")
@click.option(
    "--workers", type=click.IntRange(min=1, max=256), default=1, show_default=True, help="Processes that serve."
)
@common_options
@pass_invocation
def command(invocation: Invocation, **options: Any) -> None:
    """Receive OTLP from any source, and journal it.

    Acknowledges a request once it is on the disk, in the spool, and delivers it to the store from there. Ends on
    SIGTERM or Ctrl-C, when what it has is delivered.
    """
    from otel_agent_journal.bootstrap.collecting import collect
    from otel_agent_journal.cli import readable
    from otel_agent_journal.cli.journal import note

    grpc = None if options["no_grpc"] else options["grpc"]
    http = None if options["no_http"] else options["http"]
    if grpc is None and http is None:
        raise click.UsageError("--no-grpc and --no-http leave nothing to listen for")
    report = collect(
        invocation.settings(),
        grpc=grpc,
        http=http,
        workers=options["workers"],
        say=lambda line: click.echo(line, err=True),
    )
    left = f", {readable.size(report.pending_bytes)} left in the spool" if report.pending_bytes else ""
    note(f"delivered {readable.plural(report.delivered, 'event')}{left}")
