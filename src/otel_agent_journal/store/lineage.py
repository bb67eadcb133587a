"""Sessions that were made of others: an agent's context that goes on, from some number of it, in a session of its own.

A fork copies nothing. Its context begins with CONTEXT_FORKED, which names the instance and the number where it was
forked, and what it was made of is read through that. Both sessions say so (SESSION_FORKED), and a session with forks
is not pruned before these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from otel_agent_journal.codec import sealed
from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import CONTEXT_FORKED, EMPTY, SESSION_FORKED, JournalEvent, derived_id
from otel_agent_journal.store.protocol import JournalStore

MAX_DEPTH: Final = 1_000  # forks of forks


def fork(
    store: JournalStore,
    instance_id: str,
    at_seq: int,
    new_instance: str,
    new_session: str,
    *,
    now_ns: int,
    said: Mapping[str, Any] = EMPTY,
    checkpoint: Mapping[str, str] | None = None,
    agent: Mapping[str, str] | None = None,
) -> None:
    """Make an instance, in a session of its own, whose context begins as another's first `at_seq` events.

    Repeating a call changes nothing.

    Args:
        store: which keeps contexts.
        instance_id: the instance that is forked; what it writes from now on is its own.
        at_seq: how many of its events the new one begins with, 0 to all.
        new_instance: the id of the new instance.
        new_session: the session that it is in; another one than that of the first.
        now_ns: the time of the events that say so, UTC nanoseconds.
        said: what both sessions should say of it, too.
        checkpoint: of a LangGraph thread, which of its namespaces go on from which checkpoint.
        agent: what the new instance's first event says of it, where that is more than what it was forked from.

    Raises:
        StoreError: there is no such instance, or it has fewer events; or the new one is there, made otherwise.
        StoreUnreachable: call again.
    """
    first = next(store.read_context(new_instance, limit=1), None)
    if first is not None:
        if (first.session_id, base_of(first)) != (new_session, (instance_id, at_seq)):
            raise StoreError(f"instance {new_instance} is there already, and no fork of {instance_id} at {at_seq}")
        return
    base = _session_of(store, instance_id, at_seq)
    if base == new_session:
        raise StoreError(f"instance {instance_id} is of session {base}; a fork of it is in another session")
    forked = {"instance": instance_id, "seq": at_seq}
    details = {**said, "base": base, "fork": new_session, **forked, "fork_instance": new_instance}
    both = (new_session, base)  # from when the base says so, it is not deleted before the fork
    store.append([_event(SESSION_FORKED, one, f"{new_instance}:{one}", now_ns, details) for one in both])
    _session_of(store, instance_id, at_seq)
    begun = _event(
        CONTEXT_FORKED,
        new_session,
        f"{new_instance}:0",
        now_ns,
        forked
        | ({} if checkpoint is None else {"checkpoint": dict(checkpoint)})
        | ({} if agent is None else {"agent": dict(agent)}),
        instance_id=new_instance,
        seq=0,
    )
    store.append_context(new_instance, 0, [begun])


def read_through(store: JournalStore, instance_id: str) -> Iterator[JournalEvent]:
    """Yield all events that an instance's context is made of, in order: of what it was forked from, then its own.

    Raises:
        StoreError: what it was forked from is not there, or not all of it.
    """
    for one, count in bases(store, instance_id):
        yield from store.read_context(one, limit=count)
    yield from store.read_context(instance_id)


def bases(store: JournalStore, instance_id: str) -> list[tuple[str, int]]:
    """Return the instances whose events an instance's context begins with, and how many of each, the first one first.

    Raises:
        StoreError: what it was forked from is not there, or not all of it.
    """
    chain: list[tuple[str, int]] = []
    above: str = instance_id
    while True:
        first = next(store.read_context(above, limit=1), None)
        base = None if first is None else base_of(first)
        if base is None:
            return chain[::-1]
        _session_of(store, *base)
        chain.append(base)
        above = base[0]
        if len(chain) > MAX_DEPTH:
            raise StoreError(f"instance {instance_id} is a fork of forks, more than {MAX_DEPTH:,} deep")


def base_of(event: JournalEvent) -> tuple[str, int] | None:
    """Return the instance that the first event of a context was forked from, and at which number, if it was."""
    instance_id, seq = event.details.get("instance"), event.details.get("seq")
    forked = event.type == CONTEXT_FORKED and event.seq == 0
    return (instance_id, seq) if forked and isinstance(instance_id, str) and isinstance(seq, int) else None


def _session_of(store: JournalStore, instance_id: str, seq: int) -> str:
    """Return the session of an instance that has so many events."""
    tip = store.context_tip(instance_id)
    if tip is None or not 0 <= seq <= tip.next_seq:
        there = "is not there" if tip is None else f"has {tip.next_seq} events"
        raise StoreError(f"instance {instance_id} {there}; it cannot be forked at {seq}")
    return tip.session_id


def _event(kind: str, session_id: str, name: str, now_ns: int, details: dict[str, Any], **more: Any) -> JournalEvent:
    return sealed(
        JournalEvent(
            session_id=session_id,
            event_id=derived_id(f"fork:{name}"),
            type=kind,
            timestamp_ns=now_ns,
            details=details,
            **more,
        )
    )
