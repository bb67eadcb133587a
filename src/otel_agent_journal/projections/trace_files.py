"""A session's steps as trace files of others: speedscope's own format, and Chrome's trace events. Pure.

Both want what is at work at once on different tracks, and on each track steps within steps: `tracks_of` lays them so.
What is told are names, times, tokens, cost and how it ended; no content. Times in which nothing ran are left out.

Sources: jlfwong/speedscope, `src/lib/file-format-spec.ts`; "Trace Event Format" of the Chromium project, which Perfetto
reads as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.cost import NO_CALLS, Cost
from otel_agent_journal.projections.profile import Stretch, runs_of, spans_of, union
from otel_agent_journal.projections.steps import RUNNING, Attempt, StepTree

SPEEDSCOPE_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
_LONGEST_NAME: Final = 120  # characters
_NS_PER_US: Final = 1000


class Placed(NamedTuple):
    """An attempt on its track: when it was at work, from the beginning of the session's work on."""

    attempt: Attempt
    number: int
    span: Stretch


class TracedSession(NamedTuple):
    """A session to be written. `costs`: of attempts, by their keys."""

    session_id: str
    tree: StepTree
    costs: Mapping[str, Cost]
    now_ns: int


def tracks_of(tree: StepTree, now_ns: int) -> list[list[Placed]]:
    """Return the attempts on tracks, on each in order of start and those around others first.

    A step is on the track of the one that it ran in, where no other is at work there at that time; else on the first
    that is free.
    """
    spans = spans_of(tree, now_ns)
    axis = _Axis(union(spans[one.key] for one in runs_of(tree, spans)))
    numbers = {step.step_id: step.number for step in tree.steps}
    tracks: list[list[Placed]] = []
    free_ns: list[int] = []  # until when each track is taken, by what began last on it
    taken: dict[str, int] = {}  # the end of the last that runs right in an attempt, on its own track
    home: dict[str, tuple[str, int]] = {}  # the attempt that each ran in, and the track of that
    for one in sorted(tree.attempts, key=lambda one: (spans[one.key][0], -spans[one.key][1])):
        start_ns, end_ns = map(axis.at, spans[one.key])
        above = home.get(one.key)
        if above is not None and taken.get(above[0], 0) <= start_ns:
            track = above[1]
            taken[above[0]] = end_ns
        else:
            track = next((at for at, until_ns in enumerate(free_ns) if until_ns <= start_ns), len(tracks))
            if track == len(tracks):
                tracks.append([])
                free_ns.append(0)
        free_ns[track] = max(free_ns[track], end_ns)
        tracks[track].append(Placed(one, numbers[one.step_id], (start_ns, end_ns)))
        for child in tree.beneath(one):
            home[child.key] = (one.key, track)
    return tracks


class _Axis:
    """Time of the work alone, from its beginning: what lies between is left out."""

    def __init__(self, worked: Sequence[Stretch]) -> None:
        self._worked = worked
        self._before = [0]
        for start_ns, end_ns in worked:
            self._before.append(self._before[-1] + end_ns - start_ns)

    def at(self, time_ns: int) -> int:
        """Return where a moment is."""
        place = bisect_right(self._worked, time_ns, key=lambda one: one[0]) - 1
        return 0 if place < 0 else self._before[place] + min(time_ns, self._worked[place][1]) - self._worked[place][0]


# --- speedscope ---------------------------------------------------------------------------------------------------


def speedscope(sessions: Iterable[TracedSession], exporter: str) -> dict[str, Any]:
    """Return a file of speedscope's: a profile for each track of each session, in nanoseconds."""
    frames: dict[str, int] = {}
    profiles = [profile for session in sessions for profile in _profiles(session, frames)]
    return {
        "$schema": SPEEDSCOPE_SCHEMA,
        "exporter": exporter,
        "name": "agent-journal",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": profiles,
    }


def _profiles(session: TracedSession, frames: dict[str, int]) -> Iterator[dict[str, Any]]:
    tracks = tracks_of(session.tree, session.now_ns)
    end_ns = max((one.span[1] for track in tracks for one in track), default=0)
    for number, track in enumerate(tracks, start=1):
        events: list[dict[str, Any]] = []
        open_: list[tuple[int, int]] = []
        for one in track:
            while open_ and open_[-1][1] <= one.span[0]:
                events.append({"type": "C", "frame": open_[-1][0], "at": open_.pop()[1]})
            frame = frames.setdefault(_name(one.attempt), len(frames))
            events.append({"type": "O", "frame": frame, "at": one.span[0]})
            open_.append((frame, one.span[1]))
        events += [{"type": "C", "frame": frame, "at": at} for frame, at in reversed(open_)]
        beside = f", in parallel ({number})" if number > 1 else ""
        yield {
            "type": "evented",
            "name": f"{valid_text(session.session_id)}{beside}",
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": end_ns,
            "events": events,
        }


# --- Chrome -------------------------------------------------------------------------------------------------------


def chrome(sessions: Iterable[TracedSession], exporter: str) -> dict[str, Any]:
    """Return a file of Chrome's trace events: a process for each session, a thread for each track, in microseconds."""
    events: list[dict[str, Any]] = []
    for pid, session in enumerate(sessions, start=1):
        events.append(_named("process_name", pid, 0, valid_text(session.session_id)))
        for tid, track in enumerate(tracks_of(session.tree, session.now_ns), start=1):
            events.append(_named("thread_name", pid, tid, "steps" if tid == 1 else f"in parallel ({tid})"))
            events += [
                {
                    "name": _name(one.attempt),
                    "cat": one.attempt.kind.lower(),
                    "ph": "X",
                    "ts": one.span[0] / _NS_PER_US,
                    "dur": (one.span[1] - one.span[0]) / _NS_PER_US,
                    "pid": pid,
                    "tid": tid,
                    "args": _arguments(one, session.costs.get(one.attempt.key, NO_CALLS)),
                }
                for one in track
            ]
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"exporter": exporter}}


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}}


def _arguments(one: Placed, cost: Cost) -> dict[str, Any]:
    attempt, usage = one.attempt, one.attempt.usage
    said: dict[str, Any] = {
        "number": one.number,
        "step_id": valid_text(attempt.step_id),
        "attempt": attempt.ordinal,
        "outcome": attempt.outcome or RUNNING,
    }
    if attempt.error is not None:
        said["error"] = valid_text(attempt.error.type)
    if usage is not None:
        said |= {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return said if cost.usd is None else {**said, "cost_usd": cost.usd}


def _name(attempt: Attempt) -> str:
    name = f"{attempt.kind.lower()} {attempt.name}"
    return valid_text(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")
