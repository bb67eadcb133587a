"""The fold whose result is a session's head: its status, and what a listing shows of it.

Events come in any order and any number of times; the head is the same. The state remembers each open attempt in
full and of everything else a 64-bit hash, so that a session of 100,000 steps is folded in a few megabytes. It
knows no clock: what it amounts to is read in `verdict.py`. Hashes mean the same in every process, but for those of the
events seen: `snapshot.py` writes a state down without these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeVar

from otel_agent_journal import event as ev
from otel_agent_journal.event import JournalEvent, step_of_span
from otel_agent_journal.pairing import begun_ns, ending_id, is_ending, is_start
from otel_agent_journal.projections.about import AboutState
from otel_agent_journal.projections.cost import told_by_ending
from otel_agent_journal.projections.head import LOST
from otel_agent_journal.projections.id_set import MASK, IdSet
from otel_agent_journal.projections.lifecycle import INVOCATION_TYPES, Said, is_submission, said_by
from otel_agent_journal.projections.links import fork_of, link_of
from otel_agent_journal.projections.open_index import OpenByEnding, OpenByName
from otel_agent_journal.projections.spent import Kept, Spending

REMEMBERED: Final = 2000  # steps and attempts, the latest, that a state still knows after it was written down
_ENDED_KEPT: Final = 1000  # attempts that have ended, in the index of those that are open

_OUTCOMES: Final = frozenset({"ok", "error", "cancelled", "interrupted"})

_Ordered = TypeVar("_Ordered", bound=tuple[Any, ...])


class Interruption(NamedTuple):
    """What the latest SESSION_INTERRUPTED says of a writer."""

    timestamp_ns: int
    event_id: str
    reason: str


class Open(NamedTuple):
    """An attempt, or an invocation, that began and has not ended.

    `name`: hash of its step, number and writer; `number`: of its step and number.
    """

    start_ns: int
    writer: str
    root: bool
    name: int
    number: int


class Root(NamedTuple):
    """An attempt at a root step; the latest of them compares greatest. `key` is the id its ending should have."""

    start_ns: int
    key: str
    end_ns: int
    outcome: str
    writer: str
    name: int


class StatusState:
    """What the fold has seen of one session. Mutable and opaque: `apply` moves it, `head_of` reads it."""

    __slots__ = (
        "about",
        "agent",
        "ended",
        "ended_from_ns",
        "errors",
        "forgotten_ns",
        "forks",
        "inner",
        "instant",
        "interruptions",
        "invoked_ns",
        "last_ended",
        "last_event_ns",
        "lifecycle",
        "links",
        "loose",
        "named",
        "open",
        "open_by_ending",
        "open_by_name",
        "passed_from_ns",
        "root",
        "seen",
        "seen_ns",
        "spending",
        "stage",
        "started_ns",
        "steps",
        "unpaired_root",
        "updated_ns",
    )

    def __init__(self) -> None:
        self.seen = IdSet()
        self.steps = IdSet(REMEMBERED)
        self.ended = IdSet(REMEMBERED)
        self.ended_from_ns = deque[int](maxlen=REMEMBERED)  # when the latest attempts in `ended` began
        self.passed_from_ns = -1  # when the latest of all others in it began
        self.forgotten_ns = -1  # attempts that began up to then may have ended without being in `ended`
        self.open: dict[int, Open] = {}
        self.open_by_name: OpenByName | None = None  # from the first ending on that needs it
        self.open_by_ending: OpenByEnding | None = None
        # Endings that do not say when their attempt began: the latest of each step, number and writer.
        self.loose: dict[int, tuple[int, str]] = {}
        # Endings of no duration, by id: where the clock stepped back, only the id joins them to their start.
        self.instant: dict[str, tuple[int, str]] = {}
        self.root: Root | None = None
        self.unpaired_root: tuple[int, str, str] | None = None
        self.last_ended: tuple[int, str, str] | None = None
        self.last_event_ns: dict[str, int] = {}
        self.seen_ns: dict[str, int] = {}
        self.interruptions: dict[str, Interruption] = {}
        self.links: dict[tuple[str, str], int] = {}
        self.forks: dict[tuple[str, str], int] = {}
        self.lifecycle: Said | None = None
        self.invoked_ns: int | None = None
        self.about = AboutState()
        self.agent: tuple[int, str, str] | None = None
        self.named: tuple[int, str, str] | None = None
        self.inner: tuple[int, str, str] | None = None  # the first agent below a root that is none
        self.stage: tuple[int, str, str, float | None] | None = None
        self.started_ns = 0
        self.updated_ns = 0
        self.errors = 0
        self.spending = Spending()


def fold(events: Iterable[JournalEvent], state: StatusState | None = None) -> StatusState:
    """Apply `events` of one session, those of its parts included, to `state`, or to a new one, and return it."""
    state = state or StatusState()
    for event in events:
        apply(state, event)
    return state


def apply(state: StatusState, event: JournalEvent) -> None:
    """Move `state` by one event. Total over all types, known or not; an event seen before changes nothing."""
    at, event_id, kind = event.timestamp_ns, event.event_id, event.type
    if not state.seen.add(hash((at, event_id)) & MASK):
        return
    state.started_ns = min(state.started_ns, at) if len(state.seen) > 1 else at
    state.updated_ns = max(state.updated_ns, at)
    if event.details:
        state.about.take(event)
    if not apply_to_writers(state, event):
        if (link := link_of(event)) is not None:
            state.links[link] = min(at, state.links.get(link, at))
        elif (fork := fork_of(event)) is not None:
            state.forks[fork] = min(at, state.forks.get(fork, at))
        return
    if is_start(event):
        _start(state, event)
    elif is_ending(event):
        _end(state, event)
    elif kind == ev.STAGE_CHANGED:
        _stage(state, event)
    elif (said := said_by(event)) is not None:
        _lifecycle(state, event, said)


def apply_to_writers(state: StatusState, event: JournalEvent) -> bool:
    """Move what `state` knows of writers by one event, and nothing else; tell whether the event is a writer's own.

    A link, or a fork, is of no writer: it is in two sessions, perhaps by another in each.
    """
    if event.type == ev.SESSION_INTERRUPTED:
        _interrupt(state, event)
        return False
    if link_of(event) is not None or fork_of(event) is not None:
        return False
    writer = event.writer or ""
    if event.timestamp_ns >= state.last_event_ns.get(writer, event.timestamp_ns):
        state.last_event_ns[writer] = event.timestamp_ns
    return True


def heard(state: StatusState, writer: str, at_ns: int) -> None:
    """Note a heartbeat: `writer` was alive at `at_ns`. Moves `last_seen` in the head, nothing else."""
    state.seen_ns[writer] = max(at_ns, state.seen_ns.get(writer, 0))


# --- one kind of event each ---------------------------------------------------------------------------------------


def _interrupt(state: StatusState, event: JournalEvent) -> None:
    writer, reason = event.details.get("writer"), event.details.get("reason")
    target = writer if isinstance(writer, str) else event.writer or ""
    mark = Interruption(event.timestamp_ns, event.event_id, reason if isinstance(reason, str) else LOST)
    state.interruptions[target] = _latest(state.interruptions.get(target), mark)


def _start(state: StatusState, event: JournalEvent) -> None:
    if event.step_id is None:
        return
    state.steps.add(_hash(event.step_id))
    start_ns, writer, root = event.timestamp_ns, event.writer or "", event.parent_step_id is None
    if root:
        _root(state, event, Root(start_ns, ending_id(event, start_ns), 0, "", writer, _name(event)))
    else:
        _inner(state, event, start_ns)
    key, name = _key(event, start_ns), _name(event)
    if "attributes" in event.details:
        state.spending.begin(key, event.details)
    loose = state.loose.get(name)
    if (
        key not in state.ended
        and start_ns > state.forgotten_ns
        and (loose is None or loose[0] < start_ns)
        and not (state.instant and ending_id(event, start_ns) in state.instant)
    ):
        _open(state, key, Open(start_ns, writer, root, name, _number(event)))


def _end(state: StatusState, event: JournalEvent) -> None:
    at, event_id, outcome = event.timestamp_ns, event.event_id, outcome_of(event)
    root = event.parent_step_id is None
    state.errors += outcome == "error" and not passed_through(event.details)
    _spend(state, event, outcome)
    if event.step_id is None:
        return
    state.last_ended = _latest(state.last_ended, (at, event_id, outcome))
    start_ns = begun_ns(event)
    if start_ns is None:
        state.steps.add(_hash(event.step_id))
        _end_loosely(state, event, outcome)
        return
    key = _key(event, start_ns)
    if key not in state.open:  # else its START was counted, perhaps so long ago that it is not remembered
        state.steps.add(_hash(event.step_id))
    _close(state, key, start_ns)
    if event.duration_ns == 0:
        _end_instantly(state, event, outcome)
    if root:
        begun = Root(
            start_ns,
            ending_id(event, start_ns),
            at,
            outcome,
            event.writer or "",
            _name(event),
        )
        _root(state, event, begun)
    else:
        _inner(state, event, start_ns)


def _spend(state: StatusState, event: JournalEvent, outcome: str) -> None:
    """Take in what a call used. An agent's usage is the sum of its calls': a root's counts where they tell nothing."""
    begun_at_ns = begun_ns(event)
    start_ns = event.timestamp_ns if begun_at_ns is None else begun_at_ns
    key = _hash(event.event_id) if event.step_id is None or begun_at_ns is None else _key(event, start_ns)
    agent = event.type.startswith("AGENT")
    told = told_by_ending(event, outcome)
    if told is None or (agent and event.parent_step_id is not None):
        state.spending.forget(key)
        return
    span = step_of_span(event.trace_id, event.span_id) if event.trace_id and event.span_id else None
    step, above = event.step_id, event.parent_step_id
    kept = Kept(
        at_ns=event.timestamp_ns,
        event_id=event.event_id,
        begun_ns=start_ns,
        step=0 if step is None else _hash(step),
        span=0 if span is None else _hash(span),
        parent=0 if above is None else _hash(above),
        told=told,
    )
    state.spending.end(key, kept, root_agent=agent)


def _open(state: StatusState, key: int, begun: Open) -> None:
    """Note an attempt as open; of two that tell of one the later word stays."""
    known = state.open.get(key)
    if known is not None:
        if known >= begun:
            return
        _shut(state, key)
    state.open[key] = begun
    if state.open_by_name is not None:
        state.open_by_name.add(begun.name, begun.start_ns, key)
    if state.open_by_ending is not None:
        state.open_by_ending.add(begun.number, begun.start_ns, key)
        if state.open_by_ending.size > 2 * len(state.open) + _ENDED_KEPT:
            state.open_by_ending = None


def _shut(state: StatusState, key: int) -> None:
    one = state.open.pop(key, None)
    if one is not None and state.open_by_name is not None:
        state.open_by_name.remove(one.name, one.start_ns, key)


def _close(state: StatusState, key: int, start_ns: int) -> None:
    _shut(state, key)
    if state.ended.add(key):
        if len(state.ended_from_ns) == REMEMBERED:
            state.passed_from_ns = max(state.passed_from_ns, state.ended_from_ns[0])
        state.ended_from_ns.append(start_ns)


def _end_instantly(state: StatusState, event: JournalEvent, outcome: str) -> None:
    """Close the attempt whose ending has this very id, though it began later than it ended."""
    state.instant[event.event_id] = _latest(state.instant.get(event.event_id), (event.timestamp_ns, outcome))
    if event.event_id == ending_id(event, event.timestamp_ns):  # it began then, and is closed
        return
    if state.open_by_ending is None:
        state.open_by_ending = OpenByEnding((one.number, one.start_ns, key) for key, one in state.open.items())
    found = state.open_by_ending.find(_number(event), event.event_id, lambda start_ns: ending_id(event, start_ns))
    if found is not None and found[1] in state.open and state.open[found[1]].start_ns == found[0]:
        _shut(state, found[1])


def _end_loosely(state: StatusState, event: JournalEvent, outcome: str) -> None:
    """Close every attempt of that step, number and writer that began no later: it is not said which."""
    at, name = event.timestamp_ns, _name(event)
    state.loose[name] = _latest(state.loose.get(name), (at, outcome))
    if state.open_by_name is None:
        state.open_by_name = OpenByName((one.name, one.start_ns, key) for key, one in state.open.items())
    for key in state.open_by_name.begun_by(name, at):
        _shut(state, key)
    if event.parent_step_id is None:
        state.unpaired_root = _latest(state.unpaired_root, (at, event.event_id, outcome))


def _root(state: StatusState, event: JournalEvent, root: Root) -> None:
    state.root = _latest(state.root, root)
    if event.type.startswith("AGENT") and event.name:
        state.agent = _earliest(state.agent, (root.start_ns, root.key, event.name))


def _inner(state: StatusState, event: JournalEvent, start_ns: int) -> None:
    """Remember the first agent that is no root, such as one that serves a request."""
    if event.type.startswith("AGENT") and event.name:
        state.inner = _earliest(state.inner, (start_ns, event.step_id or "", event.name))


def _lifecycle(state: StatusState, event: JournalEvent, said: Said) -> None:
    state.lifecycle = _latest(state.lifecycle, said)
    if said.type in INVOCATION_TYPES:
        _invocation(state, event)
    elif is_submission(event):
        state.invoked_ns = max(event.timestamp_ns, state.invoked_ns or 0)
    agent = event.details.get("agent")
    if isinstance(agent, str):
        state.named = _earliest(state.named, (said.timestamp_ns, said.event_id, agent))


def _invocation(state: StatusState, event: JournalEvent) -> None:
    """Open or close an invocation that its caller's process attends to, and which is lost with it."""
    at, invocation = event.timestamp_ns, event.details.get("invocation")
    started = event.type == ev.AGENT_INVOCATION_STARTED
    if started:
        state.invoked_ns = at if state.invoked_ns is None else max(at, state.invoked_ns)
    if not isinstance(invocation, str):
        return
    key = _hash("invocation", invocation)
    if not started:
        _close(state, key, at)
    elif key not in state.ended:
        _open(state, key, Open(at, event.writer or "", root=True, name=key, number=key))


def _stage(state: StatusState, event: JournalEvent) -> None:
    stage, progress = event.details.get("stage"), event.details.get("progress")
    name = stage if isinstance(stage, str) else event.name or ""
    percent = float(progress) if isinstance(progress, int | float) else None
    if state.stage is None or (event.timestamp_ns, event.event_id) > state.stage[:2]:
        state.stage = (event.timestamp_ns, event.event_id, name, percent)


def _latest(known: _Ordered | None, found: _Ordered) -> _Ordered:
    return found if known is None or found > known else known


def _earliest(known: _Ordered | None, found: _Ordered) -> _Ordered:
    return found if known is None or found < known else known


def outcome_of(event: JournalEvent) -> str:
    """Return how an ending says the attempt ended, by its type where it says nothing."""
    if event.outcome in _OUTCOMES:
        return event.outcome
    return "error" if event.type.endswith("_ERROR") else "ok"


def passed_through(details: Mapping[str, Any]) -> bool:
    """Tell whether the error of an ending began in a step below: it is counted there."""
    return details.get("passed_through") is True


def _hash(*parts: object) -> int:
    """Return a hash that is the same in every process."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def _key(event: JournalEvent, start_ns: int) -> int:
    return _hash(event.step_id, event.attempt or 1, start_ns)


def _name(event: JournalEvent) -> int:
    return _hash(event.step_id, event.attempt or 1, event.writer or "")


def _number(event: JournalEvent) -> int:
    return _hash(event.step_id, event.attempt or 1)
