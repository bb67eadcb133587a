"""`agent-journal seal verifier`: print a verifier of proofs that needs nothing of this package."""

from __future__ import annotations

from pathlib import Path

import click

from otel_agent_journal import seals
from otel_agent_journal.cli.invocation import common_options


@click.command("verifier", short_help="Print a verifier of proofs that needs nothing of this package.")
@common_options
def command() -> None:
    """Print a verifier of proofs that needs nothing of this package.

    One short file, to be read before it is trusted: agent-journal seal verifier > verify_seal.py
    Then, with `cryptography` installed: python verify_seal.py PROOF.json seal.pub
    """
    click.echo((Path(seals.__path__[0]) / "verify_seal.py").read_text(encoding="utf-8"), nl=False)
