"""What became of a replay: step by step which class of divergence it is, the first of them, and what caused it.

Made of the journals of both sessions alone: the STARTs of a replay say which recorded step each is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import REPLAY
from otel_agent_journal.projections.steps import Attempt, StepTree
from otel_agent_journal.replays.causes import around, cause_of_drift
from otel_agent_journal.replays.contents import Comparison
from otel_agent_journal.replays.matching import AMBIGUOUS, CHANGED_ARGS, DRIFT, NEW, SAME, UNREPLAYABLE
from otel_agent_journal.replays.recording import Recording, call_id_of, place_of
from otel_agent_journal.replays.remote import is_remote, told_by_calls
from otel_agent_journal.replays.words import SERVED_KINDS, is_call

MISSING: Final = "MISSING"
REORDERED: Final = "REORDERED"
CHANGED_OUTCOME: Final = "CHANGED_OUTCOME"
CLASSES: Final[Mapping[str, str]] = {
    SAME: "the same, served or computed",
    DRIFT: "a model was asked something else at the same place; what was recorded was served",
    CHANGED_ARGS: "a tool was called with other arguments, by code and not by a served model",
    NEW: "a call that the recording does not have",
    MISSING: "recorded, and never asked for",
    REORDERED: "the same steps under one parent in another order",
    CHANGED_OUTCOME: "code, or a step that was called live, gave something else",
    AMBIGUOUS: "more than one recorded call fits, and their results differ",
    UNREPLAYABLE: "what was recorded is not enough to serve it",
}
_STOPS: Final = ("otel_agent_journal.replays.errors.Diverged", "otel_agent_journal.replays.errors.ReplayEnded")


class Divergence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of a replay, or one that it should have had. `verdict` is one of `CLASSES`.

    Args:
        verdict: what became of it.
        kind: of the step.
        name: of the step.
        number: of the recorded step, where there is one.
        replay_number: of the step of the replay, where there is one.
        step_id: of the recorded step.
        replay_step_id: of the step of the replay.
        differs: in which parts.
        at: where in the first of these, as a JSON pointer.
        recorded: what the recording has there.
        replayed: what the replay has there.
        why: in words.
        below: how many steps below a missing one are missing, too.
        live: it was called, and not served.
    """

    verdict: str
    kind: str
    name: str
    number: int | None = None
    replay_number: int | None = None
    step_id: str | None = None
    replay_step_id: str | None = None
    differs: tuple[str, ...] = ()
    at: str | None = None
    recorded: Any = None
    replayed: Any = None
    why: str | None = None
    below: int = 0
    live: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a replay.

    Args:
        session: the recorded session.
        replay: the session that the replay is journaled as.
        steps: in the order of the replay, missing ones where they should have been.
        first: the first that is not the same; None where all are.
        cause: what caused that, in words.
        served: how many calls were served.
        live: how many were made.
        hidden: how many differences rules of `--ignore` have hidden.
        not_reached: how many recorded steps come after the one at which the replay stopped or ended.
        stopped: it stopped at a divergence.
    """

    session: str
    replay: str
    steps: tuple[Divergence, ...]
    first: Divergence | None
    cause: str | None
    served: int
    live: int
    hidden: int
    not_reached: int
    stopped: bool

    @property
    def counts(self) -> dict[str, int]:
        """How many steps are of each class."""
        return dict(Counter(one.verdict for one in self.steps))

    @property
    def divergences(self) -> list[Divergence]:
        """The steps that are not the same, in order."""
        return [one for one in self.steps if one.verdict != SAME]

    def diverged(self, *, strict: bool = False) -> bool:
        """Tell whether the program went another way. Another question to a model counts where it is `strict` alone."""
        return self.stopped or any(one.verdict != DRIFT or strict for one in self.divergences)


class Both(msgspec.Struct, frozen=True, kw_only=True):
    """Both sessions.

    Args:
        recording: the recorded one.
        replay: the steps of the replay.
        name: the session that it is journaled as.
        contents: what the steps of both took and gave.
        until: the number of the recorded step before which the replay was to end.
    """

    recording: Recording
    replay: StepTree
    name: str
    contents: Comparison
    until: int | None = None


def report_of(both: Both) -> Report:
    """Return what became of a replay."""
    recording, replay = both.recording, both.replay
    found: list[Divergence] = []
    claimed: dict[str, Attempt] = {}  # by the key of a recorded attempt, the one of the replay
    beside: dict[str, list[Divergence]] = {}  # what was refused within an attempt, and is no step
    stopped = False
    attempts = sorted(filter(_is_reached, replay.attempts), key=lambda one: (one.start_ns, one.key))
    numbers = {step.step_id: step.number for step in replay.steps}
    for attempt in attempts:
        told = _told(attempt)
        recorded = _recorded(recording, told)
        if recorded is not None:
            claimed[recorded.key] = attempt
        stopped = stopped or (attempt.error is not None and attempt.error.type == _STOPS[0])
        found.append(_judged(both, attempt, recorded, told, numbers[attempt.step_id]))
        beside[attempt.key] = list(_refused(attempt, numbers[attempt.step_id]))
    _judge_outcomes(both, attempts, found)
    _reorder(recording, attempts, found, claimed)
    reached = max((one.number or 0 for one in found), default=0)
    missing, not_reached = _missing(both, claimed, stopped=stopped, reached=reached)
    refused = [(at, one) for at, attempt in enumerate(attempts) for one in beside[attempt.key]]
    for at, one in reversed(refused):
        found.insert(at + 1, one)
    steps = _in_order(found, missing)
    first = next((one for one in steps if one.verdict != SAME), None)
    told = told_by_calls(replay)
    calls = [one for one in attempts if is_call(one.kind, one.details_start) and one.key not in told]
    served = sum("served" in one.details_end for one in calls)
    return Report(
        session=recording.session_id,
        replay=both.name,
        steps=tuple(steps),
        first=first,
        cause=None if first is None else _cause(both, first),
        served=served,
        live=sum(bool(_told(one).get("live")) for one in calls),
        hidden=both.contents.hidden,
        not_reached=not_reached,
        stopped=stopped,
    )


def _told(attempt: Attempt) -> Mapping[str, Any]:
    told: Any = attempt.details_start.get(REPLAY)
    return cast("Mapping[str, Any]", told) if isinstance(told, Mapping) else {}


def _recorded(recording: Recording, told: Mapping[str, Any]) -> Attempt | None:
    step = recording.tree.step(str(told.get("of")))
    if step is None:
        return None
    return next((one for one in step.attempts if one.ordinal == told.get("attempt")), step.last)


def _judged(both: Both, attempt: Attempt, recorded: Attempt | None, told: Mapping[str, Any], number: int) -> Divergence:
    verdict, at, ours, theirs = str(told.get("verdict", NEW)), None, None, None
    differs = tuple(str(name) for name in told.get("differs", ()))
    called = is_call(attempt.kind, attempt.details_start)
    if recorded is not None and verdict == SAME and attempt.kind == "MODEL":
        differs = tuple(both.contents.parts(recorded, attempt))
        verdict = DRIFT if differs else SAME
    elif recorded is not None and verdict == SAME and called:
        both.contents.count_hidden(recorded, attempt)
    if recorded is not None and verdict in (DRIFT, CHANGED_ARGS):
        places = {name: both.contents.differs(recorded, attempt, name) for name in differs}
        differs = tuple(name for name, place in places.items() if place is not None)
        if not differs:
            verdict = SAME
        else:
            at, ours, theirs = places[differs[0]] or (None, None, None)
    why = str(told["why"]) if "why" in told else None
    if verdict == SAME and called and attempt.error and attempt.error.type == _STOPS[0]:
        # Something that is no step has stopped the replay before it; or the program reads on where it had not.
        verdict, why = UNREPLAYABLE if "served" in attempt.details_end else NEW, attempt.error.message
    return Divergence(
        verdict=verdict,
        kind=attempt.kind,
        name=attempt.name,
        number=None if recorded is None else both.recording.number(recorded),
        replay_number=number,
        step_id=None if recorded is None else recorded.step_id,
        replay_step_id=attempt.step_id,
        differs=differs if verdict != SAME else (),
        at=at,
        recorded=ours,
        replayed=theirs,
        why=why,
        live=bool(told.get("live")),
    )


def _refused(attempt: Attempt, number: int) -> Iterator[Divergence]:
    """Yield what a step did that is no step, and was refused: a connection to another machine."""
    for note in attempt.notes:
        told: Any = note.details.get(REPLAY)
        if isinstance(told, Mapping):
            said = cast("Mapping[str, Any]", told)
            yield Divergence(
                verdict=str(said.get("verdict", NEW)),
                kind=attempt.kind,
                name=str(said.get("name", "")),
                replay_number=number,
                replay_step_id=attempt.step_id,
                why=str(note.details.get("message", "")),
            )


def _is_reached(attempt: Attempt) -> bool:
    """Tell whether an attempt is not the call before which the replay was to end."""
    is_stop = attempt.error is not None and attempt.error.type == _STOPS[1]
    return not is_stop or not is_call(attempt.kind, attempt.details_start)


def _judge_outcomes(both: Both, attempts: Sequence[Attempt], found: list[Divergence]) -> None:
    """Mark the steps that took the same and gave something else, and not for what is different within them."""
    places = {one.key: at for at, one in enumerate(attempts)}
    parents = {one.key: above for above in attempts for one in both.replay.beneath(above)}
    changed: set[str] = set()  # steps within which something is different
    for attempt in reversed(both.replay.attempts):  # what is within a step before it
        at = places.get(attempt.key)
        if at is None:
            continue
        if found[at].verdict == SAME and attempt.key not in changed:
            found[at] = _with_outcome(both, attempt, _recorded(both.recording, _told(attempt)), found[at])
        if (found[at].verdict != SAME or attempt.key in changed) and attempt.key in parents:
            changed.add(parents[attempt.key].key)


def _with_outcome(both: Both, attempt: Attempt, recorded: Attempt | None, found: Divergence) -> Divergence:
    """Return a step that took the same, with whether it gave the same."""
    error = attempt.error.type if attempt.error is not None else None
    if recorded is None or "served" in attempt.details_end or error in _STOPS or recorded.outcome is None:
        return found
    if recorded.outcome == "interrupted" and not recorded.details_end.get("interrupts"):
        return found  # its process was killed within it
    if attempt.outcome != recorded.outcome or (recorded.error and recorded.error.type) != error:
        return msgspec.structs.replace(
            found,
            verdict=CHANGED_OUTCOME,
            differs=("status",),
            recorded=_ended(recorded),
            replayed=_ended(attempt),
        )
    place = both.contents.differs(recorded, attempt, "output")
    if place is None:
        return found
    at, ours, theirs = place
    return msgspec.structs.replace(
        found, verdict=CHANGED_OUTCOME, differs=("output",), at=at, recorded=ours, replayed=theirs
    )


def _ended(attempt: Attempt) -> str:
    if attempt.error is None:
        return attempt.outcome or "running"
    return f"{attempt.outcome}: {attempt.error.type}: {attempt.error.message}"[:200]


def _reorder(
    recording: Recording, attempts: Sequence[Attempt], found: list[Divergence], claimed: Mapping[str, Attempt]
) -> None:
    """Mark steps that were the same but came before one that they came after."""
    places = {one.key: at for at, one in enumerate(attempts)}
    pending = [recording.roots, *(recording.beneath(one) for one in recording.tree.attempts)]
    for siblings in pending:
        pairs = sorted(
            ((claimed[one.key], one) for one in siblings if one.key in claimed), key=lambda pair: pair[0].start_ns
        )
        for (now, then), (after, later) in pairwise(pairs):
            apart = now.end_ns is not None and now.end_ns <= after.start_ns
            if apart and later.end_ns is not None and later.end_ns <= then.start_ns and not _beside(then, later):
                at = places[now.key]
                if found[at].verdict == SAME:
                    why = f"it came after {later.kind.lower()} {later.name}, and comes before it"
                    found[at] = msgspec.structs.replace(found[at], verdict=REORDERED, why=why)


def _beside(one: Attempt, other: Attempt) -> bool:
    """Tell whether two may run in any order: tasks of one step of a graph, and calls that a model has asked for."""
    if one.kind == other.kind == "TOOL":
        return None not in (call_id_of(one.details_start), call_id_of(other.details_start))
    places = place_of(one.details_start), place_of(other.details_start)
    return places[0] is not None and places[1] is not None and places[0].step == places[1].step


def _missing(
    both: Both, claimed: Mapping[str, Attempt], *, stopped: bool, reached: int
) -> tuple[list[Divergence], int]:
    """Return what was never asked for, and how many recorded steps the replay did not come to."""
    recording = both.recording
    not_reached = 0
    below: dict[str, str] = {}  # of what is missing with the step around it, the key of the outermost
    counts: Counter[str] = Counter()
    outermost: list[Attempt] = []
    served: set[str] = set()  # and what ran within that, which was served with it
    for attempt in recording.tree.attempts:
        above = recording.parent(attempt)
        if attempt.key in claimed:
            if "served" in claimed[attempt.key].details_end:
                served.add(attempt.key)
            continue
        if above is not None and above.key in served:
            served.add(attempt.key)
            continue
        if above is not None and above.key in below:
            top = below[attempt.key] = below[above.key]
            counts[top] += 1
            continue
        number = recording.number(attempt)
        after_the_end = (stopped and number > reached) or (both.until is not None and number >= both.until)
        if after_the_end or (attempt.outcome in (None, "interrupted") and recording.why_not(attempt) is not None):
            not_reached += 1
            below[attempt.key] = ""
            continue
        below[attempt.key] = attempt.key
        outermost.append(attempt)
    not_reached += counts.pop("", 0)
    missing = [
        Divergence(
            verdict=MISSING,
            kind=attempt.kind,
            name=attempt.name,
            number=recording.number(attempt),
            step_id=attempt.step_id,
            below=counts[attempt.key],
            why="recorded, and never asked for",
        )
        for attempt in outermost
    ]
    return missing, not_reached


def _in_order(found: Sequence[Divergence], missing: Iterable[Divergence]) -> list[Divergence]:
    """Return the steps of the replay in their order, what is missing behind the last that was recorded before it."""
    steps = list(found)
    for one in sorted(missing, key=lambda one: -(one.number or 0)):
        before = [at for at, step in enumerate(found) if step.number is not None and step.number < (one.number or 0)]
        steps.insert(before[-1] + 1 if before else 0, one)
    return steps


def _cause(both: Both, first: Divergence) -> str:
    """Return what caused the first divergence."""
    tree: StepTree = both.recording.tree if first.replay_step_id is None else both.replay
    step = tree.step(first.replay_step_id or first.step_id or "")
    if first.verdict == DRIFT:
        return cause_of_drift(first.kind, first.name, first.differs, first.at, step)
    if first.verdict == UNREPLAYABLE:
        return "the recording, and not the code"
    if first.live:
        return "a call that was made live"
    is_code = first.kind not in SERVED_KINDS and not is_remote(step)
    return f"code in {around(tree, step, itself=is_code)}, and not a served answer"
