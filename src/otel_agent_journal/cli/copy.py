"""`agent-journal copy`: fork a session, to go on from a point of it in a session of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import click

from otel_agent_journal.cli.contract import CliError, note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.pasting import pasted

_USAGE: Final = 2


@click.command("copy", short_help="Fork a session: go on from a point of it in a session of its own.")
@click.argument("session", required=False, metavar="SESSION[@STEP]")
@click.option("--as", "new", metavar="ID", help="The id of the fork; by default the session's with a number behind it.")
@click.option("--to-point", "sequence", metavar="SEQ", help="Up to an event of the agent's context, [INSTANCE:]SEQ.")
@click.option(
    "--set-state",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A JSON object: values that the state of the fork's agents has in place of theirs.",
)
@common_options
@pass_invocation
def command(
    invocation: Invocation, session: str | None, new: str | None, sequence: str | None, file: Path | None
) -> None:
    """Fork a session: go on from a point of it in a session of its own.

    STEP is a number that `show` prints, or another name of a step: the fork goes on before it, by default from the end.
    Nothing is copied, and the session stays as it is. Prints the fork's id; then: agent-journal resume ID -- CMD
    """
    from otel_agent_journal.bootstrap.going_back import fork_at, settle
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.cli.going_back import found_point, happened_after, shown

    output = invocation.output()
    journal = invocation.journal()
    if not session:
        raise need_session(journal, "copy")
    state = None if file is None else _state(file)
    settle(journal)
    head, point = found_point(journal, session, sequence=sequence)
    made = fork_at(journal, point, new, state)
    calls = happened_after(journal, head, point.at_ns)
    if not output.for_people:
        numbers = {"number": point.number, "asked": point.asked}
        output.record({"session_id": made, "forked_from": head.session_id, **numbers})
    else:
        output.text(made)
    if calls:
        note("after that point these tools were called, which may have changed the world:")
        for line in shown(calls):
            note(f"  {line}")
        note(f"go on, and call none of them twice: agent-journal resume --once {pasted(made)} -- CMD")
    elif output.for_people:
        note(f"go on with it: agent-journal resume {pasted(made)} -- CMD")


def _state(file: Path) -> dict[str, Any]:
    from otel_agent_journal.codec import decode_value
    from otel_agent_journal.errors import CodecError

    try:
        state = decode_value(file.read_bytes())
    except CodecError as error:
        raise CliError(f"--set-state {file}: {error}", _USAGE) from error
    if not isinstance(state, dict):
        raise CliError(f"--set-state {file}: a JSON object of values by name is expected", _USAGE)
    return cast("dict[str, Any]", state)
