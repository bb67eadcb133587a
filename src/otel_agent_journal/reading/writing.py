"""Events of a journal into another store, as they came: all that is written is idempotent, heads follow behind.

For what brings a journal from elsewhere: copies of stores, files that are imported. Blobs are written before by who has
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Final, TypeVar, cast

from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.errors import ConflictError, EventTooLarge, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.sequence import content_of

CONTEXT_EVENTS: Final = 25  # in one atomic write: DynamoDB takes 100 items in one, and an event may be several
_LAGGING_HEADS: Final = 2000  # sessions whose heads are not written yet

Result = TypeVar("Result")
Insist = Callable[[Callable[[], Result]], Result]
Earlier = Callable[[str, int, int], Sequence[JournalEvent]]


class EventWriter:
    """Writes to `target`. `insist` makes each call to it, and may try it again. Used by one thread."""

    def __init__(self, target: JournalStore, *, insist: Insist[Any]) -> None:
        self._target = target
        self._insist = insist
        self.heads = HeadKeeper(target, insist)

    def append(self, events: Sequence[JournalEvent]) -> tuple[EventTooLarge, ...]:
        """Append session events, without those that the target can never take."""
        too_large: list[EventTooLarge] = []
        while events:
            try:
                self.heads.note(events, self._insist(lambda batch=events: self._target.append(batch)))
                break
            except EventTooLarge as error:
                left = [event for event in events if event.event_id != error.event_id]
                if len(left) == len(events):
                    raise
                too_large.append(error)
                events = left
        return tuple(too_large)

    def append_context(self, instance_id: str, run: Sequence[JournalEvent], earlier: Earlier) -> None:
        """Append a gapless run of an instance's events, whatever of it is there already.

        Args:
            instance_id: the instance.
            run: as `runs_of` gives them.
            earlier: returns events that come before the run and are not there yet, by their first and last number.

        Raises:
            ConflictError: there is another event in the place of one.
            WrongExpectedSequence: events before the run are not there, and cannot be had.
        """
        first = cast("int", run[0].seq)
        try:
            self._insist(lambda: self._target.append_context(instance_id, first, run))
            self._noted(run)
            return
        except WrongExpectedSequence as error:
            next_seq = error.actual
        if next_seq > first:  # a part is there: a copy was broken off, or the target was written to
            there = self._insist(lambda: sequence_of(self._target, instance_id, first, next_seq - 1))
            for stored, event in zip(there, run, strict=False):
                if stored.event_id != event.event_id or content_of(stored) != content_of(event):
                    raise ConflictError(event.event_id)
            rest = run[len(there) :]
        else:  # the source gave a later part first
            rest = earlier(instance_id, next_seq, cast("int", run[-1].seq))
        for _, part in runs_of(rest):
            begin = cast("int", part[0].seq)
            self._insist(lambda at=begin, part=part: self._target.append_context(instance_id, at, part))
        self._noted(run)

    def _noted(self, events: Sequence[JournalEvent]) -> None:
        self.heads.note(events)
        if self.heads.lagging >= _LAGGING_HEADS:
            self.heads.write()


def runs_of(events: Iterable[JournalEvent]) -> Iterator[tuple[str, list[JournalEvent]]]:
    """Yield context events by instance in gapless runs, none too long to be written at once."""
    instances: dict[str, list[JournalEvent]] = {}
    for event in events:
        instances.setdefault(cast("str", event.instance_id), []).append(event)
    for instance_id, found in instances.items():
        run: list[JournalEvent] = []
        for event in sorted(found, key=lambda event: cast("int", event.seq)):
            if run and (len(run) == CONTEXT_EVENTS or event.seq != cast("int", run[-1].seq) + 1):
                yield instance_id, run
                run = []
            run.append(event)
        yield instance_id, run


def sequence_of(store: JournalStore, instance_id: str, first: int, last: int) -> list[JournalEvent]:
    """Return an instance's events from one number to another, both included."""
    found = store.read_context(instance_id, first)
    return list(takewhile(lambda event: cast("int", event.seq) <= last, found))
