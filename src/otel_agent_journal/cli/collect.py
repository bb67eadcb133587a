"""`agent-journal collect`: OTLP of any source into the journal. Thin: what it does is in `bootstrap`."""

from __future__ import annotations

from pathlib import Path
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
@click.option(
    "--ack",
    type=click.Choice(["spool", "store"]),
    default="spool",
    show_default=True,
    help="Where a request is when it is acknowledged: on the disk here, or in the store.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    metavar="MIB",
    help="Of requests that are not yet answered, of each worker; clients beyond that are asked to come again.",
)
@click.option("--token-file", type=click.Path(path_type=Path), help="Bearer tokens, one a line; nobody else may send.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM; serves over TLS alone.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option(
    "--client-ca", type=click.Path(path_type=Path), help="Authority of clients' certificates, PEM: mutual TLS."
)
@click.option("--open-to-all", is_flag=True, help="Listen beyond this machine though nobody has to prove who they are.")
@click.option(
    "--silence",
    type=click.FloatRange(min=1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="An agent with a step open of whom nothing is heard for so long is lost.",
)
@common_options
@pass_invocation
def command(invocation: Invocation, **options: Any) -> None:
    """Receive OTLP from any source, and journal it.

    Takes spans and the journal's own log records over gRPC and HTTP. Acknowledges a request once it is on the disk, in
    the spool, and delivers it to the store from there. Ends on SIGTERM or Ctrl-C, when what it has is delivered.
    """
    from otel_agent_journal.bootstrap.collecting import Doors, collect
    from otel_agent_journal.cli import readable
    from otel_agent_journal.cli.contract import note
    from otel_agent_journal.terminal import say

    grpc = None if options["no_grpc"] else options["grpc"]
    http = None if options["no_http"] else options["http"]
    if grpc is None and http is None:
        raise click.UsageError("--no-grpc and --no-http leave nothing to listen for")
    doors = Doors(
        grpc=grpc,
        http=http,
        workers=options["workers"],
        token_file=options["token_file"],
        certificate=options["tls_cert"],
        key=options["tls_key"],
        client_authority=options["client_ca"],
        open_to_all=options["open_to_all"],
        in_flight_bytes=options["max_in_flight"] * 1024 * 1024,
    )
    report = collect(
        invocation.settings(),
        doors,
        ack_store=options["ack"] == "store",
        silence_s=options["silence"],
        say=say,
    )
    left = f", {readable.size(report.pending_bytes)} left in the spool" if report.pending_bytes else ""
    note(f"delivered {readable.plural(report.delivered, 'event')}{left}")
