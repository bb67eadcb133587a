"""The catch-up cursor: a moment of the server, or a place on the way from one moment to the next. Pure.

A moment is PostgreSQL's snapshot, `xmin:xmax:xip,…`: which transactions had ended, and which were open. What came since
are the rows of transactions that began later, and of those that were open then (docs/adr/0015). While a reader pages
from one moment to the next, the cursor has both and the place of the last event had: `from/until/transaction.arrival`.
The cursor of one session is a place in it, `incarnation.number` (docs/adr/0026).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

_MOMENT: Final = r"([1-9]\d{0,18}):([1-9]\d{0,18}):((?:\d{1,19}(?:,\d{1,19})*)?)"
_CURSOR: Final = re.compile(rf"{_MOMENT}(?:/({_MOMENT})/(\d{{1,19}})\.(\d{{1,19}}))?", re.ASCII)
_PLACE: Final = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)
BEGINNING: Final = "1:1:"


class Place(NamedTuple):
    """Where in a session a reader is: behind an event, by its number, of the session as it began some time."""

    incarnation: int = 0
    number: int = 0

    def __str__(self) -> str:
        """Return the cursor."""
        return f"{self.incarnation}.{self.number}"


def place_of(text: str | None) -> Place | None:
    """Return the place that a text says, None where it says none; without a text that of the beginning."""
    match = _PLACE.fullmatch(str(Place()) if text is None else text)
    return None if match is None else Place(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Cursor:
    """Where a reader is. `xmax` and `open` are of the moment it started from; `until` is set while it pages."""

    start: str
    xmax: int
    open: tuple[str, ...]
    until: str | None = None
    transaction: str = "0"
    arrival: int = 0

    def on_the_way(self, until: str, transaction: str, arrival: int) -> str:
        """Return the cursor after an event, on the way to a moment."""
        return f"{self.start}/{until}/{transaction}.{arrival}"


def cursor_of(text: str | None) -> Cursor | None:
    """Return the cursor of a text, None where it is none; without a text that of the beginning."""
    match = _CURSOR.fullmatch(BEGINNING if text is None else text)
    if match is None:
        return None
    xmin, xmax, still_open, until, until_xmin, until_xmax, _, transaction, arrival = match.groups()
    if int(xmin) > int(xmax) or (until is not None and int(until_xmin) > int(until_xmax)):
        return None
    return Cursor(
        start=f"{xmin}:{xmax}:{still_open}",
        xmax=int(xmax),
        open=tuple(still_open.split(",")) if still_open else (),
        until=until,
        transaction=transaction or "0",
        arrival=int(arrival or 0),
    )


def durable(moment: str, newest: str | None, floor: int = 1) -> str:
    """Return a moment that a crash of the server leaves right: it ends behind the newest event's transaction.

    Later transactions may not be on the server's disk yet: after a crash it gives their ids out again.

    Args:
        moment: whose `xmax` is `floor` at least.
        newest: the transaction of the newest event seen at the moment, None where there was none.
        floor: `xmax` of the moment before, which is not gone back behind where the newest events were deleted.
    """
    xmin, xmax, still_open = moment.split(":")
    end = max(floor, min(int(xmax), int(newest or 0) + 1))
    open_before = ",".join(one for one in still_open.split(",") if one and int(one) < end)
    return f"{min(int(xmin), end)}:{end}:{open_before}"


def xmax_of(moment: str) -> int:
    """Return the first transaction that had not begun at a moment."""
    return int(moment.split(":")[1])
