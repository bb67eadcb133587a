"""Which ending belongs to which START: one rule for a session's status, its tree and its spans. Pure.

Our endings say by their id and by how long it took when their attempt began. One that says neither, as those of other
writers may, ends every attempt of its number that had begun by then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from otel_agent_journal.event import END_TYPES, START_TYPES, JournalEvent, step_event_id

Number = tuple[str | None, str | None, int]
"""Writer, step and attempt. One writer counts the attempts at a step: no two of the same number are open at a time."""


def is_start(event: JournalEvent) -> bool:
    """Tell whether an event begins an attempt."""
    return event.type in START_TYPES


def is_ending(event: JournalEvent) -> bool:
    """Tell whether an event ends an attempt."""
    return event.type in END_TYPES


def number_of(event: JournalEvent) -> Number:
    """Return which attempt an event tells of, as its writer counts them."""
    return (event.writer, event.step_id, event.attempt or 1)


def begun_ns(event: JournalEvent) -> int | None:
    """Return when the attempt of a START or an ending began; None where an ending does not say it."""
    if event.type in START_TYPES:
        return event.timestamp_ns
    return None if event.duration_ns is None else event.timestamp_ns - event.duration_ns


def ending_id(event: JournalEvent, start_ns: int) -> str:
    """Return the id that the ending of an attempt should have: that of the step of an event, begun at a time."""
    return step_event_id(event.step_id or "", event.attempt or 1, start_ns, "END")


def paired(ordered: Sequence[JournalEvent]) -> Iterator[tuple[str, JournalEvent | None, JournalEvent | None]]:
    """Yield each attempt's key, its START and its ending, as far as they are there.

    Args:
        ordered: events of one session in order of time, each once; those that tell of no attempt are passed over.
    """
    starts: dict[str, JournalEvent] = {}
    numbered: dict[Number, list[str]] = defaultdict(list)
    for event in ordered:
        if is_start(event) and event.step_id is not None:
            key = ending_id(event, event.timestamp_ns)
            if starts.setdefault(key, event) is event:
                numbered[number_of(event)].append(key)
    ends: dict[str, JournalEvent] = {}
    loose: list[JournalEvent] = []
    for event in ordered:
        if is_ending(event) and event.step_id is not None:
            start_ns = begun_ns(event)
            if event.event_id in starts:
                ends[event.event_id] = event
            elif start_ns is not None:
                ends[ending_id(event, start_ns)] = event
            else:
                loose.append(event)
    ended: dict[Number, int] = defaultdict(int)  # how many of a number began by then
    for event in loose:
        number = number_of(event)
        begun = numbered.get(number, [])
        while ended[number] < len(begun) and starts[begun[ended[number]]].timestamp_ns <= event.timestamp_ns:
            ends.setdefault(begun[ended[number]], event)
            ended[number] += 1
        if not ended[number]:
            ends.setdefault(event.event_id, event)
    for key in starts | ends:
        yield key, starts.get(key), ends.get(key)
