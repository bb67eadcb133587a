"""Work and waits: how long steps worked, how long nobody worked at them, and time with the waits left out. Pure.

A step works while an attempt at it is under way. What lies between two attempts is a wait: for a human, for a process
that takes it up again, for a retry's pause.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from otel_agent_journal.projections.steps import Attempt, Step, StepTree


class Stretch(NamedTuple):
    """From when to when, UTC nanoseconds."""

    start_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.start_ns


def stretches(attempts: Iterable[Attempt], now_ns: int) -> list[Stretch]:
    """Return when any of these attempts was under way, in order; what overlaps is one. One that runs does until now."""
    found: list[Stretch] = []
    for one in sorted((one.start_ns, now_ns if one.end_ns is None else one.end_ns) for one in attempts):
        start_ns, end_ns = one[0], max(one)
        if found and start_ns <= found[-1].end_ns:
            found[-1] = Stretch(found[-1].start_ns, max(found[-1].end_ns, end_ns))
        else:
            found.append(Stretch(start_ns, end_ns))
    return found


def worked_ns(step: Step, now_ns: int | None = None) -> int | None:
    """Return how long a step worked, what overlaps counted once; of one that runs until now, None without a now."""
    if len(step.attempts) == 1:
        only = step.attempts[0]
        return max(0, now_ns - only.start_ns) if only.end_ns is None and now_ns is not None else only.duration_ns
    if now_ns is None and step.end_ns is None:
        return None
    return sum(one.length_ns for one in stretches(step.attempts, now_ns or 0))


def waited_ns(step: Step) -> int | None:
    """Return how long nobody worked at a step between its attempts; None while it runs."""
    if step.end_ns is None:
        return None
    if len(step.attempts) == 1:
        return 0
    found = stretches(step.attempts, 0)
    return found[-1].end_ns - found[0].start_ns - sum(one.length_ns for one in found)


class WorkAxis:
    """Time of a session with what nobody worked left out: where a moment is on it, in nanoseconds from its beginning.

    Args:
        attempts: what was worked.
        now_ns: of the reader, until when what runs does.
    """

    def __init__(self, attempts: Iterable[Attempt], now_ns: int) -> None:
        worked = stretches(attempts, now_ns)
        self.waits = [Stretch(before.end_ns, after.start_ns) for before, after in pairwise(worked)]
        self._worked = worked
        self._before = [0]  # nanoseconds of work before each stretch, and in all of them
        for one in worked:
            self._before.append(self._before[-1] + one.length_ns)

    @property
    def total_ns(self) -> int:
        """How long it was worked."""
        return self._before[-1]

    def at(self, time_ns: int) -> int:
        """Return where a moment is; one within a wait is where the work before it ended."""
        place = bisect_right(self._worked, time_ns, key=lambda one: one.start_ns) - 1
        if place < 0:
            return 0
        return self._before[place] + min(time_ns - self._worked[place].start_ns, self._worked[place].length_ns)


def own_ns(tree: StepTree, step: Step, now_ns: int) -> int:
    """Return how long a step worked while nothing beneath it did: its own code, a model, a tool."""
    own = stretches(step.attempts, now_ns)
    beneath = stretches((one for child in tree.children(step) for one in child.attempts), now_ns)
    left, at = sum(one.length_ns for one in own), 0
    for one in own:
        while at < len(beneath) and beneath[at].start_ns < one.end_ns:
            left -= max(0, min(one.end_ns, beneath[at].end_ns) - max(one.start_ns, beneath[at].start_ns))
            if beneath[at].end_ns > one.end_ns:  # it goes on in the next one
                break
            at += 1
    return left
