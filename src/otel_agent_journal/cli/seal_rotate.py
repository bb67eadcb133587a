"""`agent-journal seal rotate`: let another key follow the one that sealed until now."""

from __future__ import annotations

import time

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.sealing import key_option, signer_of


@click.command("rotate", short_help="Let another key follow the one that sealed until now.")
@click.option("--to", "new", required=True, metavar="KEY", help="The new secret key: a file, or kms:ARN.")
@key_option
@common_options
@pass_invocation
def command(invocation: Invocation, new: str, key: str | None) -> None:
    """Let another key follow the one that sealed until now.

    Both sign a note in the log. Who trusts one of them trusts what the other has sealed, too; so give the new public
    key to whoever verifies, and take the old one back where it may have been read by others.
    """
    from otel_agent_journal.codec import format_timestamp
    from otel_agent_journal.errors import ConfigError
    from otel_agent_journal.seals.keys import open_signer
    from otel_agent_journal.seals.log import Log
    from otel_agent_journal.seals.records import Followed
    from otel_agent_journal.seals.rotating import key_note

    output = invocation.output()
    before, after = signer_of(key), open_signer(new)
    if before.public == after.public:
        raise ConfigError("both keys are the same; make another: agent-journal seal keygen FILE")
    log = Log(invocation.journal().store)
    record = Followed(note=str(key_note(before, after)), at=format_timestamp(time.time_ns()))
    log.resign([record], after, before)
    if output.for_people:
        output.text(f"{after.public.name} follows {before.public.name}; its public key is {after.public}")
    else:
        output.record({"old": str(before.public), "new": str(after.public)})
