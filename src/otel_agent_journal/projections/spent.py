"""What a session's model calls used, summed up by what their price depends on: so that a listing prices heads. Pure.

A fold of its own within that of the head. A call is told in two events, and a call around another tells the same tokens
again; so the latest calls, up to `KEPT`, are kept one by one, and those before them are summed up for good. Up to so
many the sums are the same in any order of events. No price is known here: prices change, what was used does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from otel_agent_journal.event import Usage
from otel_agent_journal.projections.cost import (
    NO_CALLS,
    NOT_ASKED,
    NOTHING,
    Asked,
    Billed,
    Call,
    Cost,
    Price,
    Told,
    amount_of,
    asked_by,
    call_of,
)

KEPT: Final = 64
SETTLED_AT_ONCE: Final = KEPT // 2
MAX_SUMS: Final = 64  # that a head lists, of some 60 bytes; what more there is has no price
_CALLERS: Final = 500  # steps beneath which a call was summed up
_NO_TOKENS: Final = (0, 0, 0, 0, 0)

Tokens = tuple[int, int, int, int, int]


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """Calls that are billed alike: how many, and the fields of their `Usage` together."""

    billed: Billed
    calls: int
    tokens: Tokens

    @property
    def usage(self) -> Usage:
        """The tokens of all of them."""
        return Usage(**dict(zip(Usage.__struct_fields__, self.tokens, strict=True)))


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a head says of its session's calls.

    `reported`: of how many somebody said what they cost, `reported_usd` together. `untold`: of how many nobody said
    what they used, or they are too many to be told apart.
    """

    sums: tuple[Sum, ...] = ()
    reported: int = 0
    reported_usd: Decimal = NOTHING
    untold: int = 0

    def cost(self, price: Price) -> Cost:
        """Return what they cost."""
        total, unpriced = self.reported_usd, self.untold
        priced = self.reported
        for one in self.sums:
            rates = price(one.billed)
            amount = None if rates is None else amount_of(one.usage, rates, one.calls)
            if amount is None:
                unpriced += one.calls
            else:
                total, priced = total + amount, priced + one.calls
        return Cost(total, priced, unpriced) if priced or unpriced else NO_CALLS


NONE_SPENT: Final = Spent()


class Kept(NamedTuple):
    """A call that is still told from others. `step` and `span` are hashes of what those beneath it name as theirs."""

    at_ns: int
    event_id: str
    begun_ns: int
    step: int
    span: int
    parent: int
    told: Told


class Tally(msgspec.Struct):
    """Calls that are summed up."""

    sums: dict[Billed, tuple[int, Tokens]] = {}
    tokens: Tokens = _NO_TOKENS
    reported: int = 0
    reported_usd: Decimal = NOTHING
    untold: int = 0

    def add(self, call: Call) -> None:
        """Count a call."""
        used = _NO_TOKENS if call.usage is None else msgspec.structs.astuple(call.usage)
        self.tokens = _plus(self.tokens, used)
        if call.reported is not None:
            self.reported += 1
            self.reported_usd += call.reported
        elif call.usage is None:
            self.untold += 1
        else:
            self._add(call.billed, used)

    def _add(self, billed: Billed, used: Tokens) -> None:
        """Add to a sum; of too many the first in their order stay, so that it does not matter which came when."""
        calls, tokens = self.sums.get(billed, (0, _NO_TOKENS))
        self.sums[billed] = (calls + 1, _plus(tokens, used))
        if len(self.sums) > MAX_SUMS:
            self.untold += self.sums.pop(max(self.sums))[0]

    def copy(self) -> Tally:
        """Return one that may go on by itself."""
        return msgspec.structs.replace(self, sums=dict(self.sums))

    @property
    def is_told(self) -> bool:
        """Whether anything is known of any of the calls."""
        return bool(self.sums or self.reported or any(self.tokens))

    def spent(self) -> Spent:
        """Return them as a head has them."""
        sums = tuple(Sum(billed, *self.sums[billed]) for billed in sorted(self.sums))
        return Spent(sums, self.reported, self.reported_usd, self.untold)


class Spending(msgspec.Struct):
    """The fold. Keys and hashes are those of `status.py`, 0 of what is not there. `agents` are roots that tell usage.

    `callers`: the steps beneath which calls were summed up that told something, and when the latest of these began.
    """

    asked: dict[int, Asked] = {}
    calls: dict[int, Kept] = {}
    agents: dict[int, Kept] = {}
    callers: dict[int, int] = {}
    settled: Tally = msgspec.field(default_factory=Tally)
    settled_agents: Tally = msgspec.field(default_factory=Tally)

    def begin(self, key: int, details: Mapping[str, Any]) -> None:
        """Take in what the START of an attempt asks for."""
        asked = asked_by(details)
        if asked != NOT_ASKED:
            self.asked[key] = asked

    def end(self, key: int, kept: Kept, *, root_agent: bool) -> None:
        """Take in the ending of a call; of two that tell of one attempt the later one counts."""
        among = self.agents if root_agent else self.calls
        if key in among and among[key][:2] >= kept[:2]:
            return
        among[key] = kept
        if len(self.calls) > KEPT:
            self._settle_calls()
        if len(self.agents) > KEPT:
            first = next(iter(self.agents))
            self.settled_agents.add(self._call(first, self.agents.pop(first)))
            self.asked.pop(first, None)

    def forget(self, key: int) -> None:
        """Leave out an attempt whose ending tells of no call."""
        self.asked.pop(key, None)

    def total(self) -> Tally:
        """Return all together: the calls, or what agents said of theirs where no call says anything."""
        calls = self.settled.copy()
        beneath = _by_parent(self.calls.values())
        for key, one in self.calls.items():
            if self._is_paid(one, beneath):
                calls.add(self._call(key, one))
        if calls.is_told:
            return calls
        agents = self.settled_agents.copy()
        for key, one in self.agents.items():
            agents.add(self._call(key, one))
        return agents if agents.is_told else calls

    def _call(self, key: int, one: Kept) -> Call:
        return call_of(one.told, self.asked.get(key, NOT_ASKED))

    def _settle_calls(self) -> None:
        """Sum the oldest calls up for good."""
        beneath = _by_parent(self.calls.values())
        oldest = list(islice(self.calls.items(), SETTLED_AT_ONCE))
        paid = [(key, one) for key, one in oldest if self._is_paid(one, beneath)]
        for key, one in paid:
            self.settled.add(self._call(key, one))
        for key, one in oldest:
            if one.told.is_told and one.parent:
                self.callers.pop(one.parent, None)
                self.callers[one.parent] = one.begun_ns
            del self.calls[key]
            self.asked.pop(key, None)
        for name in list(islice(self.callers, max(0, len(self.callers) - _CALLERS))):
            del self.callers[name]

    def _is_paid(self, one: Kept, beneath: Mapping[int, list[Kept]]) -> bool:
        """Tell whether a call counts, and not one beneath it that tells the same, or one above that tells it alone."""
        below = _below(one, beneath)
        if any(child.told.is_told for child in below) or self._was_told_beneath(one):
            return False
        if one.told.is_told:
            return True
        return not below and not any(above.told.is_told and self._is_paid(above, beneath) for above in self._above(one))

    def _was_told_beneath(self, one: Kept) -> bool:
        """Tell whether a call beneath this one was summed up."""
        return any(one.begun_ns <= self.callers.get(name, -1) <= one.at_ns for name in (one.step, one.span))

    def _above(self, one: Kept) -> Iterator[Kept]:
        if one.parent:
            yield from (above for above in self.calls.values() if one.parent in (above.step, above.span))


def _by_parent(calls: Iterable[Kept]) -> dict[int, list[Kept]]:
    beneath: dict[int, list[Kept]] = defaultdict(list)
    for one in calls:
        if one.parent:
            beneath[one.parent].append(one)
    return beneath


def _below(one: Kept, beneath: Mapping[int, list[Kept]]) -> list[Kept]:
    return [child for name in (one.step, one.span) for child in beneath.get(name, ()) if _within(child, one)]


def _within(child: Kept, one: Kept) -> bool:
    """Tell whether a call began while another was under way, which may be but one attempt at its step."""
    return child is not one and one.begun_ns <= child.begun_ns <= one.at_ns


def _plus(left: Tokens, right: Tokens) -> Tokens:
    return (
        left[0] + right[0],
        left[1] + right[1],
        left[2] + right[2],
        left[3] + right[3],
        left[4] + right[4],
    )
