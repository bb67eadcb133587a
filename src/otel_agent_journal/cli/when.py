"""A time as people give it on the command line: see `reading.moments`."""

from __future__ import annotations

import click

from otel_agent_journal.reading.moments import FORMS, moment_of, span_of

__all__ = ["FORMS", "since", "span", "until"]


def since(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return when something begins, in nanoseconds: of a date its first moment."""
    return None if value is None else _moment(value, end=False)


def until(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return when something ends, in nanoseconds: of a date its last moment, of a minute that of the minute."""
    return None if value is None else _moment(value, end=True)


def span(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return a span of time, given as 90s, 10m, 1h, in nanoseconds."""
    if value is None:
        return None
    span_ns = span_of(value)
    if span_ns is None or span_ns < 1_000_000_000:
        raise click.BadParameter(f"'{value}' is no span of time; give a second or more, as 90s, 10m, 1h, 7d")
    return span_ns


def _moment(text: str, *, end: bool) -> int:
    try:
        return moment_of(text, end=end)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
