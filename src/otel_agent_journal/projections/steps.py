"""The step tree of a session: what ran, under what, in which attempts, and what it cost. Pure.

An attempt hangs under the attempt of its parent step that it ran in. A step that was taken up again by another
invocation, after an interrupt or a crash, therefore appears once under each, with the attempts made there, and
`StepTree.step` gives it whole. Events come in any order and any number of times. Liveness is not judged here: a
reader names the writers it holds for lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import dropwhile, islice, starmap
from operator import lt
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.event import (
    EMPTY,
    END_TYPES,
    RUN_RESUMED,
    START_TYPES,
    ErrorInfo,
    JournalEvent,
    Usage,
    kind_of,
    step_of_span,
)
from otel_agent_journal.pairing import begun_ns, paired
from otel_agent_journal.projections.head import LOST
from otel_agent_journal.projections.status import StatusState, apply_to_writers, outcome_of, passed_through
from otel_agent_journal.projections.verdict import mark_upon

RUNNING: Final = "running"
INTERRUPTED: Final = "interrupted"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One go at a step. `attempt` counts within a writer, `ordinal` over all writers, from 1.

    `outcome` is None while it runs. One that its writer left behind has outcome interrupted, a `reason`, and as its
    end the writer's last sign of life. `key` tells it from every other attempt of the session.
    """

    key: str
    step_id: str
    parent_step_id: str | None
    kind: str
    name: str
    attempt: int
    ordinal: int = 1
    writer: str | None = None
    start_ns: int
    end_ns: int | None = None
    outcome: str | None = None
    reason: str | None = None
    error: ErrorInfo | None = None
    usage: Usage | None = None
    trace_id: str | None = None
    span_id: str | None = None
    details_start: Mapping[str, Any] = EMPTY
    details_end: Mapping[str, Any] = EMPTY
    notes: tuple[JournalEvent, ...] = ()

    @property
    def duration_ns(self) -> int | None:
        """How long it took; None while it runs."""
        return None if self.end_ns is None else max(0, self.end_ns - self.start_ns)

    @property
    def began_error(self) -> bool:
        """Whether it failed by an error that began in it, and did not pass through from a step below."""
        return self.outcome == "error" and not passed_through(self.details_end)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of work at one place of the tree, with the attempts made there, oldest first: at least one.

    `orphan`: it names a parent of which the journal knows nothing, and is shown as a root. `number` counts the steps of
    the session in order of their start, from 1: `SESSION@N` is the point before that step.
    """

    step_id: str
    parent_step_id: str | None
    kind: str
    name: str
    attempts: tuple[Attempt, ...]
    depth: int = 0
    orphan: bool = False
    number: int = 0

    @property
    def last(self) -> Attempt:
        """The latest attempt, which speaks for the step."""
        return self.attempts[-1]

    @property
    def status(self) -> str:
        """running, or the last attempt's outcome: ok, error, cancelled, interrupted."""
        return self.last.outcome or RUNNING

    @property
    def start_ns(self) -> int:
        """When the first attempt began."""
        return self.attempts[0].start_ns

    @property
    def end_ns(self) -> int | None:
        """When the last attempt ended; None while it runs."""
        return self.last.end_ns


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What a step and everything beneath it amount to. `steps` are distinct, `errors` where they began."""

    steps: int = 0
    errors: int = 0
    usage: Usage = Usage()


class StepTree:
    """The steps of one session. Immutable once made; not thread-safe while `totals` is first asked for."""

    def __init__(
        self, attempts: Iterable[Attempt], resumes: Mapping[str, str], parents: Mapping[str, str | None]
    ) -> None:
        """Arrange `attempts`; `parents` gives the key of each one's parent attempt and must be free of cycles."""
        self.resumes = resumes
        self._attempts = sorted(attempts, key=by_start)
        self._by_step: dict[str, list[Attempt]] = defaultdict(list)
        self._beneath: dict[str, list[Attempt]] = defaultdict(list)
        self._tops: list[Attempt] = []
        self._depths: dict[str, int] = {}
        self._usage: dict[str, Usage] | None = None
        for one in self._attempts:
            self._by_step[one.step_id].append(one)
            parent = parents[one.key]
            (self._tops if parent is None else self._beneath[parent]).append(one)
        self._numbers = {step_id: number for number, step_id in enumerate(self._by_step, start=1)}
        pending = [(one, 0) for one in self._tops]
        while pending:
            one, depth = pending.pop()
            self._depths[one.key] = depth
            pending += [(child, depth + 1) for child in self._beneath.get(one.key, ())]

    @property
    def roots(self) -> tuple[Step, ...]:
        """The invocations, and orphans, in order of their start."""
        return self._grouped(self._tops)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step whole, once, in order of its start."""
        return tuple(self._made(ones) for ones in self._by_step.values())

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Every attempt, once, each behind the one that it ran in."""
        return sorted(self._attempts, key=lambda one: self._depths[one.key])

    def beneath(self, attempt: Attempt) -> Sequence[Attempt]:
        """Return what ran directly in an attempt, in order of start."""
        return self._beneath.get(attempt.key, ())

    def step(self, step_id: str) -> Step | None:
        """Return a step with all its attempts, wherever they were made, or None."""
        ones = self._by_step.get(step_id)
        return self._made(ones) if ones else None

    def children(self, of: Step | str) -> tuple[Step, ...]:
        """Return what ran directly under a step, in order of start: under the attempts of a `Step`, or all of an id."""
        ones: Sequence[Attempt] = of.attempts if isinstance(of, Step) else self._by_step.get(of, [])
        return self._grouped([child for one in ones for child in self._beneath.get(one.key, ())])

    def walk(self) -> Iterator[Step]:
        """Yield every step below its parent, depth first, in order of start; `depth` counts from 0."""
        pending = list(reversed(self.roots))
        while pending:
            step = pending.pop()
            yield step
            pending += reversed(self.children(step))

    def totals(self, step: Step | None = None) -> Totals:
        """Sum up a step and all beneath it, or the whole session.

        Usage of a step counts only where nothing beneath it has any: an agent's is the sum of its calls'.
        """
        pending = list(self._tops if step is None else step.attempts)
        usage = [self._usage_of(one) for one in pending]
        steps: set[str] = set()
        errors = 0
        while pending:
            one = pending.pop()
            steps.add(one.step_id)
            errors += one.began_error
            pending += self._beneath.get(one.key, ())
        return Totals(steps=len(steps), errors=errors, usage=_summed(usage))

    def _usage_of(self, attempt: Attempt) -> Usage:
        if self._usage is None:
            self._usage = {}
            for one in sorted(self._attempts, key=lambda one: -self._depths[one.key]):
                beneath = _summed(self._usage[child.key] for child in self._beneath.get(one.key, ()))
                self._usage[one.key] = beneath if beneath != _NOTHING else one.usage or _NOTHING
        return self._usage[attempt.key]

    def _grouped(self, attempts: Collection[Attempt]) -> tuple[Step, ...]:
        if not attempts:
            return ()
        together: dict[str, list[Attempt]] = defaultdict(list)
        for one in sorted(attempts, key=by_start):
            together[one.step_id].append(one)
        return tuple(self._made(ones) for ones in together.values())

    def _made(self, attempts: Sequence[Attempt]) -> Step:
        last, depth = attempts[-1], self._depths[attempts[0].key]
        return Step(
            step_id=last.step_id,
            parent_step_id=last.parent_step_id,
            kind=last.kind,
            name=last.name,
            attempts=tuple(attempts),
            depth=depth,
            orphan=depth == 0 and last.parent_step_id is not None,
            number=self._numbers[last.step_id],
        )


_NOTHING: Final = Usage()


def by_start(attempt: Attempt) -> tuple[int, str]:
    return (attempt.start_ns, attempt.key)


def _summed(several: Iterable[Usage]) -> Usage:
    columns = zip(*(msgspec.structs.astuple(usage) for usage in several), strict=True)
    return Usage(**dict(zip(Usage.__struct_fields__, map(sum, columns), strict=False)))


# --- from events --------------------------------------------------------------------------------------------------


def fold_steps(events: Iterable[JournalEvent], *, lost_writers: Collection[str] = frozenset()) -> StepTree:
    """Return the step tree of one session's events. Takes time by how many there are, whatever their shape.

    Args:
        events: in any order, with any repetition; types that concern no step are passed over.
        lost_writers: writers that the reader judges to be gone (`status.silent_writers`): their open attempts are
            shown as interrupted, lost.
    """
    ordered = _ordered(events)
    writers, lost = StatusState(), frozenset(lost_writers)
    for event in ordered:
        apply_to_writers(writers, event)
    attempts = _with_parents_of_spans([closed(one, writers, lost) for one in starmap(attempt_of, paired(ordered))])
    by_step = _by_step(attempts)
    notes = _notes(ordered, by_step)
    finished = [
        msgspec.structs.replace(one, ordinal=ordinal, notes=tuple(notes.get(one.key, ())))
        if ordinal > 1 or one.key in notes
        else one
        for ones in by_step.values()
        for ordinal, one in enumerate(ones, start=1)
    ]
    return StepTree(finished, _resumes(ordered, finished), _parents(attempts, by_step))


def _ordered(events: Iterable[JournalEvent]) -> list[JournalEvent]:
    """Return each event once, in order of time: as they are, where they come so."""
    found = list(events)
    positions = [(event.timestamp_ns, event.event_id) for event in found]
    if all(map(lt, positions, islice(positions, 1, None))):
        return found
    distinct: dict[tuple[str, int, str], JournalEvent] = {}
    for event in found:
        known = distinct.get(event.key)
        # Of two copies that came through two doors the same one stays, whichever came first.
        if known is None or (event.digest or "", event.writer or "") < (known.digest or "", known.writer or ""):
            distinct[event.key] = event
    return [distinct[key] for key in sorted(distinct, key=lambda key: (key[1], key[2], key[0]))]


def attempt_of(key: str, start: JournalEvent | None, end: JournalEvent | None) -> Attempt:
    one = cast("JournalEvent", start or end)
    return Attempt(
        key=key,
        step_id=one.step_id or "",
        parent_step_id=one.parent_step_id,
        kind=kind_of(one.type) or "STEP",
        name=one.name or one.step_id or "",
        attempt=one.attempt or 1,
        writer=one.writer,
        start_ns=one.timestamp_ns if (start_ns := begun_ns(one)) is None else start_ns,
        end_ns=end.timestamp_ns if end else None,
        outcome=outcome_of(end) if end else None,
        error=end.error if end else None,
        usage=end.usage if end else None,
        trace_id=one.trace_id or (end.trace_id if end else None),
        span_id=one.span_id or (end.span_id if end else None),
        details_start=start.details if start else EMPTY,
        details_end=end.details if end else EMPTY,
    )


def closed(one: Attempt, writers: StatusState, lost_writers: frozenset[str]) -> Attempt:
    """Return an attempt that its writer left behind as interrupted, any other as it is."""
    if one.outcome is not None:
        return one
    writer = one.writer or ""
    mark = mark_upon(writers, writer)
    if mark is None and writer not in lost_writers:
        return one
    end_ns, reason = (mark.timestamp_ns, mark.reason) if mark else (writers.last_event_ns[writer], LOST)
    return msgspec.structs.replace(one, outcome=INTERRUPTED, end_ns=end_ns, reason=reason)


def _with_parents_of_spans(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return attempts, those that name their parent by its span with that span's step."""
    steps = {one.step_id for one in attempts}
    if all(one.parent_step_id is None or one.parent_step_id in steps for one in attempts):
        return list(attempts)
    of_span = {
        step_of_span(one.trace_id, one.span_id): one.step_id
        for one in attempts
        if one.trace_id is not None and one.span_id is not None
    }
    return [
        one
        if one.parent_step_id in steps or one.parent_step_id not in of_span
        else msgspec.structs.replace(one, parent_step_id=of_span[one.parent_step_id])
        for one in attempts
    ]


def _by_step(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    by_step: dict[str, list[Attempt]] = defaultdict(list)
    for one in sorted(attempts, key=by_start):
        by_step[one.step_id].append(one)
    return by_step


class _UnderWay:
    """Finds the attempt at a step that was under way at a time, among those that have something in common.

    `own` says what: it is asked of steps alone that were tried more than once.
    """

    def __init__(self, by_step: Mapping[str, Sequence[Attempt]], own: Callable[[Attempt], tuple[Any, ...]]) -> None:
        self._by_step = by_step
        self._own: dict[tuple[Any, ...], list[Attempt]] = defaultdict(list)
        for step_id, ones in by_step.items():
            for one in ones if len(ones) > 1 else ():
                self._own[step_id, *own(one)].append(one)

    def at(self, at_ns: int, step_id: str | None, *own: Any) -> Attempt | None:
        """Return the latest attempt begun by then, else the first; of all at the step where none is one's own."""
        ones = self._by_step.get(step_id or "", ())
        if len(ones) > 1:
            ones = self._own.get((step_id, *own), ones)
        if not ones:
            return None
        return ones[max(0, bisect_right(ones, at_ns, key=_start_of) - 1)]


def _start_of(attempt: Attempt) -> int:
    return attempt.start_ns


def _notes(ordered: Iterable[JournalEvent], by_step: Mapping[str, Sequence[Attempt]]) -> dict[str, list[JournalEvent]]:
    """Return what was noted during each attempt, by its key."""
    notes: dict[str, list[JournalEvent]] = defaultdict(list)
    under_way = _UnderWay(by_step, lambda one: (one.attempt, one.writer))
    for event in ordered:
        if event.step_id is not None and event.type not in START_TYPES and event.type not in END_TYPES:
            attempt = under_way.at(event.timestamp_ns, event.step_id, event.attempt or 1, event.writer)
            if attempt is not None:
                notes[attempt.key].append(event)
    return notes


def _parents(attempts: Iterable[Attempt], by_step: Mapping[str, Sequence[Attempt]]) -> dict[str, str | None]:
    """Return the key of each attempt's parent attempt by key; a cycle is cut above its earliest member."""
    under_way = _UnderWay(by_step, lambda one: (one.writer,))
    by_key = {one.key: one for one in attempts}
    parents: dict[str, str | None] = {}
    for one in by_key.values():
        parent = under_way.at(one.start_ns, one.parent_step_id, one.writer)
        parents[one.key] = None if parent is None else parent.key
    safe: set[str] = set()
    for key, parent in parents.items():
        if parent is None or parent in safe:  # as where parents came first
            safe.add(key)
            continue
        path: dict[str, None] = {}
        at: str | None = key
        while at is not None and at not in safe and at not in path:
            path[at] = None
            at = parents[at]
        if at is not None and at in path:
            members = dropwhile(lambda one, first=at: one != first, path)
            parents[min(members, key=lambda member: by_start(by_key[member]))] = None  # an item that is there
        safe.update(path)
    return parents


def _resumes(ordered: Iterable[JournalEvent], attempts: Iterable[Attempt]) -> dict[str, str]:
    """Return which root went on from which: by the checkpoint that one stopped at and the other began from."""
    resumed = [event for event in ordered if event.type == RUN_RESUMED and event.step_id is not None]
    if not resumed:
        return {}
    stopped: dict[str, list[_Stop]] = defaultdict(list)
    for one in sorted(attempts, key=by_start):
        checkpoint = one.details_end.get("checkpoint_id")
        if one.parent_step_id is None and isinstance(checkpoint, str):
            stops = stopped[checkpoint]
            last = stops[-1] if stops else None
            before = None if last is None else last.before if last.step_id == one.step_id else last.step_id
            stops.append(_Stop(one.start_ns, one.step_id, before))
    resumes: dict[str, str] = {}
    for event in resumed:
        checkpoint = event.details.get("checkpoint_id")
        if event.step_id is not None and isinstance(checkpoint, str):
            stops = stopped.get(checkpoint, [])
            place = bisect_right(stops, event.timestamp_ns, key=lambda stop: stop.start_ns)
            if place:
                last = stops[place - 1]
                earlier = last.before if last.step_id == event.step_id else last.step_id
                if earlier is not None:
                    resumes[event.step_id] = earlier
    return resumes


class _Stop(NamedTuple):
    """A root that stopped at a checkpoint, and the latest other one that had stopped there before it."""

    start_ns: int
    step_id: str
    before: str | None
