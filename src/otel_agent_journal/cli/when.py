"""A time as people give it on the command line: how long ago, a date, a date and a time, or RFC 3339."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Final

import click

from otel_agent_journal.cli import readable

FORMS: Final = "30m, 2h, 7d, today, 2026-11-30, '2026-11-30 14:00', or RFC 3339"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d", re.ASCII)
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}


def since(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return when something begins, in nanoseconds: of a date its first moment."""
    return None if value is None else _moment(value, end=False)


def until(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return when something ends, in nanoseconds: of a date its last moment, of a minute that of the minute."""
    return None if value is None else _moment(value, end=True)


def _moment(text: str, *, end: bool) -> int:
    from otel_agent_journal.codec import parse_timestamp
    from otel_agent_journal.errors import CodecError

    given = text.strip()
    span_ns = readable.span_of(given)
    if span_ns is not None:
        return max(0, time.time_ns() - span_ns)
    try:
        if given.lower() in _DAYS_AGO:
            day = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
            return _local_ns(day - timedelta(days=_DAYS_AGO[given.lower()]), timedelta(days=1), end=end)
        if _DATE.fullmatch(given):
            return _local_ns(datetime.fromisoformat(given), timedelta(days=1), end=end)
        if _MINUTE.fullmatch(given):
            return _local_ns(datetime.fromisoformat(given), timedelta(minutes=1), end=end)
        return parse_timestamp(given)
    except (CodecError, ValueError, OverflowError, OSError) as error:
        raise click.BadParameter(f"'{text}' is no time; give {FORMS}") from error


def _local_ns(moment: datetime, length: timedelta, *, end: bool) -> int:
    """Return a time of the reader's own zone; with `end` the last nanosecond of what is so long."""
    seconds = int((moment + length if end else moment).astimezone().timestamp())
    return max(0, seconds * readable.NS_PER_S - (1 if end else 0))
