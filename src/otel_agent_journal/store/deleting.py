"""Deleting named sessions, whole: the same for every store, built on `StoreAdmin.delete_session`.

A session goes with the traces that are part of it, these first, so that one which was broken off is found again and
the call simply repeated. One that was forked is read through by its forks, so it goes with or after them. Which
sessions are meant, and whether somebody is at work in them, is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.links import MAX_LISTED
from otel_agent_journal.store.linked import parts_in
from otel_agent_journal.store.protocol import JournalStore, StoreAdmin
from otel_agent_journal.store.rules import current, current_sessions

_TRIES: Final = 8  # against what arrives meanwhile: the rest of a batch, a head


class StandsUnder(StoreError):
    """Sessions cannot be deleted alone: `forks` are read through `session_id`, and were not named."""

    def __init__(self, session_id: str, forks: Sequence[str]) -> None:
        named = ", ".join(forks[:5]) + (f" and {len(forks) - 5} more" if len(forks) > 5 else "")
        super().__init__(
            f"session {session_id} was forked, and is read through by {named}; nothing was deleted: name these, too,"
            " or say --forks"
        )
        self.session_id = session_id
        self.forks = tuple(forks)


class Deleted(NamedTuple):
    """A session that is gone, with how many events, those of its parts among them, and which parts."""

    session_id: str
    events: int
    parts: tuple[str, ...]


def forks_of(store: JournalStore, head: SessionHead) -> list[SessionHead]:
    """Return the forks of a session that are there.

    Costs them; where a head cannot name them all, a listing of the store.
    """
    if len(head.forks) >= MAX_LISTED:
        return [one for one in current_sessions(store) if one.forked_from == head.session_id]
    found = (current(store, fork) for fork in head.forks)
    return [one for one in found if one is not None]


def in_order(store: JournalStore, heads: Sequence[SessionHead], *, forks: bool = False) -> list[SessionHead]:
    """Return sessions in the order in which they can be deleted: each behind its forks.

    Args:
        store: which can be read.
        heads: the sessions that were named.
        forks: take their forks, and the forks of these, in as well.

    Raises:
        StandsUnder: one has a fork that is not among them, and `forks` was not said.
        StoreUnreachable: and other errors of the store.
    """
    named = {head.session_id: head for head in heads}
    ordered: dict[str, SessionHead] = {}
    pending = [(head, False) for head in reversed(heads)]
    seen: set[str] = set()
    while pending:
        head, is_behind = pending.pop()
        if is_behind:
            ordered.setdefault(head.session_id, head)
            continue
        if head.session_id in seen:
            continue
        seen.add(head.session_id)
        found = forks_of(store, head)
        missing = [one.session_id for one in found if one.session_id not in named]
        if missing and not forks:
            raise StandsUnder(head.session_id, missing)
        pending += [(head, True), *((one, False) for one in reversed(found))]
    return list(ordered.values())


def delete(store: JournalStore, session_id: str) -> Deleted | None:
    """Delete a session with all that is its own, and return what that was; None where it is not there.

    Its events, head, contexts, documents and the values that it keeps apart, and those of its parts.

    Raises:
        UnsupportedByStore: where the store cannot.
        StoreError: it is written to all the time; perhaps some of it is gone.
        StoreUnreachable: and other errors of the store; call again.
    """
    if not (store.capabilities.prune and isinstance(store, StoreAdmin)):
        raise UnsupportedByStore(store.url, "delete_session")
    head = current(store, session_id)
    if head is None:
        return None
    parts = parts_in(store, session_id, head)
    for part in parts:
        delete_alone(store, part)
    delete_alone(store, session_id)
    return Deleted(session_id, head.events, parts)


def delete_alone(store: JournalStore, session_id: str) -> None:
    """Delete a session and none of its parts, until it is gone. Raises as `delete`."""
    assert isinstance(store, StoreAdmin)
    for head in _as_it_is(store, session_id):
        store.delete_session(session_id, head.cursor, head.version)
    if current(store, session_id) is not None:
        raise StoreError(f"session {session_id} is written to all the time; stop its program, and delete it again")


def _as_it_is(store: JournalStore, session_id: str) -> Iterator[SessionHead]:
    """Yield the head of a session as it is now, until it is gone, or too often."""
    for _ in range(_TRIES):
        head = current(store, session_id)
        if head is None:
            return
        yield head
