"""Calls, failures, times, tokens and cost by agent, tool, model, user or day: a fold over step trees. Pure.

Memory is bounded by how many groups there are, and these by `MAX_GROUPS`. A call is an attempt: of a tool, of a model,
of an agent; by user and day an invocation. Tokens and cost are those of the model calls within it: each counts once,
for the group nearest around it. But for tools, in which few models are called, the rows add up to the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from otel_agent_journal.event import Usage
from otel_agent_journal.projections.cost import NO_CALLS, Call, Cost, Price, cost_of
from otel_agent_journal.projections.paid import paid
from otel_agent_journal.projections.quantiles import Quantiles
from otel_agent_journal.projections.steps import Attempt, StepTree

BY: Final = ("agent", "tool", "model", "user", "day")
MAX_GROUPS: Final = 10_000
MAX_CAUSES: Final = 100  # that are told apart in a group
OTHERS: Final = "(others)"
_NS_PER_S: Final = 1_000_000_000
_KINDS: Final[Mapping[str, str]] = {"agent": "AGENT", "tool": "TOOL", "model": "MODEL"}


class Measured(NamedTuple):
    """What one attempt adds to its group: a call that took so long, or what a model call beneath it used.

    `cause`: of a call that failed; `took_ns`: None while it runs, and of one that was cut off; `start_ns`: when it
    began.
    """

    group: str | None
    calls: int = 0
    took_ns: int | None = None
    cause: str | None = None
    usage: Usage | None = None
    cost: Cost = NO_CALLS
    start_ns: int = 0


class Group:
    """What is known of one group."""

    __slots__ = ("calls", "causes", "cost", "failures", "input_tokens", "output_tokens", "took")

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.causes: Counter[str] = Counter()
        self.took = Quantiles()
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = NO_CALLS

    def add(self, one: Measured) -> None:
        """Take in what was measured."""
        self.calls += one.calls
        if one.took_ns is not None:
            self.took.add(one.took_ns)
        if one.cause is not None:
            self.failures += 1
            self.causes[one.cause if one.cause in self.causes or len(self.causes) < MAX_CAUSES else OTHERS] += 1
        if one.usage is not None:
            self.input_tokens += one.usage.input_tokens
            self.output_tokens += one.usage.output_tokens
        self.cost += one.cost


class Stats:
    """Groups by name; None is of what belongs to none, as a call that no agent is around."""

    def __init__(self) -> None:
        self.groups: dict[str | None, Group] = {}

    def add(self, one: Measured) -> None:
        """Take in what was measured; of more groups than `MAX_GROUPS` the later ones are one."""
        name = one.group if one.group in self.groups or len(self.groups) < MAX_GROUPS else OTHERS
        self.groups.setdefault(name, Group()).add(one)


def measured(
    tree: StepTree,
    by: str,
    price: Price,
    *,
    user: str | None = None,
    wanted: Callable[[int], bool] = lambda start_ns: True,
) -> Iterator[Measured]:
    """Yield what a session adds.

    Args:
        by: one of `BY`.
        price: what calls are billed at.
        user: whose the session is.
        wanted: tells by when an attempt began whether it counts.
    """
    calls = paid(tree)
    groups = _groups(tree, by, user)
    kind = _KINDS.get(by)
    roots = frozenset(attempt.key for step in tree.roots for attempt in step.attempts)
    for one in tree.attempts:
        if not wanted(one.start_ns):
            continue
        if one.kind == kind if kind else one.key in roots:
            cause = cause_of(tree, one, whose=kind not in ("TOOL", "MODEL"))
            yield Measured(groups[one.key], 1, _took(one), cause, start_ns=one.start_ns)
        call = calls.get(one.key)
        if call is not None and (by != "tool" or groups[one.key] is not None):
            group = _of_call(groups[one.key], by, call)
            yield Measured(group, usage=call.usage, cost=cost_of(call, price), start_ns=one.start_ns)


def _groups(tree: StepTree, by: str, user: str | None) -> Mapping[str, str | None]:
    """Return the group of each attempt: the nearest around it of the kind that is asked for, itself before others."""
    kind = _KINDS.get(by)
    groups: dict[str, str | None] = {}
    for one in tree.attempts:  # each behind the one that it ran in
        if kind is None:
            groups[one.key] = user if by == "user" else _day(one.start_ns)
        elif one.kind == kind:
            groups[one.key] = one.name
        around = groups.setdefault(one.key, None)
        for child in tree.beneath(one):
            groups[child.key] = around
    return groups


def _of_call(group: str | None, by: str, call: Call) -> str | None:
    """Return the group of a call; of one that is told by no step of a model's, the model that it names."""
    return call.billed.asked or call.billed.answered or None if by == "model" and group is None else group


def _took(one: Attempt) -> int | None:
    return None if one.outcome is None or one.reason is not None else one.duration_ns


def cause_of(tree: StepTree, failed: Attempt, *, whose: bool = False) -> str | None:
    """Return what made an attempt fail, where that began; None where it did not fail.

    Args:
        tree: the attempt's.
        failed: the attempt.
        whose: say which step it began in.
    """
    if failed.outcome != "error":
        return None
    at = failed
    while not at.began_error:
        below = [child for child in tree.beneath(at) if child.outcome == "error"]
        if not below:
            break
        at = max(below, key=lambda child: (child.end_ns or 0, child.key))
    error = "error" if at.error is None else at.error.code or at.error.type
    return f"{at.kind.lower()} {at.name}: {error}" if whose else error


def _day(ns: int) -> str:
    return datetime.fromtimestamp(ns // _NS_PER_S, tz=UTC).strftime("%Y-%m-%d")


def within(since_ns: int | None, until_ns: int | None) -> Callable[[int], bool]:
    """Return what tells whether a time lies between two, both among them; None is no bound."""

    def wanted(time_ns: int) -> bool:
        return (since_ns is None or time_ns >= since_ns) and (until_ns is None or time_ns <= until_ns)

    return wanted


def ordered(stats: Stats, by: str) -> Collection[tuple[str | None, Group]]:
    """Return the groups in the order to show them: days as they came, others the most called first."""
    if by == "day":
        return sorted(stats.groups.items(), key=lambda item: item[0] or "")
    return sorted(stats.groups.items(), key=lambda item: (-item[1].calls, item[0] is None, item[0] or ""))
