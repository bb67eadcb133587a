"""The rules of `append_context` that are the same for every backend that decides them itself. Pure.

A backend reads what is at the wanted place of an instance's sequence, in the transaction in which it will write, and
asks `verdict`; how it reads, locks and writes is its own matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast

from otel_agent_journal.codec import digest
from otel_agent_journal.errors import ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent

LAST_SEQ: Final = 10**16 - 1  # no instance has as many events

Verdict = Literal["write", "written already"]


def require_gapless(instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
    """Raise StoreError unless `events` are of this instance, of one session, numbered from `expected_seq` on."""
    if expected_seq < 0:
        raise StoreError(f"instance {instance_id}: the expected sequence is {expected_seq}, the first is 0")
    for seq, event in enumerate(events, expected_seq):
        if event.instance_id != instance_id or event.seq != seq:
            raise StoreError(
                f"event {event.event_id} is number {event.seq} of instance {event.instance_id}, where number {seq}"
                f" of instance {instance_id} belongs; nothing was written"
            )
        if event.session_id != events[0].session_id:
            raise StoreError(
                f"event {event.event_id} is of session {event.session_id}, the first one of {events[0].session_id};"
                " an instance is in one session; nothing was written"
            )


def require_session_event(event: JournalEvent) -> None:
    """Raise StoreError for an event with a sequence number: those are decided by `append_context`."""
    if event.seq is not None:
        raise StoreError(
            f"event {event.event_id} is number {event.seq} of instance {event.instance_id}:"
            " such events are written by append_context, which keeps the sequence gapless"
        )


def verdict(
    instance_id: str, expected_seq: int, next_seq: int, there: Sequence[JournalEvent], events: Sequence[JournalEvent]
) -> Verdict:
    """Say what becomes of `events`, given the instance's next sequence and what is `there` from `expected_seq` on.

    Raises:
        WrongExpectedSequence: another writer was first.
        ConflictError: one of the events is there with another content.
    """
    if expected_seq == next_seq:
        return "write"
    pairs = list(zip(there, events, strict=False))
    for stored, event in pairs:
        if stored.event_id == event.event_id and content_of(stored) != content_of(event):
            raise ConflictError(event.event_id)
    if len(there) == len(events) and all(stored.event_id == event.event_id for stored, event in pairs):
        return "written already"
    raise WrongExpectedSequence(instance_id, expected_seq, next_seq)


def agent_of(first: JournalEvent) -> tuple[str | None, str | None]:
    """Return the name of the agent, and the instance it works for, as the first event of a context says them."""
    agent: Any = first.details.get("agent")
    if first.seq != 0 or not isinstance(agent, Mapping):
        return None, None
    said = cast("Mapping[str, Any]", agent)
    name, parent = said.get("name"), said.get("parent")
    return name if isinstance(name, str) else None, parent if isinstance(parent, str) else None


def at_most(limit: int | None) -> int | None:
    """Return a limit that is no less than nothing."""
    return None if limit is None else max(0, limit)


def in_pages(
    page: Callable[[int, int, int], Sequence[JournalEvent]],
    from_seq: int,
    *,
    limit: int | None,
    newest_first: bool,
    page_events: int,
) -> Iterator[JournalEvent]:
    """Yield an instance's events as `JournalStore.read_context` does, from a backend that gives them in pages.

    Args:
        page: takes the first and the last number that are wanted and how many of them at most, and returns those that
            there are: in the order that is wanted, so the last of them first with `newest_first`.
        from_seq: the first number.
        limit: how many at most.
        newest_first: whether from the last one down.
        page_events: how many to ask for at once.
    """
    first, last, left = max(0, from_seq), LAST_SEQ, at_most(limit)
    while left is None or left:
        size = page_events if left is None else min(left, page_events)
        found = page(first, last, size)
        yield from found
        if len(found) < size:
            return
        number = found[-1].seq or 0
        first, last = (first, number - 1) if newest_first else (number + 1, last)
        left = None if left is None else left - size


def content_of(event: JournalEvent) -> str:
    """Return the digest an event carries, or would carry."""
    return event.digest or digest(event)
