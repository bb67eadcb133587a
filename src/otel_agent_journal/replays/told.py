"""A report in words, for people who read it in a terminal or in a test that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from otel_agent_journal.codec import encode_value
from otel_agent_journal.replays.report import Divergence, Report

_MAX_SAID: Final = 200  # characters of a value that differs
_MAX_SHOWN: Final = 20


def lines_of(report: Report) -> Iterator[str]:
    """Yield what went another way, a step or two a line each."""
    for one in report.divergences[:_MAX_SHOWN]:
        where = f"step {one.number}" if one.number is not None else f"step {one.replay_number} of the replay"
        yield f"  {one.verdict} {where}: {one.kind.lower()} {one.name} {', '.join(one.differs)}".rstrip()
        yield from _difference(one)
    left = len(report.divergences) - _MAX_SHOWN
    if left > 0:
        yield f"  and {left} more"
    if report.cause is not None:
        yield f"  caused by {report.cause}"


def _difference(one: Divergence) -> Iterator[str]:
    if one.differs:
        yield f"    {one.differs[0]}{one.at or ''}"
        yield f"    - {_said(one.recorded)}"
        yield f"    + {_said(one.replayed)}"
    elif one.why:
        yield f"    {one.why}"


def _said(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else encode_value(value).decode("utf-8", "replace")
    return text if len(text) <= _MAX_SAID else f"{text[:_MAX_SAID]}…"
