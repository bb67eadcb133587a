"""Points of a session, and what the contexts of its agents were there: where one can go back to.

The point `SESSION@N` is before step N. What counts there of each agent's context is a number of its events: as the step
itself says (`context` in the details of its START), as the checkpoint says that the step's task ran on, or by the time
at which the step began.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.context.checkpoints import Checkpoints, Saved
from otel_agent_journal.context.history import TOOL_CALL
from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import CHECKPOINT_WRITES, JournalEvent, derived_id
from otel_agent_journal.pasting import pasted
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.steps import Attempt, Step, StepTree
from otel_agent_journal.reading.agents import AgentContext, agents_of
from otel_agent_journal.store.lineage import read_through
from otel_agent_journal.store.protocol import JournalStore

LANGGRAPH: Final = "langgraph"
ROOT: Final = ""  # the namespace of a graph that is in no other
_TOLD: Final = ("ns", "checkpoint", "parent", "parents", "step", "run_id", "task", "to", "keep", "run_ids")


class NoSuchPoint(StoreError):
    """A session has no such step, or none of its agents has a context."""

    exit_code = 3


class Cut(msgspec.Struct, frozen=True):
    """So many events of an agent's context count; of a LangGraph thread, which goes on from a checkpoint."""

    agent: AgentContext
    count: int
    checkpoints: Mapping[str, str] | None = None

    def place(self) -> tuple[str, int]:
        """Return the instance whose own events the last that counts is one of, and how many of its own count."""
        before = 0
        for instance_id, own in self.agent.bases:
            if self.count <= before + own:
                return instance_id, self.count - before
            before += own
        return self.agent.instance_id, self.count - before


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a session: before step `number`, None at its end; `asked` is what was asked for.

    `at_ns` is when what comes after it began.
    """

    session_id: str
    cuts: tuple[Cut, ...]
    at_ns: int
    number: int | None = None
    asked: int | None = None


def point_at_end(store: JournalStore, session_id: str, now_ns: int) -> Point:
    """Return the point behind all that a session has done.

    Raises:
        NoSuchPoint: none of its agents has a context.
        StoreUnreachable: and other errors of the store.
    """
    agents = _agents(store, session_id)
    return Point(session_id=session_id, cuts=tuple(Cut(one, one.count) for one in agents), at_ns=now_ns)


def point_at_event(store: JournalStore, session_id: str, sequence: int, instance_id: str | None = None) -> Point:
    """Return the point behind an event of an agent's context.

    Args:
        store: where the journal lives.
        session_id: the session.
        sequence: the event's number.
        instance_id: the agent's, where the session has several.

    Raises:
        NoSuchPoint: there is no such event, or several agents.
    """
    agents = [one for one in _agents(store, session_id) if instance_id in (None, one.instance_id)]
    if len(agents) != 1:
        named = ", ".join(f"{one.instance_id}:{sequence}" for one in agents[:5])
        raise NoSuchPoint(
            f"session {session_id} has {len(agents)} agents with a context; name one, as INSTANCE:SEQ: {named}"
            if agents
            else f"session {session_id} has no agent instance {instance_id}"
        )
    context = _Context(agents[0], store)
    if not 0 <= sequence < len(context.times):
        raise NoSuchPoint(f"the context has events up to {len(context.times) - 1}, not {sequence}")
    cut = context.behind(sequence)
    after = context.times[cut.count] if cut.count < len(context.times) else context.times[-1] + 1
    return Point(session_id=session_id, cuts=(cut,), at_ns=after)


def point_before(store: JournalStore, session_id: str, tree: StepTree, number: int) -> Point:
    """Return the point before a step, or before the earliest step from which the same contexts go on.

    Raises:
        NoSuchPoint: there is no such step, or none of the agents has a context.
        StoreUnreachable: and other errors of the store.
    """
    steps = tree.steps
    if not 1 <= number <= len(steps):
        raise NoSuchPoint(
            f"session {session_id} has {f'steps 1 to {len(steps)}' if steps else 'no steps'}, not {number};"
            f" agent-journal show {pasted(session_id)} numbers them"
        )
    contexts = [_Context(one, store) for one in _agents(store, session_id)]
    places = {step.step_id: step for step in steps}
    cuts = _cuts(contexts, steps[number - 1], places)
    first = number
    while first > 1 and _cuts(contexts, steps[first - 2], places) == cuts:
        first -= 1
    return Point(session_id=session_id, cuts=cuts, at_ns=steps[first - 1].start_ns, number=first, asked=number)


def placed(event: JournalEvent) -> JournalEvent:
    """Return an event with those of its details alone that points of its session depend on."""
    shown = outline(event)
    more = {key: event.details[key] for key in ("context", "place") if key in event.details}
    return msgspec.structs.replace(shown, details={**shown.details, **more}) if more else shown


def _agents(store: JournalStore, session_id: str) -> list[AgentContext]:
    agents = list(agents_of(store, session_id))
    if not agents:
        raise NoSuchPoint(
            f"no agent of session {session_id} keeps its context in the journal, so there is nothing to go back to:"
            " give the graph JournalSaver(), the Strands agent JournalSessionManager(), a loop of your own"
            " ContextService(), or run it under: agent-journal run --checkpoint"
        )
    return agents


def _cuts(contexts: Sequence[_Context], step: Step, steps: Mapping[str, Step]) -> tuple[Cut, ...]:
    above = list(_above(step, steps))
    return tuple(cut for one in contexts if (cut := one.before(above)) is not None)


def _above(step: Step, steps: Mapping[str, Step]) -> Iterator[Step]:
    """Yield a step and those above it, the root last."""
    seen: set[str] = set()
    one: Step | None = step
    while one is not None and one.step_id not in seen:
        seen.add(one.step_id)
        yield one
        one = steps.get(one.parent_step_id or "")


class _Context:
    """What of an agent's context tells where it stood: times, and the checkpoints of a LangGraph thread."""

    def __init__(self, agent: AgentContext, store: JournalStore) -> None:
        self.agent = agent
        self.times: list[int] = []
        self._types: list[str] = []
        self._events: list[JournalEvent] = []
        self._task_ran_on: dict[str, str] = {}
        for event in read_through(store, agent.instance_id):
            self.times.append(max(event.timestamp_ns, self.times[-1] if self.times else 0))
            self._types.append(event.type)
            if agent.framework == LANGGRAPH:
                told = {key: event.details[key] for key in _TOLD if key in event.details}
                self._events.append(msgspec.structs.replace(event, details=told))
                if event.type == CHECKPOINT_WRITES and told.get("ns") == ROOT:
                    self._task_ran_on.setdefault(str(told.get("task")), str(told.get("checkpoint")))
        self._checkpoints = self._after(len(self._events))

    def _after(self, count: int) -> Checkpoints:
        checkpoints = Checkpoints()
        for event in self._events[:count]:
            checkpoints.apply(event)
        return checkpoints

    def before(self, above: Sequence[Step]) -> Cut | None:
        """Return what counted before a step, given it and those above it; None where the context was not there yet."""
        step = above[0].attempts[0]
        said: Any = step.details_start.get("context")
        if isinstance(said, Mapping):
            known = cast("Mapping[str, Any]", said)
            if known.get("instance") == self.agent.instance_id and type(known.get("seq")) is int:
                return Cut(self.agent, min(known["seq"], len(self.times)))
        if self.agent.framework == LANGGRAPH and (ran_on := self._ran_on(above)) is not None:
            return self._at(ran_on)
        count = bisect_right(self.times, step.start_ns)
        return self.behind(count - 1) if count else None

    def behind(self, number: int) -> Cut:
        """Return what counts behind an event; a message has its tool calls behind it."""
        count = number + 1
        if self.agent.framework == LANGGRAPH:
            saved = self._after(count).newest(ROOT)
            return Cut(self.agent, count) if saved is None else self._at(saved)
        while count < len(self._types) and self._types[count] == TOOL_CALL:
            count += 1
        return Cut(self.agent, count)

    def _ran_on(self, above: Sequence[Step]) -> Saved | None:
        """Return the checkpoint that the task of a step ran on: that of the outermost graph, which has the thread."""
        if len(above) < 2:
            return None
        node = above[-2].attempts[0]
        for task, checkpoint in self._task_ran_on.items():
            if node.step_id == derived_id(f"{self.agent.session_id}:{node.name}:{task}"):
                return self._checkpoints.even_deleted(ROOT, checkpoint)
        step, end_ns = _graph_step(node), above[-1].last.end_ns
        if step is None:
            return None
        in_time = self._checkpoints if end_ns is None else self._after(bisect_right(self.times, end_ns))
        return next((one for one in in_time.listed(ROOT) if one.step == step - 1), None)

    def _at(self, saved: Saved) -> Cut:
        return Cut(self.agent, self._checkpoints.point_of(saved), {saved.ns: saved.id})


def _graph_step(attempt: Attempt) -> int | None:
    """Return LangGraph's number of the superstep that a node or task ran in."""
    place: Any = attempt.details_start.get("place")
    step = cast("Mapping[str, Any]", place).get("step") if isinstance(place, Mapping) else None
    return step if type(step) is int else None
