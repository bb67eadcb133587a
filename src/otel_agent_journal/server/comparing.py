"""Two sessions compared for the viewer: both trees on one column, and what one pair of steps differs in.

A comparison reads both sessions whole. It is kept while neither changes, for who steps through it.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from otel_agent_journal.projections.times import worked_ns
from otel_agent_journal.reading import sides
from otel_agent_journal.reading.differing import Difference, first_of, holding
from otel_agent_journal.reading.naming import NoSuchStep
from otel_agent_journal.server.wire_compare import (
    Comparison,
    FieldDifference,
    Side,
    SideStep,
    StepDifference,
    StepPair,
)

if TYPE_CHECKING:
    from otel_agent_journal.projections.steps import Step
    from otel_agent_journal.reading.journal import Journal

MOST_PAIRS: Final = 20_000
_KEPT: Final = 4
_LONGEST: Final = 4_000  # characters of a text that differs
_WIDEST: Final = 50  # values of a list or an object that differs
_DEEPEST: Final = 8
_NS_PER_MS: Final = 1_000_000

_Key = tuple[str, str, object, object]


class _Kept(NamedTuple):
    compared: sides.Compared
    pairs: Mapping[tuple[str | None, str | None], Difference]
    answer: Comparison


class Comparisons:
    """Compares sessions of a journal. Safe in any number of threads: one comparison is made at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    def compare(self, journal: Journal, a: str, b: str) -> Comparison:
        """Return two sessions on one column; each may be named with a step, as `SESSION@12`.

        Raises:
            SessionNotFound: one is not there.
            StoreUnreachable: and other errors of the store.
        """
        with self._lock:
            return self._of(journal, a, b).answer

    def step(self, journal: Journal, a: str, b: str, left: str | None, right: str | None) -> StepDifference:
        """Return what a pair of steps, named by the ids on both sides, differs in.

        Raises:
            NoSuchStep: there is no such pair.
        """
        with self._lock:
            kept = self._of(journal, a, b)
            pair = kept.pairs.get((left, right))
            if pair is None:
                raise NoSuchStep(left or right or "", f"{a} and {b} have no such pair of steps", a)
            ours, theirs = kept.compared.left, kept.compared.right
            if pair.pair.left is None or pair.pair.right is None:
                return StepDifference(fields=())
            ours.fetch({pair.pair.left.step_id})
            theirs.fetch({pair.pair.right.step_id})
            found = sides.contents(ours, theirs, pair, prompt=True)
            return StepDifference(
                fields=tuple(
                    FieldDifference(name=name, at=at, a=_bounded(left), b=_bounded(right))
                    for name, at, left, right in found
                )
            )

    def _of(self, journal: Journal, a: str, b: str) -> _Kept:
        key = a, b, _state(journal, a), _state(journal, b)
        kept = self._kept.pop(key, None)
        if kept is None:
            compared = sides.compared(sides.Side(journal, a), sides.Side(journal, b))
            pairs = {(_id(one.pair.left), _id(one.pair.right)): one for one in compared.found}
            kept = _Kept(compared, pairs, _answer(journal, compared))
        self._kept[key] = kept
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return kept


def _state(journal: Journal, text: str) -> object:
    head, step = journal.session_and_step(text)
    return head.session_id, head.events, head.updated_ns, journal.silent(head), step


def _id(step: Step | None) -> str | None:
    return None if step is None else step.step_id


def _answer(journal: Journal, compared: sides.Compared) -> Comparison:
    found = compared.found
    first, came_of = first_of(found), holding(found)
    shown = found[:MOST_PAIRS]
    return Comparison(
        a=_side(journal, compared.left),
        b=_side(journal, compared.right),
        shared=None if compared.since is None else compared.since - 1,
        totals=dict(Counter(one.state for one in found)),
        first=next((place for place, one in enumerate(shown) if one is first), None),
        pairs=tuple(_pair(one, within=id(one) in came_of) for one in shown),
        more=len(found) - len(shown),
    )


def _side(journal: Journal, side: sides.Side) -> Side:
    spent, head = side.spent, journal.judged(side.head)
    return Side(
        session_id=side.name,
        status=head.status,
        agent=head.agent,
        steps=len(side.tree.steps),
        worked_ms=spent["duration_ms"],
        input_tokens=spent["input_tokens"],
        output_tokens=spent["output_tokens"],
    )


def _pair(one: Difference, *, within: bool) -> StepPair:
    step = cast("Step", one.pair.left or one.pair.right)
    return StepPair(
        state=one.state,
        differs=one.what,
        depth=step.depth,
        within=within,
        a=_step(one.pair.left),
        b=_step(one.pair.right),
    )


def _step(step: Step | None) -> SideStep | None:
    if step is None:
        return None
    usage, worked, error = step.last.usage, worked_ns(step), step.last.error
    return SideStep(
        step_id=step.step_id,
        number=step.number,
        kind=step.kind,
        name=step.name,
        status=step.status,
        attempts=len(step.attempts),
        worked_ms=None if worked is None else worked / _NS_PER_MS,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        error=None if error is None else f"{error.type}: {error.message[:_LONGEST]}",
    )


def _bounded(value: Any, depth: int = 0) -> Any:
    """Return a value of which long texts and lists are cut, with a mark where."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}… ({len(value):,} characters)"
    if isinstance(value, Mapping):
        named = cast("Mapping[str, Any]", value)
        if depth >= _DEEPEST:
            return {"…": f"{len(named):,} values"} if named else {}
        shown = {name: _bounded(one, depth + 1) for name, one in islice(named.items(), _WIDEST)}
        return shown if len(named) <= _WIDEST else {**shown, "…": f"{len(named) - _WIDEST:,} more"}
    if isinstance(value, list | tuple):
        listed = cast("list[Any]", value)
        if depth >= _DEEPEST:
            return [f"… {len(listed):,} values"] if listed else []
        shown = [_bounded(one, depth + 1) for one in listed[:_WIDEST]]
        return shown if len(listed) <= _WIDEST else [*shown, f"… {len(listed) - _WIDEST:,} more"]
    return value
