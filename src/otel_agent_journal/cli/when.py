"""A time as people give it on the command line: see `reading.moments`."""

from __future__ import annotations

import click

from otel_agent_journal.reading.moments import FORMS, moment_of

__all__ = ["FORMS", "since", "until"]


def since(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return when something begins, in nanoseconds: of a date its first moment."""
    return None if value is None else _moment(value, end=False)


def until(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return when something ends, in nanoseconds: of a date its last moment, of a minute that of the minute."""
    return None if value is None else _moment(value, end=True)


def _moment(text: str, *, end: bool) -> int:
    try:
        return moment_of(text, end=end)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
