"""What a fold keeps of a session: attempts as nodes, steps, and the rows that attempts are shown in."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.paid import call_of_attempt
from otel_agent_journal.projections.steps import Attempt, Step
from otel_agent_journal.server.streamed import Streamed


class Noted(NamedTuple):
    """Something that was noted at a step: a warning, or what a model was asked."""

    at_ns: int
    event_id: str
    attempt: int
    writer: str | None
    warned: bool
    asked: str


class Node:
    """An attempt in the tree. `raw`: the one that it ran in; `above`: the same, where no cycle was cut there."""

    __slots__ = ("above", "attempt", "below", "calling", "cut", "own", "place", "raw", "step", "telling")

    def __init__(self, attempt: Attempt, step: StepState) -> None:
        self.attempt = attempt
        self.step = step
        self.raw: Node | None = None
        self.cut = False
        self.above: Node | None = None
        self.below: dict[str, Node] = {}
        self.place: Place | None = None
        self.own = call_of_attempt(attempt)
        self.telling = 0  # of those below: in how many something tells what it used
        self.calling = 0

    @property
    def tells(self) -> bool:
        """Whether it, or something beneath it, tells what was used."""
        return self.telling > 0 or (self.own is not None and self.own.is_told)

    @property
    def calls(self) -> bool:
        """Whether it, or something beneath it, is a call."""
        return self.own is not None or self.calling > 0


class StepState:
    """What is known of a step: the events that pair, what was noted, its attempts in order of their start."""

    __slots__ = (
        "events",
        "first_ns",
        "last_ns",
        "named",
        "nodes",
        "noted",
        "number",
        "order",
        "places",
        "spans",
        "step_id",
        "streamed",
    )

    def __init__(self, step_id: str) -> None:
        self.step_id = step_id
        self.events: list[JournalEvent] = []
        self.noted: list[Noted] = []
        self.streamed: dict[tuple[int, str | None], Streamed] = {}
        self.nodes: list[Node] = []
        self.places: list[Place] = []
        self.named: dict[str, Node] = {}  # the attempts that name this step as their parent
        self.spans: tuple[str, ...] = ()
        self.order: tuple[int, str] | None = None
        self.number = 0
        self.first_ns = 1 << 63  # of its events
        self.last_ns = 0

    def under_way(self, at_ns: int, own: list[Node] | None = None) -> Node | None:
        """Return the attempt begun last by then, else the first; `own`: those of one's own, where there are any."""
        ones = self.nodes
        if len(ones) > 1 and own:
            ones = own
        if not ones:
            return None
        return ones[max(0, bisect_right(ones, at_ns, key=lambda one: one.attempt.start_ns) - 1)]


class Place:
    """A row: a step at one place, with the attempts made there."""

    __slots__ = ("above", "below", "key", "nodes", "revision", "step")

    def __init__(self, step: StepState, above: Place | None) -> None:
        self.step = step
        self.above = above
        self.below: dict[str, Place] = {}
        self.nodes: list[Node] = []
        self.key = ""
        self.revision = 0

    def seen(self) -> Step:
        """Return it as the step that it is in the tree."""
        last = self.nodes[-1].attempt
        return Step(
            step_id=self.step.step_id,
            parent_step_id=last.parent_step_id,
            kind=last.kind,
            name=last.name,
            attempts=tuple(one.attempt for one in self.nodes),
            orphan=self.above is None and last.parent_step_id is not None,
            number=self.step.number,
        )
