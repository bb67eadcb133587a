"""Where the time of sessions went: by path, by what was at work, in waits, and on the critical path. Pure.

A step's own time is that in which nothing beneath it was at work. Where several are at work at once they share the time
they have in common, so that own times add up to the time of the session; the total of a path is the time in which
anything of it was at work, counted once. Waits are no work: for a human, between two runs, before a retry.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from otel_agent_journal.event import WARNING
from otel_agent_journal.projections.cost import NO_CALLS, Cost
from otel_agent_journal.projections.steps import Attempt, StepTree

MODEL: Final = "model"
TOOL: Final = "tool"
RETRIEVAL: Final = "retrieval"
OWN: Final = "own_code"
RETRY: Final = "retry"
HUMAN: Final = "human"
IDLE: Final = "idle"
WORK: Final = (MODEL, TOOL, RETRIEVAL, OWN)
WAITS: Final = (RETRY, HUMAN, IDLE)
MAX_PATHS: Final = 10_000
OTHERS: Final = "(others)"
BACKOFF: Final = "backoff_s"  # of a WARNING: how long it is waited before the next try
_WORK_OF: Final[Mapping[str, str]] = {"MODEL": MODEL, "TOOL": TOOL, "RETRIEVAL": RETRIEVAL}
_NS_PER_S: Final = 1_000_000_000
_END_NS: Final = 2**63
_MOST_S: Final = 86_400.0  # of one backoff

Stretch = tuple[int, int]
"""From when to when, UTC nanoseconds."""


class Path(NamedTuple):
    """A place in the tree by the names on the way to it: that of its step, and the path above; None at the top."""

    above: int | None
    kind: str
    name: str
    depth: int


class Row:
    """What is known of a path. Times in nanoseconds; `critical_ns` of its own time on the critical path."""

    __slots__ = ("calls", "cost", "critical_ns", "own_ns", "tokens", "total_ns")

    def __init__(self) -> None:
        self.calls = 0
        self.total_ns = 0
        self.own_ns = 0.0
        self.critical_ns = 0
        self.tokens = 0
        self.cost = NO_CALLS


class Profile:
    """The profile of one session, or of many: each is added. Paths of the same names are one."""

    def __init__(self) -> None:
        self.sessions = 0
        self.paths: list[Path] = []
        self.rows: list[Row] = []
        self.work_ns: dict[str, float] = dict.fromkeys(WORK, 0.0)
        self.wait_ns: dict[str, float] = dict.fromkeys(WAITS, 0.0)
        self._known: dict[tuple[int | None, str, str], int] = {}

    @property
    def total_ns(self) -> float:
        """The time of the sessions without that in which nothing ran: work, and waits before retries."""
        return sum(self.work_ns.values()) + self.wait_ns[RETRY]

    def add(self, tree: StepTree, now_ns: int, costs: Mapping[str, Cost]) -> None:
        """Take in a session.

        Args:
            tree: its steps.
            now_ns: the end of what runs.
            costs: of attempts, by their keys.
        """
        self.sessions += 1
        attempts = tree.attempts
        if not attempts:
            return
        spans = spans_of(tree, now_ns)
        path_of = self._paths_of(tree)
        by_path: dict[int, list[Stretch]] = defaultdict(list)
        for one in attempts:
            row = self.rows[path_of[one.key]]
            row.calls += 1
            row.tokens += 0 if one.usage is None else one.usage.input_tokens + one.usage.output_tokens
            row.cost += costs.get(one.key, NO_CALLS)
            by_path[path_of[one.key]].append(spans[one.key])
        for path, stretches in by_path.items():
            self.rows[path].total_ns += length(union(stretches))
        self._add_own(tree, spans, path_of)
        for wait in waits_between(tree, spans):
            self.wait_ns[wait.kind] += wait.end_ns - wait.start_ns
        for key, own in critical_path(tree, spans):
            self.rows[path_of[key]].critical_ns += own[1] - own[0]

    def _paths_of(self, tree: StepTree) -> dict[str, int]:
        found: dict[str, int] = {}
        above: dict[str, int] = {}
        for one in tree.attempts:  # each behind the one that it ran in
            found[one.key] = path = self._path(above.get(one.key), one.kind.lower(), one.name)
            for child in tree.beneath(one):
                above[child.key] = path
        return found

    def _path(self, above: int | None, kind: str, name: str) -> int:
        key = (above, kind, name)
        if key not in self._known and len(self.paths) >= MAX_PATHS:
            key = (None, "", OTHERS)
        if key not in self._known:
            self._known[key] = len(self.paths)
            self.paths.append(Path(*key, 0 if key[0] is None else self.paths[key[0]].depth + 1))
            self.rows.append(Row())
        return self._known[key]

    def _add_own(self, tree: StepTree, spans: Mapping[str, Stretch], path_of: Mapping[str, int]) -> None:
        """Give each attempt its part of the time in which it was at work itself."""
        own: list[tuple[Stretch, Attempt, bool]] = []
        for one in tree.attempts:
            busy = [spans[child.key] for child in tree.beneath(one)]
            alone = without([spans[one.key]], busy)
            waited = _retries(tree, one, spans)
            own += [(stretch, one, False) for stretch in without(alone, waited)]
            own += [(stretch, one, True) for stretch in within(alone, waited)]
        share = Shares(stretch for stretch, _, _ in own)
        for stretch, one, waits in own:
            part_ns = share.of(stretch)
            if waits:
                self.wait_ns[RETRY] += part_ns
            else:
                self.work_ns[_WORK_OF.get(one.kind, OWN)] += part_ns
                self.rows[path_of[one.key]].own_ns += part_ns


class Wait(NamedTuple):
    """A time in which nothing of a session ran."""

    kind: str
    start_ns: int
    end_ns: int


def spans_of(tree: StepTree, now_ns: int) -> dict[str, Stretch]:
    """Return when each attempt was at work, by key: never longer than the attempt that it ran in.

    The one place that knows how long a step works: an attempt from its start to its end, one that runs until now.
    """
    found: dict[str, Stretch] = {}
    bounds: dict[str, Stretch] = {}
    for one in tree.attempts:  # each behind the one that it ran in
        end_ns = max(one.start_ns, now_ns if one.end_ns is None else one.end_ns)
        least, most = bounds.get(one.key, (one.start_ns, end_ns))
        found[one.key] = (min(max(one.start_ns, least), most), min(max(end_ns, least), most))
        for child in tree.beneath(one):
            bounds[child.key] = found[one.key]
    return found


def runs_of(tree: StepTree, spans: Mapping[str, Stretch]) -> list[Attempt]:
    """Return the attempts that ran in no other, in order of their start."""
    roots = [attempt for step in tree.roots for attempt in step.attempts]
    return sorted(roots, key=lambda one: (spans[one.key], one.key))


def waits_between(tree: StepTree, spans: Mapping[str, Stretch]) -> Iterator[Wait]:
    """Yield the times between the runs of a session: for a human where the run before asked for something."""
    last: Attempt | None = None
    until_ns = 0
    for one in runs_of(tree, spans):
        start_ns, end_ns = spans[one.key]
        if last is not None and start_ns > until_ns:
            asked = last.outcome == "interrupted" and last.reason is None
            yield Wait(HUMAN if asked else IDLE, until_ns, start_ns)
        if last is None or end_ns >= until_ns:
            last, until_ns = one, end_ns


def _retries(tree: StepTree, one: Attempt, spans: Mapping[str, Stretch]) -> list[Stretch]:
    """Return when an attempt waited before something was tried again: a step beneath it, or what it does itself."""
    tries: dict[str, list[Stretch]] = defaultdict(list)
    failed: set[Stretch] = set()
    for child in tree.beneath(one):
        tries[child.step_id].append(spans[child.key])
        if child.outcome == "error":
            failed.add(spans[child.key])
    pauses = [
        (before[1], after[0])
        for ones in tries.values()
        for before, after in pairwise(sorted(ones))
        if before in failed and after[0] > before[1]
    ]
    for note in one.notes:
        said = note.details.get(BACKOFF)
        if note.type == WARNING and isinstance(said, int | float) and 0 < said <= _MOST_S:
            pauses.append((note.timestamp_ns, note.timestamp_ns + int(said * _NS_PER_S)))
    return union(pauses)


def critical_path(tree: StepTree, spans: Mapping[str, Stretch]) -> list[tuple[str, Stretch]]:
    """Return what a session's time hung on, the last first: keys of attempts, and from when to when each was at work.

    Goes back from the end: whatever beneath a step ended last is what it waited for, and before that what had ended by
    the time that one began. Times in which nothing ran are left out.
    """
    found: list[tuple[str, Stretch]] = []
    pending: list[tuple[str | None, Iterator[Attempt], list[int]]] = [
        (None, _back(runs_of(tree, spans), spans), [_END_NS])
    ]
    while pending:
        key, beneath, at = pending[-1]
        child = next((one for one in beneath if spans[one.key][1] <= at[0]), None)
        if child is None:
            pending.pop()
            if key is not None and at[0] > spans[key][0]:
                found.append((key, (spans[key][0], at[0])))
            continue
        start_ns, end_ns = spans[child.key]
        if key is not None and at[0] > end_ns:
            found.append((key, (end_ns, at[0])))
        at[0] = start_ns
        pending.append((child.key, _back(tree.beneath(child), spans), [end_ns]))
    return found


def _back(attempts: Iterable[Attempt], spans: Mapping[str, Stretch]) -> Iterator[Attempt]:
    """Yield attempts from the one that ended last."""
    return iter(sorted(attempts, key=lambda one: (spans[one.key][1], spans[one.key][0], one.key), reverse=True))


# --- stretches of time --------------------------------------------------------------------------------------------


def union(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return stretches in order; of those that overlap or touch one."""
    found: list[Stretch] = []
    for start_ns, end_ns in sorted(one for one in stretches if one[1] > one[0]):
        if found and start_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_ns))
        else:
            found.append((start_ns, end_ns))
    return found


def length(stretches: Iterable[Stretch]) -> int:
    """Return how long stretches are together."""
    return sum(end_ns - start_ns for start_ns, end_ns in stretches)


def without(stretches: Iterable[Stretch], others: Iterable[Stretch]) -> list[Stretch]:
    """Return what of some stretches is in no other."""
    busy = union(others)
    found: list[Stretch] = []
    for start_ns, end_ns in union(stretches):
        at_ns = start_ns
        for place in range(bisect_right(busy, start_ns, key=lambda one: one[1]), len(busy)):
            begins, ends = busy[place]
            if begins >= end_ns:
                break
            found.append((at_ns, max(at_ns, begins)))
            at_ns = max(at_ns, ends)
        found.append((at_ns, max(at_ns, end_ns)))
    return union(found)


def within(stretches: Iterable[Stretch], others: Iterable[Stretch]) -> list[Stretch]:
    """Return what of some stretches is in others."""
    whole = union(stretches)
    return without(whole, without(whole, others))


class Shares:
    """Time that several share: of each moment every stretch that it is in has the same part."""

    def __init__(self, stretches: Iterable[Stretch]) -> None:
        turns: dict[int, int] = defaultdict(int)  # how many more are at work from a moment on
        for start_ns, end_ns in stretches:
            turns[start_ns] += 1
            turns[end_ns] -= 1
        self._passed: dict[int, float] = {}  # the sum of the parts up to a moment
        passed, at_work, before_ns = 0.0, 0, 0
        for time_ns in sorted(turns):
            if at_work:
                passed += (time_ns - before_ns) / at_work
            self._passed[time_ns] = passed
            at_work += turns[time_ns]
            before_ns = time_ns

    def of(self, stretch: Stretch) -> float:
        """Return the part that one of them has."""
        return self._passed[stretch[1]] - self._passed[stretch[0]]
