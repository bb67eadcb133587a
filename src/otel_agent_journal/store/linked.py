"""A session read whole: its own events and those of the traces that are part of it, each once.

Which traces those are is in the head, so that a session without any costs one head more than reading it, and none is
read twice. Where there is no head, or it is full (`MAX_LISTED`), the session's own events are looked through for them
first. A part that neither knows, since its link came a moment ago, is read as its link comes by: its earlier events
come then. Nothing is followed further than from a session to its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.links import MAX_LISTED, link_of, part_named_by
from otel_agent_journal.store.protocol import JournalStore


def parts_in(store: JournalStore, session_id: str, head: SessionHead | None = None) -> tuple[str, ...]:
    """Return the traces that are part of a session, in order.

    Args:
        head: the session's, where it is at hand.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    if head is None and store.capabilities.heads:
        head = store.head(session_id)
    if head is not None and len(head.parts) < MAX_LISTED:
        return head.parts
    found = {part for event in store.read(session_id) if (part := part_named_by(event)) is not None}
    return tuple(sorted(found))


def read_whole(
    store: JournalStore, session_id: str, after: tuple[int, str] | None = None, *, head: SessionHead | None = None
) -> Iterator[JournalEvent]:
    """Yield a session's events and those of its parts, in order of `(timestamp_ns, event_id)`, as they are stored.

    Of an event that is in several the session's own is taken. A page of each part is in memory, nothing else.

    Args:
        after: the position of the last event already had.
        head: the session's, where it is at hand.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    known = set(parts_in(store, session_id, head))
    streams = [store.read(one, after) for one in (session_id, *sorted(known))]
    in_time = len(streams)
    last: tuple[int, str] | None = None
    if in_time == 1:
        for event in streams[0]:  # alone, as most are, until a part turns up
            position = event.timestamp_ns, event.event_id
            if position != last:
                last = position
                yield event
                part = part_named_by(event)
                if part is not None:
                    known.add(part)
                    streams.append(store.read(part, after))
                    break
    heap: list[tuple[int, str, int, JournalEvent]] = []
    for place, stream in enumerate(streams):
        _push(heap, place, stream)
    while heap:
        timestamp_ns, event_id, place, event = heappop(heap)
        is_copy = place >= in_time and (link_of(event) or "?")[0] == session_id  # of the link that the session has
        if not is_copy and (timestamp_ns, event_id) != last:
            last = timestamp_ns, event_id
            yield event
            part = part_named_by(event)
            if part is not None and part not in known:
                known.add(part)
                streams.append(store.read(part, after))
                _push(heap, len(streams) - 1, streams[-1])
        _push(heap, place, streams[place])


def _push(heap: list[tuple[int, str, int, JournalEvent]], place: int, stream: Iterator[JournalEvent]) -> None:
    event = next(stream, None)
    if event is not None:
        heappush(heap, (event.timestamp_ns, event.event_id, place, event))
