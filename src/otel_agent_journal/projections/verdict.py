"""What a fold amounts to: the head of a session, its verdict, and how a reader judges it now.

`status.py` folds; here is read what it has. Whether a silent writer is still there is judged against the reader's time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.projections.head import (
    AWAITING_INPUT,
    CANCELLED,
    COMPLETED,
    ERROR,
    INTERRUPTED,
    KILLED,
    LOST,
    PENDING,
    PROCESSING,
    SessionHead,
    bounded_open_writers,
    bounded_writers,
)
from otel_agent_journal.projections.links import MAX_LISTED, forked_from, forks_of, part_of, parts_of
from otel_agent_journal.projections.status import Interruption, Open, Root, StatusState

SILENCE_NS: Final = 60 * 1_000_000_000  # four heartbeats missed

_ENDED: Final[Mapping[str, tuple[str, str | None]]] = {
    "ok": (COMPLETED, None),
    "error": (ERROR, None),
    "cancelled": (INTERRUPTED, CANCELLED),
    "interrupted": (INTERRUPTED, AWAITING_INPUT),
}


def writers_of(state: StatusState) -> dict[str, int]:
    """Return when each writer was last seen, by an event or a heartbeat."""
    writers = dict(state.last_event_ns)
    for writer, at_ns in state.seen_ns.items():
        writers[writer] = max(at_ns, writers.get(writer, 0))
    return writers


class _Verdict(NamedTuple):
    status: str
    reason: str | None = None
    ended_ns: int | None = None


def head_of(state: StatusState, session_id: str, *, version: int = 0) -> SessionHead:
    """Return the head that the events so far amount to."""
    running = [one for one in state.open.values() if mark_upon(state, one.writer) is None]
    verdict = _verdict(state, running)
    tally = state.spending.total()
    usage = tally.tokens
    agent = state.agent or state.named or state.inner
    writers = writers_of(state)
    open_writers = bounded_open_writers({one.writer for one in running}, writers)
    return SessionHead(
        session_id=session_id,
        status=verdict.status,
        reason=verdict.reason,
        agent=agent[2] if agent else None,
        stage=state.stage[2] if state.stage else None,
        progress=state.stage[3] if state.stage else None,
        events=len(state.seen),
        steps=len(state.steps),
        errors=state.errors,
        input_tokens=usage[0],
        output_tokens=usage[1],
        cache_read_tokens=usage[2],
        cache_write_tokens=usage[3],
        reasoning_tokens=usage[4],
        started_ns=state.started_ns,
        updated_ns=state.updated_ns,
        ended_ns=verdict.ended_ns,
        writers=bounded_writers(writers, open_writers),
        open_writers=open_writers,
        part_of=part_of(state.links, session_id),
        parts=parts_of(state.links, session_id)[:MAX_LISTED],
        forked_from=forked_from(state.forks, session_id),
        forks=forks_of(state.forks, session_id)[:MAX_LISTED],
        about=state.about.about(tally.spent()),
        version=version,
    )


def _verdict(state: StatusState, running: list[Open]) -> _Verdict:
    root = state.root
    if root is None:
        return _verdict_without_roots(state, running)
    if any(one.root for one in running):
        return _Verdict(PROCESSING)
    verdict = _verdict_of_root(state, root)
    over_ns = root.start_ns if verdict.ended_ns is None else verdict.ended_ns
    # What the caller says counts where it says more than the root: that it failed afterwards, or began anew since.
    said = state.lifecycle
    if said is not None and said.timestamp_ns >= over_ns:
        if said.failed:
            return _Verdict(ERROR, None, said.timestamp_ns)
        if said.cancelled and verdict.reason in (KILLED, LOST):  # it was killed because it was given up
            return _Verdict(INTERRUPTED, CANCELLED, said.timestamp_ns)
    if state.invoked_ns is not None and state.invoked_ns > over_ns:
        return _verdict_of_lifecycle(state) or _Verdict(PENDING)
    return verdict


def _verdict_of_root(state: StatusState, root: Root) -> _Verdict:
    if root.outcome:
        return _Verdict(*_ENDED[root.outcome], root.end_ns)
    ending = _ending_of(state, root)
    if ending is not None:
        return _Verdict(*_ENDED[ending[1]], ending[0])
    mark = mark_upon(state, root.writer)
    if mark is not None:
        return _Verdict(INTERRUPTED, mark.reason, mark.timestamp_ns)
    return _Verdict(COMPLETED)  # something ended it that called it no root


def _ending_of(state: StatusState, root: Root) -> tuple[int, str] | None:
    """Return the ending of a root that does not itself say when the root began."""
    loose = state.loose.get(root.name)
    if loose is not None and loose[0] >= root.start_ns:
        return loose
    return state.instant.get(root.key)


def _verdict_without_roots(state: StatusState, running: list[Open]) -> _Verdict:
    """Judge a session of which no root began: as a program declared it, or by what stray steps there are."""
    if running:
        return _Verdict(PROCESSING)
    if state.unpaired_root is not None:
        return _Verdict(*_ENDED[state.unpaired_root[2]], state.unpaired_root[0])
    verdict = _verdict_of_lifecycle(state)
    if verdict is not None:
        return verdict
    if state.lifecycle is None and state.last_ended is not None:
        return _Verdict(*_ENDED[state.last_ended[2]], state.last_ended[0])
    return _Verdict(PENDING)


def _verdict_of_lifecycle(state: StatusState) -> _Verdict | None:
    """Return what the latest lifecycle event says, or that its process is gone since; None: it only began."""
    since_ns = 0
    if state.lifecycle is not None:
        since_ns = state.lifecycle.timestamp_ns
        if state.lifecycle.status != PENDING:
            return _Verdict(state.lifecycle.status, state.lifecycle.reason, since_ns)
    marks = [mark for writer in state.interruptions if (mark := mark_upon(state, writer))]
    if marks and max(marks).timestamp_ns >= since_ns:
        return _Verdict(INTERRUPTED, max(marks).reason, max(marks).timestamp_ns)
    return None


def mark_upon(state: StatusState, writer: str) -> Interruption | None:
    """Return what SESSION_INTERRUPTED says of a writer, unless the writer has written since."""
    mark = state.interruptions.get(writer)
    return mark if mark is not None and state.last_event_ns.get(writer, 0) <= mark.timestamp_ns else None


# --- liveness -----------------------------------------------------------------------------------------------------


def silent_writers(
    head: SessionHead,
    now_ns: int,
    *,
    waiting_writers: Collection[str] = frozenset(),
    silence_ns: int = SILENCE_NS,
) -> tuple[str, ...]:
    """Return the writers with an open step that were not heard of for `silence_ns` and have nothing waiting."""
    return tuple(
        writer
        for writer in head.open_writers
        if writer not in waiting_writers and now_ns - head.writers.get(writer, head.updated_ns) >= silence_ns
    )


def judged(
    head: SessionHead,
    now_ns: int,
    *,
    waiting_writers: Collection[str] = frozenset(),
    silence_ns: int = SILENCE_NS,
) -> SessionHead:
    """Return the head as a reader at `now_ns` should show it: lost, where the writer of every open step is silent.

    Args:
        waiting_writers: writers whose spool is known to hold events not yet delivered; their silence proves nothing.
        silence_ns: how long a writer may be silent and still be thought alive, 60 s.

    Returns:
        `head` itself, or a copy whose `ended_ns` is when the last of its writers was seen. Never to be stored.
    """
    if head.status != PROCESSING:
        return head
    silent = silent_writers(head, now_ns, waiting_writers=waiting_writers, silence_ns=silence_ns)
    if len(silent) < len(head.open_writers):
        return head
    seen_ns = max(head.writers.get(writer, head.updated_ns) for writer in silent)
    return msgspec.structs.replace(head, status=INTERRUPTED, reason=LOST, ended_ns=seen_ns)
