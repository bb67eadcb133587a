"""`agent-journal doctor`: is everything there that a journal needs? Changes nothing, and prints no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.diagnosis import Check
    from otel_agent_journal.cli.output import Output

CHECK_FAILED: Final = 5
KEYS: Final = ("check", "state", "detail", "advice")
_STYLES: Final = {"ok": "green", "warning": "yellow", "red": "red", "absent": "dim"}
_MARKS: Final = {"ok": "✓", "warning": "!", "red": "✗", "absent": "-"}


@click.command("doctor", short_help="Check settings, store, spool, OTLP endpoint and frameworks.")
@common_options
@pass_invocation
def command(invocation: Invocation) -> int:
    """Check settings, store, spool, OTLP endpoint and frameworks.

    Exits with 5 if anything is red; a warning alone is no failure.
    """
    from otel_agent_journal.cli.diagnosis import diagnose

    output = invocation.output()
    checks = list(diagnose(invocation.store))
    if output.for_people:
        _print(output, checks)
    else:
        output.records((check._asdict() for check in checks), KEYS)
    return CHECK_FAILED if any(check.state == "red" for check in checks) else 0


def _print(output: Output, checks: list[Check]) -> None:
    from otel_agent_journal.cli.readable import one_line

    width = max(len(check.check) for check in checks)
    for check in checks:
        mark = output.paint(_MARKS[check.state], _STYLES[check.state])
        output.text(f"{mark} {check.check:<{width}}  {one_line(check.detail)}")
        if check.advice:
            output.text(output.paint(f"  {'':<{width}}  {one_line(check.advice)}", _STYLES[check.state]))
