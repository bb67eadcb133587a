"""A time as people give it: how long ago, a date, a date and a time, or RFC 3339."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import Final

FORMS: Final = "30m, 2h, 7d, today, 2026-11-30, '2026-11-30 14:00', or RFC 3339"
NS_PER_S: Final = 1_000_000_000
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d", re.ASCII)
_DAYS_AGO: Final = {"today": 0, "yesterday": 1}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)", re.ASCII)
_UNIT_NS: Final = {
    "ms": NS_PER_S // 1000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
    "w": 7 * 86_400 * NS_PER_S,
}


def span_of(text: str) -> int | None:
    """Return the nanoseconds of a span of time such as 30s, 15m, 2h, 7d, 1w, or None where it is not one."""
    match = _SPAN.fullmatch(text.strip())
    return None if match is None else int(float(match[1]) * _UNIT_NS[match[2]])


def moment_of(text: str, *, end: bool = False) -> int:
    """Return the nanoseconds of a time: of a date its first moment, with `end` its last.

    Raises:
        ValueError: it is no time; says which forms there are.
    """
    from otel_agent_journal.codec import parse_timestamp
    from otel_agent_journal.errors import CodecError

    given = text.strip()
    try:
        span_ns = span_of(given)
        if span_ns is not None:
            return max(0, time.time_ns() - span_ns)
        if given.lower() in _DAYS_AGO:
            day = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
            return _local_ns(day - timedelta(days=_DAYS_AGO[given.lower()]), timedelta(days=1), end=end)
        if _DATE.fullmatch(given):
            return _local_ns(datetime.fromisoformat(given), timedelta(days=1), end=end)
        if _MINUTE.fullmatch(given):
            return _local_ns(datetime.fromisoformat(given), timedelta(minutes=1), end=end)
        return parse_timestamp(given)
    except (CodecError, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"'{text}' is no time; give {FORMS}") from error


def _local_ns(moment: datetime, length: timedelta, *, end: bool) -> int:
    """Return a time of the reader's own zone; with `end` the last nanosecond of what is so long."""
    seconds = int((moment + length if end else moment).astimezone().timestamp())
    return max(0, seconds * NS_PER_S - (1 if end else 0))
