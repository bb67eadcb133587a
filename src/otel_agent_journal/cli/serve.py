"""`agent-journal serve`: the viewer and the API over a journal. Thin: what it does is in `bootstrap` and `server`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command("serve", short_help="Show the journal in a browser, live, and serve its API.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0: any that is free.")
@click.option("--root-path", default="", metavar="PATH", help="What a proxy puts before our paths, as /journal.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that we are asked by, as a proxy's.")
@click.option(
    "--trusted-proxy", "proxies", multiple=True, metavar="ADDRESS", help="Believe this proxy's X-Forwarded-Proto."
)
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="ORIGIN", help="Let pages of this origin ask the API."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Tokens that admit, one a line. [env: AGENT_JOURNAL_SERVE_TOKEN] Default: one is made, and printed.",
)
@click.option("--no-token", is_flag=True, help="Let in everybody on this machine.")
@click.option("--write", is_flag=True, help="Let it change things: fork, and run agents.")
@click.option(
    "--agents",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file of the agents that callers may run, with --write. [env: AGENT_JOURNAL_AGENTS]",
)
@click.option("--a2a", is_flag=True, help="Answer A2A clients, too, with --write.")
@click.option("--alerts", is_flag=True, help="Judge the rules of the nearest alerts.toml, and tell who is to be told.")
@click.option("--rules", metavar="FILE", help="The same, of this file. [env: AGENT_JOURNAL_ALERTS]")
@click.option("--open/--no-open", "opens", default=False, show_default=True, help="Open a browser.")
@common_options
@pass_invocation
def command(invocation: Invocation, opens: bool, **options: Any) -> None:
    """Show the journal in a browser, live, and serve its API.

    Prints the link, with a token in it, once it listens. Ends on SIGTERM or Ctrl-C.
    """
    from otel_agent_journal.bootstrap.serving import Door, open_server, serve
    from otel_agent_journal.cli.contract import note

    invocation.log()
    logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("socket.send() raised"))
    served = open_server(invocation.settings(), Door(**options))
    if options["no_token"]:
        note("there is no token: every program and every user of this machine can read the journal")
    print(served.url, flush=True)
    if opens:
        click.launch(served.url)
    serve(served)
