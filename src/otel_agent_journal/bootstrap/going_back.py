"""Going back: `fork` a session at one of its points, `rewind` it to one, `resume` it in this program.

Nothing is copied and nothing deleted: a fork's contexts begin with those of its base, and a rewound session's have an
event that says from where they go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api

from otel_agent_journal.bootstrap.contexts import kept_by
from otel_agent_journal.bootstrap.openers import open_journal
from otel_agent_journal.bootstrap.resuming import Resume, lines_of, resumption_of
from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.codec import sealed
from otel_agent_journal.errors import StoreError, StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import CONTEXT_REWOUND, SESSION_REWOUND, JournalEvent, derived_id, time_ordered_id
from otel_agent_journal.masking import masked
from otel_agent_journal.pasting import pasted
from otel_agent_journal.pipeline.current import get_flush
from otel_agent_journal.pipeline.resuming import Resumption, begin_resumption, end_resumption
from otel_agent_journal.pipeline.session import checked_session
from otel_agent_journal.pipeline.session_writer import SESSION_KEY
from otel_agent_journal.projections.head import INTERRUPTED, KILLED, LOST, PROCESSING, SessionHead
from otel_agent_journal.reading.agents import BY_HAND, AgentContext, agents_of
from otel_agent_journal.reading.points import LANGGRAPH, Cut, NoSuchPoint, Point, point_at_end, point_before
from otel_agent_journal.store import lineage
from otel_agent_journal.store.protocol import JournalStore

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

_MAX_NAMED: Final = 10_000  # forks of a session that are given a name by themselves
_MAX_TRIES: Final = 100
_TAKEN_IN_S: Final = 10.0  # patience with who takes in what a dead process left
_ENDED_S: Final = 1.0  # and until that is seen in the session
_LOOK_EVERY_S: Final = 0.1


class SessionRuns(StoreError):
    """A session is under way, and cannot be gone on with, nor rewound, beside that."""

    def __init__(self, head: SessionHead) -> None:
        processes = head.about.processes
        where = f" in process {processes[-1].pid} on {processes[-1].host}" if processes else ""
        super().__init__(
            f"session {head.session_id} is running{where}; wait until it has ended, or stop it:"
            f" agent-journal status {pasted(head.session_id)}"
        )


@contextmanager
def resume(session_id: str, *, once: bool = False) -> Generator[Resumption]:
    """Go on with a session: agents that run in this block go on from where it stands.

    A LangGraph graph with our saver, or a Strands agent with our session manager, that had not finished goes on with
    what was left, whatever input it is given; one that had finished takes its input as the next turn. Tool calls that
    had been completed are not made again.

    Args:
        session_id: the session, or a fork of it.
        once: serve what tools returned after the point that it was rewound to or forked at, by tool and arguments,
            and refuse to call those with others that may have changed the world.

    Raises:
        ValueError: the session id is empty.
        SessionNotFound, SessionRuns: there is none, or it is under way.
        StoreUnreachable: and other errors of the store.
    """
    session_id = checked_session(session_id)
    settings, _ = settings_of_process()
    with _journal() as journal:
        head = journal.session(session_id)
        not_running(journal, head)
        asked = resume_of(journal, head, once=once)
    one = resumption_of(settings, asked)
    token = context_api.attach(context_api.set_value(SESSION_KEY, head.session_id))
    begin_resumption(one)
    try:
        yield one
    finally:
        end_resumption(one)
        context_api.detach(token)


def fork(
    session_id: str, at: int | str | None = None, state: Mapping[str, Any] | None = None, *, new: str | None = None
) -> str:
    """Fork a session: make one whose agents go on from a point of it, and return its id. Nothing is copied.

    Args:
        session_id: the session.
        at: the step before which the fork goes on, by the number that `agent-journal show` prints, or by any name that
            it takes; by default it goes on from the end. Where no context is known just there, from the nearest point
            before.
        state: values that the state of the fork's agents has in place of theirs.
        new: the id of the fork; by default the session's with a number behind it.

    Raises:
        NoSuchPoint: there is no such step, or no agent of the session keeps its context in the journal.
        SessionNotFound, StoreError: there is no such session, or one of the fork's id is there already.
        StoreUnreachable: and other errors of the store.
    """
    with _journal() as journal:
        head = journal.session(checked_session(session_id))
        return fork_at(journal, point_of(journal, head, at), new, state)


def rewind(session_id: str, at: int | str) -> Point:
    """Rewind a session: its agents go on from before a step, and what came after counts no more. Nothing is deleted.

    Args:
        session_id: the session.
        at: the step, by its number or another name, as `fork` takes it.

    Returns:
        The point to which it was rewound: before `number`, where `at` was `asked` for.

    Raises:
        NoSuchPoint: there is no such step, or no agent of the session keeps its context in the journal.
        SessionNotFound, SessionRuns: there is none, or it is under way.
        StoreUnreachable: and other errors of the store.
    """
    with _journal() as journal:
        head = journal.session(checked_session(session_id))
        not_running(journal, head)
        point = point_of(journal, head, at)
        rewind_to(journal.store, point)
        return point


def point_of(journal: Journal, head: SessionHead, step: int | str | None) -> Point:
    """Return the point before a step of a session, or at its end.

    Raises:
        NoSuchPoint, NoSuchStep: there is no such step, or no agent keeps its context in the journal.
    """
    if step is None:
        return point_at_end(journal.store, head.session_id, journal.clock())
    from otel_agent_journal.projections.steps import fold_steps
    from otel_agent_journal.reading.naming import find_step
    from otel_agent_journal.reading.points import placed

    tree = fold_steps(map(placed, journal.events(head.session_id)), lost_writers=journal.silent(head))
    number = step if isinstance(step, int) or step.isdecimal() else find_step(tree, step, head.session_id).number
    return point_before(journal.store, head.session_id, tree, int(number))


def resume_of(journal: Journal, head: SessionHead, *, once: bool = False) -> Resume:
    """Return what a process that goes on with a session has to know."""
    judged, bases = journal.judged(head), tuple(lines_of(journal.store, head.session_id))
    cut_off = judged.status == INTERRUPTED and judged.reason in (KILLED, LOST)
    return Resume(session=head.session_id, once=once, bases=bases, cut_off=cut_off)


def settle(journal: Journal) -> None:
    """Wait until all that dead processes left on this machine is in the store: before, nobody knows where one stood.

    Raises:
        StoreUnreachable: another process is still at it.
    """
    if not journal.take_in_dead(patience_s=_TAKEN_IN_S):
        raise StoreUnreachable(
            f"what a process that is gone left in {journal.spool} is just being delivered by another; before, it is not"
            " known where a session stands; try again: agent-journal doctor says how much there is"
        )


def not_running(journal: Journal, head: SessionHead) -> None:
    """Return where a session is not under way.

    That its process has died is known once what that left is taken in, which another process may be about to do.

    Raises:
        SessionRuns: it is; says where.
    """
    deadline = time.monotonic() + _ENDED_S
    judged = journal.judged(head)
    while judged.status == PROCESSING and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        judged = journal.judged(journal.exact(head.session_id) or head)
    if judged.status == PROCESSING:
        raise SessionRuns(judged)


def fork_at(journal: Journal, point: Point, new: str | None = None, state: Mapping[str, Any] | None = None) -> str:
    """Make the fork of a session that goes on from a point, and return its id; see `fork`."""
    store = journal.store
    if not point.cuts:
        raise NoSuchPoint(
            f"before step {point.number} of session {point.session_id} no agent had a context yet: run the program anew"
        )
    if new is not None and journal.exact(new) is not None:
        raise StoreError(f"session {new} is there already; name another with --as")
    chosen = new or next(one for one in _names(point.session_id) if journal.exact(one) is None)
    for cut in point.cuts if state else ():  # before anything is made
        kept_by(cut.agent).check_state(store, cut.agent, cut.count, cut.checkpoints, state or {})
    said = {"at_ns": point.at_ns} | ({} if point.number is None else {"step": point.number})
    agents = [cut.agent for cut in point.cuts]
    for cut in point.cuts:
        base, own = cut.place()
        lineage.fork(
            store,
            base,
            own,
            instance_of_fork(chosen, cut.agent, agents),
            chosen,
            now_ns=time.time_ns(),
            said=said,
            checkpoint=cut.checkpoints,
        )
    if state:
        for agent in agents_of(store, chosen):
            kept_by(agent).set_state(store, agent, state)
    return chosen


def rewind_to(store: JournalStore, point: Point) -> None:
    """Rewind a session to a point of it; see `rewind`. Agents that had no context there begin anew."""
    cuts = {cut.agent.instance_id: cut for cut in point.cuts}
    said: dict[str, Any] = {"at_ns": point.at_ns} | ({} if point.number is None else {"step": point.number})
    agents = list(agents_of(store, point.session_id))
    for agent in agents if point.number is not None else [cut.agent for cut in point.cuts]:
        _rewind(store, agent, cuts.get(agent.instance_id) or Cut(agent, 0), said)
    now_ns = time.time_ns()
    store.append(
        [
            sealed(
                JournalEvent(
                    session_id=point.session_id,
                    event_id=time_ordered_id(now_ns, os.urandom(10)),
                    type=SESSION_REWOUND,
                    timestamp_ns=now_ns,
                    details=said,
                )
            )
        ]
    )


def instance_of_fork(session_id: str, agent: AgentContext, beside: list[AgentContext]) -> str:
    """Return the id of an agent's instance in a fork: where it is what the program calls it there, found by that.

    A graph's thread, and a context kept by hand, have the fork's id for their name; those beside it are named after it.
    """
    if agent.framework == "strands":
        alike = [one for one in beside if (one.framework, one.known_as) == (agent.framework, agent.known_as)]
        name = agent.known_as if len(alike) == 1 else f"{agent.within}:{agent.known_as}"
        return derived_id(f"strands:{session_id}:{name}")
    same = [one for one in beside if one.framework == agent.framework]
    first = next((one for one in same if one.known_as == agent.session_id), same[0])
    name = session_id if agent is first else f"{session_id}:{agent.known_as}"
    return name if agent.framework == BY_HAND else derived_id(f"{LANGGRAPH}:{name}")


def _rewind(store: JournalStore, agent: AgentContext, cut: Cut, said: Mapping[str, Any]) -> None:
    details: dict[str, Any] = {**said, "to": cut.count}
    if cut.checkpoints is not None:
        details["checkpoint"] = dict(cut.checkpoints)
    for _ in range(_MAX_TRIES):
        tip = store.context_tip(agent.instance_id)
        seq, now_ns = 0 if tip is None else tip.next_seq, time.time_ns()
        last = next(store.read_context(agent.instance_id, limit=1, newest_first=True), None)
        now_ns = max(now_ns, 0 if last is None else last.timestamp_ns + 1)
        event = JournalEvent(
            session_id=agent.session_id,
            event_id=time_ordered_id(now_ns, os.urandom(10)),
            type=CONTEXT_REWOUND,
            timestamp_ns=now_ns,
            instance_id=agent.instance_id,
            seq=seq,
            details=details,
        )
        try:
            store.append_context(agent.instance_id, seq, [sealed(event)])
        except WrongExpectedSequence:
            continue
        return
    raise StoreError(
        f"instance {agent.instance_id}: others were first {_MAX_TRIES} times; it was not rewound: try again"
    )


def _names(session_id: str) -> Iterator[str]:
    return (f"{session_id}~{number}" for number in range(1, _MAX_NAMED))


@contextmanager
def _journal(note: Callable[[str], object] = lambda line: None) -> Generator[Journal]:
    """Yield the journal of this process, with what it recorded and what dead ones left."""
    settings, _ = settings_of_process()
    if (flush := get_flush()) is not None and (pending := flush.deliver(_TAKEN_IN_S).pending):
        raise StoreUnreachable(
            f"{pending} records of this process are not in {masked(settings.store)} yet; before, it is not known where"
            " a session stands; try again: agent-journal doctor says what keeps them"
        )
    journal = open_journal(settings, note=note)
    try:
        settle(journal)
        yield journal
    finally:
        journal.close()
