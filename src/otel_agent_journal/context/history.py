"""What is in an agent's context after each of its events: a fold that keeps ranges of numbers, never content. Pure.

The events of an instance are numbered from 0. What was appended is in view; CONTEXT_REWOUND brings back the view of an
earlier number, CONTEXT_REPLACED names the ranges that are in view from then on, messages in front of it among them that
were `staged` for it. Both write down ranges, so that a state costs what was changed, and any earlier one can be had.
The instance of a fork begins with the events of its base: their numbers come first, and its own follow.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.event import CONTEXT_REWOUND as REWOUND
from otel_agent_journal.event import JournalEvent

SYSTEM: Final = "SYSTEM_MESSAGE"
USER: Final = "USER_MESSAGE"
ASSISTANT: Final = "ASSISTANT_MESSAGE"
TOOL_CALL: Final = "TOOL_CALL"
TOOL_RESULT: Final = "TOOL_RESULT"
STATE: Final = "STATE_CHANGED"
REPLACED: Final = "CONTEXT_REPLACED"
REDACTED: Final = "MESSAGE_REDACTED"
OWN_STATE: Final = "$agent."  # how keys of a state begin that the agent's framework keeps, beside the agent's own
MESSAGES: Final = frozenset((SYSTEM, USER, ASSISTANT, TOOL_CALL, TOOL_RESULT))

Ranges = tuple[tuple[int, int], ...]  # of numbers, in their order; the first of each included, the last not


class TooEarly(Exception):
    """A history that was gone on with from a snapshot does not know what was before it."""


class Snapshot(NamedTuple):
    """A history after so many events: what is in view, which state changes count, which messages are redacted."""

    next_number: int
    view: Ranges
    changes: tuple[int, ...]
    redactions: Mapping[int, int]


class History:
    """The fold of an instance's events. Mutable: `apply` moves it. Total over all types, known or not.

    Args:
        snapshot: what an earlier one amounted to; nothing before it can be asked for then.
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        first = snapshot or Snapshot(0, (), (), {})
        self.next_number = self._since = first.next_number
        self.redactions = dict(first.redactions)  # of a message's number, the number of the event that redacted it
        # Views that are no growth of the last; None is for one that grows on behind a number which is not in view.
        self._cuts: list[tuple[int, Ranges | None]] = [(first.next_number, first.view)]
        self._changed: list[tuple[int, tuple[int, ...]]] = [(first.next_number, first.changes)]

    def apply(self, event: JournalEvent) -> None:
        """Move by the next event."""
        number, details = self.next_number, event.details
        if event.type in MESSAGES and details.get("staged") is not True:
            self.next_number = number + 1
            return
        view: Ranges | None = None
        if event.type == REWOUND and _is_number(details.get("to"), number):
            view = self.view(details["to"])
            self._changed.append((number + 1, self.changes(details["to"])))
        elif event.type == REPLACED:
            view = tuple(_ranges_in(details.get("view"), number))
        elif event.type == STATE:
            known = () if details.get("replaces") is True else self.changes(number)
            self._changed.append((number + 1, (*known, number)))
        elif event.type == REDACTED and _is_number(details.get("number"), number):
            self.redactions[details["number"]] = number
        self.next_number = number + 1
        self._cuts.append((self.next_number, view))

    def view(self, at: int | None = None) -> Ranges:
        """Return the numbers that are in view after so many events, by default after all.

        Raises:
            TooEarly: that was before the snapshot.
        """
        number = self.next_number if at is None else at
        if number < self._since:
            raise TooEarly
        last = bisect_right(self._cuts, number, key=lambda one: one[0]) - 1
        whole = last
        while (known := self._cuts[whole][1]) is None:
            whole -= 1
        ranges = list(known)
        for (since, _), (until, _) in pairwise((*self._cuts[whole : last + 1], (number + 1, None))):
            _grow(ranges, since, until - 1)
        return tuple(ranges)

    def changes(self, at: int | None = None) -> tuple[int, ...]:
        """Return the numbers of the state changes that count after so many events, in their order.

        Raises:
            TooEarly: that was before the snapshot.
        """
        number = self.next_number if at is None else at
        if number < self._since:
            raise TooEarly
        return self._changed[bisect_right(self._changed, number, key=lambda one: one[0]) - 1][1]

    def snapshot(self) -> Snapshot:
        """Return what is needed to go on from here."""
        return Snapshot(self.next_number, self.view(), self.changes(), dict(self.redactions))


def numbers_in(ranges: Ranges) -> Iterator[int]:
    """Yield the numbers of ranges."""
    for first, last in ranges:
        yield from range(first, last)


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """Return numbers as ranges, in their order."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return tuple(found)


def state_after(changes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the state that the details of STATE_CHANGED events amount to, in their order."""
    state: dict[str, Any] = {}
    for change in changes:
        if change.get("replaces") is True:
            state = {}
        state |= cast("Mapping[str, Any]", change.get("set") or {})
        for key in cast("Iterable[str]", change.get("removed") or ()):
            state.pop(key, None)
    return state


def _grow(ranges: list[tuple[int, int]], since: int, number: int) -> None:
    """Put the numbers from one to another, the last not included, behind ranges."""
    if since >= number:
        return
    if ranges and ranges[-1][1] == since:
        ranges[-1] = (ranges[-1][0], number)
    else:
        ranges.append((since, number))


def _ranges_in(value: Any, below: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a CONTEXT_REPLACED that lie before it."""
    for one in cast("list[Any]", value) if isinstance(value, list | tuple) else ():
        pair = cast("list[Any]", one) if isinstance(one, list | tuple) else []
        if len(pair) == 2 and _is_number(pair[0], below) and _is_number(pair[1], below) and pair[0] < pair[1]:
            yield pair[0], pair[1]


def _is_number(value: Any, at_most: int) -> bool:
    return type(value) is int and 0 <= value <= at_most
