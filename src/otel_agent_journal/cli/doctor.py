"""`agent-journal doctor`: is everything there that a journal needs? Changes nothing, and prints no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_agent_journal.cli.diagnosis import Check
    from otel_agent_journal.cli.output import Output

CHECK_FAILED: Final = 5
KEYS: Final = ("check", "state", "detail", "advice")
_STYLES: Final = {"ok": "green", "warning": "yellow", "red": "red", "absent": "dim"}
_WIDTH: Final = len("otel-agent-journal")  # the longest name of a check
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
    red = False

    def checks() -> Iterator[Check]:
        nonlocal red
        for check in output.prompt(diagnose(invocation.store)):
            red = red or check.state == "red"
            yield check

    if output.for_people:
        _print(output, checks())
    else:
        output.records((check._asdict() for check in checks()), KEYS)
    return CHECK_FAILED if red else 0


def _print(output: Output, checks: Iterator[Check]) -> None:
    for check in checks:
        mark = output.paint(_MARKS[check.state], _STYLES[check.state])
        output.text(f"{mark} {check.check:<{_WIDTH}}  {check.detail}")
        if check.advice:
            output.text(output.paint(f"  {'':<{_WIDTH}}  {check.advice}", _STYLES[check.state]))
