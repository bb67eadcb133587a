"""Which recorded attempt a step is that begins now: by where it runs, and then by what it takes.

Steps are looked for among what ran in the attempt that their parent is. A node is known by its name, its place in the
graph and how many steps after the first it comes; a tool call by its id; a step that was begun before by being tried
again; any other by kind, name and order, and of several at a time by what they take. A model is the same whatever it is
called. So parallel calls are never served each other's results, however they are timed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice
from typing import Any, Final

from otel_agent_journal.plain import plain
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.reading.differing import canonical, without_ids
from otel_agent_journal.replays.ignoring import Ignoring
from otel_agent_journal.replays.recording import (
    Place,
    Recording,
    asked_of,
    call_id_of,
    comparable,
    place_of,
    request_of,
)
from otel_agent_journal.replays.words import PARAMETERS, REMOTE, SERVED_KINDS

SAME: Final = "SAME"
DRIFT: Final = "DRIFT"
CHANGED_ARGS: Final = "CHANGED_ARGS"
NEW: Final = "NEW"
AMBIGUOUS: Final = "AMBIGUOUS"
UNREPLAYABLE: Final = "UNREPLAYABLE"
_LOOKED_AT: Final = 32  # of calls that may be meant: so many at a time, at most, are told apart


class Claim:
    """What of the recording a step is that runs now. `attempt` is None where the recording does not have it."""

    __slots__ = (
        "attempt",
        "differs",
        "first_step",
        "is_live",
        "is_remote",
        "is_served",
        "is_told",
        "name",
        "verdict",
        "why",
    )

    def __init__(
        self, name: str, attempt: Attempt | None, verdict: str, *, differs: Sequence[str] = (), why: str = ""
    ) -> None:
        self.name = name
        self.attempt = attempt
        self.verdict = verdict
        self.differs = tuple(differs)
        self.why = why
        self.is_live = False
        self.is_served = False
        self.is_remote = False  # it is a call whose answer tells what is below it
        self.is_told = False  # by the answer of such a call, around it
        self.first_step: int | None = None  # LangGraph's number of the first step below it


class _Beneath:
    """What ran in one attempt, and is not claimed yet."""

    def __init__(self, recording: Recording, claimed: set[str], attempts: Sequence[Attempt], first_step: int) -> None:
        self._recording = recording
        self._claimed = claimed
        self._by_place: dict[Any, deque[Attempt]] = defaultdict(deque)
        self._by_path: dict[Any, deque[Attempt]] = defaultdict(deque)
        self._by_call: dict[Any, deque[Attempt]] = defaultdict(deque)
        self._by_step: dict[str, deque[Attempt]] = defaultdict(deque)
        self._by_name: dict[Any, deque[Attempt]] = defaultdict(deque)
        self._by_given: dict[Any, dict[Any, deque[Attempt]]] = {}
        for one in attempts:
            self._by_step[one.step_id].append(one)
            place, call_id = recording.place(one), call_id_of(one.details_start)
            if one.kind == "NODE" and place is not None:
                step = None if place.step is None else place.step - first_step
                self._by_place[one.name, step, place.path].append(one)
                self._by_path[one.name, place.path].append(one)
            elif one.kind == "TOOL" and call_id is not None:
                self._by_call[one.name, call_id].append(one)
            else:
                self._by_name[_called(one.kind, one.name)].append(one)

    def again(self, step_id: str) -> Attempt | None:
        """Return the next attempt at a step that was claimed before."""
        return self._next(self._by_step.get(step_id))

    def placed(self, name: str, place: Place, first_step: int) -> Attempt | None:
        """Return the node at a place; where there is none, the next of its name on the same path."""
        step = None if place.step is None else place.step - first_step
        exact = self._next(self._by_place.get((name, step, place.path)))
        return exact or self._next(self._by_path.get((name, place.path)))

    def called(self, name: str, call_id: str) -> Attempt | None:
        """Return the tool call of an id."""
        return self._next(self._by_call.get((name, call_id)))

    def named(self, kind: str, name: str) -> Iterator[Attempt]:
        """Yield what is left of a kind and name, in order."""
        pool = self._by_name.get(_called(kind, name))
        if pool is not None:
            self._next(pool)  # what is claimed at its head goes
            yield from (one for one in pool if one.key not in self._claimed)

    def taking(self, kind: str, name: str, given: Any) -> list[Attempt]:
        """Return of what is left of a kind and name those that took the same."""
        called = _called(kind, name)
        known = self._by_given.get(called)
        if known is None:
            known = self._by_given[called] = defaultdict(deque)
            for one in self._by_name.get(called, ()):
                known[_taken(self._recording, one)].append(one)
        alike = known.get(given)
        if alike is None or self._next(alike) is None:
            return []
        return list(islice((one for one in alike if one.key not in self._claimed), _LOOKED_AT))

    def left(self) -> Iterator[Attempt]:
        """Yield what was not claimed."""
        yield from (one for ones in self._by_step.values() for one in ones if one.key not in self._claimed)

    def _next(self, pool: deque[Attempt] | None) -> Attempt | None:
        while pool and pool[0].key in self._claimed:
            pool.popleft()
        return pool[0] if pool else None


class Matcher:
    """Finds for each step that begins what of a recording it is. One thread at a time.

    Args:
        recording: the session.
        names: what the session is called in what its program says: its name then, and its name now.
        ignoring: what of what a tool is given is no difference.
    """

    def __init__(self, recording: Recording, names: Iterable[str] = (), ignoring: Ignoring | None = None) -> None:
        self._recording = recording
        self._ignoring = ignoring or Ignoring()
        self._names = {recording.session_id, *names}
        self._claimed: set[str] = set()
        self._beneath: dict[str, _Beneath] = {}
        self._steps: dict[tuple[str, str], str] = {}  # by parent and id, the recorded step that one is

    def also_called(self, name: str) -> None:
        """Take another name for one of the session."""
        self._names.add(name)

    def claim(
        self,
        kind: str,
        name: str,
        step_id: str,
        parent: Claim | None,
        details: Mapping[str, Any],
        *,
        anywhere: bool,
        in_order: bool = False,
    ) -> Claim:
        """Return what a step is; it is nothing else's from here on.

        Args:
            kind: of the step.
            name: of the step.
            step_id: of the step, the same for each attempt at it.
            parent: what the step around it is; None for one at the top.
            details: of its START, as the program has them.
            anywhere: a tool call is looked for in the whole session, by what it takes: models that are called live ask
                with ids of their own.
            in_order: steps come in the order in which they were recorded, also those that ran at the same time.
        """
        if parent is not None and parent.attempt is None:
            found = self._elsewhere(name, self._given(kind, details)) if anywhere and kind == "TOOL" else None
            if found is not None:
                return self._made(found, kind, name, step_id, f":{step_id}", details)
            return Claim(name, None, NEW, why="what it runs in is not in the recording")
        above = "" if parent is None or parent.attempt is None else parent.attempt.key
        left = self._left(parent)
        known = self._steps.get((above, step_id))
        if known is not None:
            found = left.again(known)
            if found is None:
                return Claim(name, None, NEW, why="it was not tried again")
            return self._made(found, kind, name, step_id, above, details)
        found, why = self._found(left, kind, name, parent, details, in_order=in_order)
        if found is None and kind == "TOOL" and anywhere:
            found = self._elsewhere(name, self._given(kind, details))
        if found is None:
            return Claim(name, None, AMBIGUOUS if why else NEW, why=why or "the recording does not have it")
        return self._made(found, kind, name, step_id, above, details)

    def left_of_tool(self, name: str, since: int) -> list[Attempt]:
        """Return the calls of a tool from a step on that no step of the replay is."""
        calls = (one for one in self._recording.calls_of(name) if self._recording.number(one) >= since)
        return [one for one in calls if one.key not in self._claimed]

    def within(self, claim: Claim) -> None:
        """Take all that ran in an attempt for claimed: it is served as a whole."""
        pending = [] if claim.attempt is None else [claim.attempt]
        while pending:
            attempt = pending.pop()
            left = self._left_of(attempt.key, self._recording.beneath(attempt), 0)
            below = list(left.left())
            self._claimed.update(one.key for one in below)
            pending += below

    def _left(self, parent: Claim | None) -> _Beneath:
        if parent is None or parent.attempt is None:
            return self._left_of("", self._recording.roots, 0)
        first = self._recording.first_step(parent.attempt)
        return self._left_of(parent.attempt.key, self._recording.beneath(parent.attempt), first)

    def _left_of(self, key: str, attempts: Sequence[Attempt], first_step: int) -> _Beneath:
        known = self._beneath.get(key)
        if known is None:
            known = self._beneath[key] = _Beneath(self._recording, self._claimed, attempts, first_step)
        return known

    def _found(
        self,
        left: _Beneath,
        kind: str,
        name: str,
        parent: Claim | None,
        details: Mapping[str, Any],
        *,
        in_order: bool,
    ) -> tuple[Attempt | None, str]:
        place, call_id = place_of(details), call_id_of(details)
        if kind == "NODE" and place is not None and parent is not None:
            if parent.first_step is None:
                parent.first_step = place.step or 0
            return left.placed(name, place, parent.first_step), ""
        if kind == "TOOL" and call_id is not None:
            return left.called(name, call_id), ""
        alike = left.taking(kind, name, self._given(kind, details))
        others = alike or list(islice(left.named(kind, name), _LOOKED_AT))
        if not others:
            return None, ""
        if not in_order and len(others) > 1 and self._may_be_any(others if alike else _beside(others)):
            return None, f"{len(others)} that ran at the same time fit, and gave different results"
        return others[0], ""

    def _may_be_any(self, several: Sequence[Attempt]) -> bool:
        """Tell whether some ran at the same time, and it matters which is meant."""
        if not any(_overlap(one, other) for one, other in combinations(several, 2)):
            return False
        return len({_came_of(one) for one in several}) > 1

    def _elsewhere(self, name: str, given: Any) -> Attempt | None:
        """Return a call of a tool, wherever it was made, that took the same and is left."""
        calls = (one for one in self._recording.calls_of(name) if one.key not in self._claimed)
        return next((one for one in calls if self._recording.given(one) == given), None)

    def _made(
        self, found: Attempt, kind: str, name: str, step_id: str, above: str, details: Mapping[str, Any]
    ) -> Claim:
        self._claimed.add(found.key)
        self._steps.setdefault((above, step_id), found.step_id)
        differs = self._differing(found, kind, details)
        if not differs:
            return Claim(name, found, SAME)
        return Claim(name, found, CHANGED_ARGS if kind in ("TOOL", "RETRIEVAL") else DRIFT, differs=differs)

    def _differing(self, found: Attempt, kind: str, details: Mapping[str, Any]) -> list[str]:
        ours, theirs = request_of(found.details_start), request_of(details)
        if kind == "MODEL" and ours is not None and theirs is not None:
            differs = [name for name in ("model", "messages", "tools", "params") if ours.get(name) != theirs.get(name)]
            if differs or "messages" in ours:
                return differs
        if details.get(REMOTE):
            return [name for name in ("input", PARAMETERS) if self._differs(found, details, name)]
        if "input" not in found.details_start:
            return []
        if self._given(kind, details) == _taken(self._recording, found):
            return []
        return ["input"] if not self._ignoring or self._differs(found, details, "input") else []

    def _differs(self, found: Attempt, details: Mapping[str, Any], name: str) -> bool:
        """Tell whether a part of what two steps take differs, but for what is ignored."""
        ours = self._ignoring.cleaned(name, without_ids(self._recording.resolved(found.details_start.get(name))))
        theirs = self._ignoring.cleaned(name, without_ids(plain(details.get(name))))
        return comparable(ours, self._names) != comparable(theirs, self._names)

    def _given(self, kind: str, details: Mapping[str, Any]) -> Any:
        """Return what a step takes that begins now, as `_taken` has it of one that was recorded."""
        request = request_of(details) if kind == "MODEL" else None
        if request is not None and "messages" in request:
            return canonical(request)
        value = plain(asked_of(details))
        return comparable(value if kind in SERVED_KINDS else without_ids(value), self._names)


def _taken(recording: Recording, one: Attempt) -> Any:
    request = request_of(one.details_start) if one.kind == "MODEL" else None
    if request is not None and "messages" in request:
        return canonical(request)
    if one.kind in SERVED_KINDS:
        return recording.given(one)
    return comparable(without_ids(recording.resolved(asked_of(one.details_start))), (recording.session_id,))


def _called(kind: str, name: str) -> tuple[str, str]:
    return kind, "" if kind == "MODEL" else name


def _overlap(one: Attempt, other: Attempt) -> bool:
    ends = [attempt.end_ns if attempt.end_ns is not None else attempt.start_ns for attempt in (one, other)]
    return one.start_ns < ends[1] and other.start_ns < ends[0]


def _beside(several: Sequence[Attempt]) -> list[Attempt]:
    """Return of attempts in order those that ran beside the first."""
    return [one for one in several if one is several[0] or _overlap(several[0], one)]


def _came_of(one: Attempt) -> bytes:
    error = None if one.error is None else (one.error.type, one.error.message)
    return canonical([one.outcome, error, without_ids(one.details_end.get("output"))])
