"""Segments: one conditional PUT a flush and session, under the next number, with what is not there yet.

The order is: know the session up to its end, announce it, mark it as unsettled, write, and see that the announcement
still held (`lease`). Whoever loses a number to another writer takes over what that one wrote, and decides again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from otel_agent_journal.codec import decode_line
from otel_agent_journal.errors import ConflictError, StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import Arrived
from otel_agent_journal_s3.announcements import Announcements, Named, now_s
from otel_agent_journal_s3.compacting import Compactor
from otel_agent_journal_s3.contents import contents_of
from otel_agent_journal_s3.instances import Instances
from otel_agent_journal_s3.known import Known, KnownSessions
from otel_agent_journal_s3.layout import Layout, number_of_segment
from otel_agent_journal_s3.lines import Line, body_of, earliest_of
from otel_agent_journal_s3.objects import BY, Bucket
from otel_agent_journal_s3.segments import ANNOUNCED, PRUNED, RESTS, SETTLED
from otel_agent_journal_s3.settling import Settling

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024  # a larger flush becomes more segments; an event is never divided
_BOUND_S: Final = 60.0  # how long one flush may lose numbers to others


class _Lines:
    """Session events: what is not there yet is written."""

    instance_ids: tuple[str, ...] = ()  # whose context they are

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.since_ns = earliest_of(lines)  # what must be known of the session, to decide

    def decide(self, known: Known) -> list[Line]:
        """Return what is to be written, by what is known; it may be refused."""
        return known.fresh(self.lines)

    def claim(self, known: Known) -> None:
        """Do what has to be done before a segment with them is written; it may be refused."""

    def wrote(self, known: Known) -> None:
        """Remember that they were written."""


class _Numbered(_Lines):
    """Context events: all are written if the instance's next number is the expected one."""

    def __init__(
        self, instances: Instances, instance_id: str, seq: int, events: Sequence[JournalEvent], lines: list[Line]
    ) -> None:
        super().__init__(lines)
        self.since_ns = 0
        self._instances = instances
        self._instance_id = instance_id
        self.instance_ids = (instance_id,)
        self._seq = seq
        self._events = events

    def decide(self, known: Known) -> list[Line]:
        is_next = known.decide(self._instance_id, self._seq, self._events, self.lines)
        return self.lines if is_next else []

    def claim(self, known: Known) -> None:
        if self._seq == 0:  # the first event claims the instance for its session
            self._instances.claim(self._instance_id, self._events[0].session_id, known)

    def wrote(self, known: Known) -> None:
        known.wrote_numbered(self._instance_id, self._events)


class _Wrote(NamedTuple):
    """A segment: how many lines it has, and where it is; `arrived` is None where what is before it has no cursor."""

    lines: int
    arrived: Arrived | None


class Segments:
    """The writer of segments. One call at a time; within it each session is of one thread."""

    def __init__(
        self,
        bucket: Bucket,
        layout: Layout,
        *,
        announcements: Announcements,
        compactor: Compactor,
        settling: Settling,
        instances: Instances,
    ) -> None:
        self._bucket = bucket
        self._layout = layout
        self._announcements = announcements
        self._compactor = compactor
        self._settling = settling
        self._instances = instances
        self._sessions = KnownSessions(bucket, layout)
        self._by = {BY: uuid.uuid4().hex}  # tells a segment of ours whose answer was lost from another's
        self._late: dict[str, int] = {}  # the first segment that was written late, and is not announced yet, by key

    def start_anew(self) -> None:
        """Know nothing, in a child process."""
        self._sessions.start_anew()
        self._by = {BY: uuid.uuid4().hex}
        self._late.clear()

    def known(self, key: str, since_ns: int | None = None) -> Known:
        """Return what is known of a session, read where it was not known from that time on; None: any will do."""
        known = self._sessions.get(key)
        if known is None or (since_ns is not None and since_ns < known.since_ns):
            known = self._sessions.load(key, self._announcements.lease, since_ns or 0)
            self._see_late(known)
        return known

    def forget(self, key: str) -> None:
        """Read a session again before it is written again."""
        self._sessions.forget(key)
        self._announcements.forget(key)
        self._late.pop(key, None)

    def ended(self, key: str, end: int | None) -> None:
        """Settle a session that has ended, and whose stored head has all before a number; rewrite its journal.

        The journal only if it is one that was written here.
        """
        number = None if end is None else self._settling.settle(key, end)
        if number is not None:
            self._announcements.forget(key)
        known = self._sessions.get(key)
        if known is not None:
            if number == known.next:
                known.take_segment(SETTLED, {})
            self._compactor.after_ending(known)

    def append(self, batches: Mapping[str, Sequence[Line]]) -> dict[str, Arrived]:
        """Write the lines of each session, by key, that are not there yet; return where they are if all were new."""
        began = now_s()
        changed = self._bucket.each(lambda batch: self._lacks(*batch, began), list(batches.items()))
        keys = [key for key, is_changed in zip(batches, changed, strict=True) if is_changed]
        self._announce(list(dict.fromkeys([*keys, *(key for key in batches if key in self._late)])))
        arrived = self._bucket.each(lambda key: self._append_one(key, batches[key]), keys)
        return {key: one for key, one in zip(keys, arrived, strict=True) if one is not None}

    def append_numbered(
        self, key: str, instance_id: str, expected_seq: int, events: Sequence[JournalEvent], lines: list[Line]
    ) -> None:
        """Write context events in one segment if the instance's next number is the expected one."""
        try:
            self._write(key, _Numbered(self._instances, instance_id, expected_seq, events, lines))
        except (ConflictError, WrongExpectedSequence):
            # Of what this session has: where the instance is of another one, that is what to say.
            self._instances.require(instance_id, events[0].session_id)
            raise

    def _append_one(self, key: str, lines: Sequence[Line]) -> Arrived | None:
        """Write lines, and return where they are if all were new, and nobody else's came between."""
        parts = _parts(lines)
        wrote = [self._write(key, _Lines(part), more=number < len(parts)) for number, part in enumerate(parts, 1)]
        found = [one.arrived for part, one in zip(parts, wrote, strict=True) if one and one.lines == len(part)]
        arrived = [one for one in found if one is not None]
        if len(arrived) < len(parts) or any(one.cursor != two.after for one, two in pairwise(arrived)):
            return None
        return Arrived(arrived[0].after, arrived[-1].cursor)

    def _lacks(self, key: str, lines: Sequence[Line], began: float) -> bool:
        return not (self.known(key, earliest_of(lines)).has_all(lines) and self._find_end(key, began).has_all(lines))

    def _decided(self, key: str, batch: _Lines, began: float) -> tuple[Known, list[Line]]:
        """Return what is known of a session, and what of a batch is to be written.

        That it refuses, or finds nothing to write, counts only on what was seen since `began`: another client may have
        written or pruned the session.
        """
        known = self.known(key, batch.since_ns)
        if known.probed < began:
            try:
                lines = batch.decide(known)
            except (ConflictError, WrongExpectedSequence):
                lines = []
            if lines:
                return known, lines
            known = self._find_end(key, began)
        return known, batch.decide(known)

    def _write(self, key: str, batch: _Lines, *, more: bool = False) -> _Wrote | None:
        """Write what of a batch is to be written, decided again whenever more is known; None for nothing.

        With `more` the session is written again at once, and does not rest.
        """
        began = now_s()
        until = time.monotonic() + _BOUND_S
        rests = {} if self._announcements.stays_open(key) or more else {RESTS: "1"}
        while time.monotonic() < until:
            known, lines = self._decided(key, batch, began)
            number = known.next
            if not lines:
                self._announce_late(key)
                return None
            self._announce([key])
            if known.next != number:  # more is known than was when it was decided
                continue
            batch.claim(known)
            if not known.marked:
                self._settling.mark(key, decode_line(lines[0].text).session_id)
                known.marked = True
            body = body_of(lines)
            told = known.told.behind(contents_of((line.key for line in lines), batch.instance_ids))
            announced = {ANNOUNCED: f"{self._announcements.at_s(key):.0f}"}
            metadata = {**self._by, **announced, **rests, **told.metadata()}
            written = self._bucket.put_new(self._layout.segment(key, number), body, metadata)
            if written is None:
                self._take_over(known)
                continue
            is_known, after = known.end > 0 or not known.keys, known.cursor
            known.wrote(lines, len(body), told, metadata)
            batch.wrote(known)
            is_held = self._see_held(key, number, written.at_s)
            known.probed = now_s() if is_held else 0.0
            self._announce_late(key)
            if not is_held and self._sessions.get(key) is not known:  # so late that a prune had passed the number
                continue
            self._sessions.grew(len(lines))
            self._compactor.after_append(known)
            return _Wrote(len(lines), Arrived(after, known.cursor or "") if is_known else None)
        raise StoreUnreachable(
            f"store {self._bucket.place.url}: others wrote session {key} first for {_BOUND_S:g} s;"
            " it is tried again later"
        )

    def _take_over(self, known: Known) -> None:
        """Read the segment that another writer, or an attempt of ours whose answer was lost, put under the next number.

        A prune's, or one that is gone by now, makes the session be read again, and announced.
        """
        key, number, keys = known.key, known.next, len(known.keys)
        stored, seen_s = self._bucket.look(self._layout.segment(key, number))
        if stored is None or stored.data == PRUNED:
            self.forget(key)
            return
        known.take_segment(stored.data, stored.metadata)
        self._sessions.grew(len(known.keys) - keys)
        if stored.metadata.get(BY) == self._by[BY]:
            self._see_held(key, number, stored.modified_s)
        else:
            known.see_late(number, stored, seen_s, self._announcements.lease)
            self._see_late(known)

    def _see_held(self, key: str, number: int, written_s: float) -> bool:
        """Remember a segment that was written so late that followers may have left its session; tell if it was not."""
        is_held = self._announcements.lease.held(self._announcements.at_s(key), written_s)
        if not is_held:
            self._late.setdefault(key, number)
        return is_held

    def _see_late(self, known: Known) -> None:
        """Announce another's segment as well that may have been left out, with the next that is written here."""
        if known.late is not None:
            self._late.setdefault(known.key, known.late)
            known.late = None

    def _announce_late(self, key: str) -> None:
        if key in self._late:
            self._announce([key])

    def _announce(self, keys: Sequence[str]) -> None:
        due = [key for key in keys if key in self._late or self._announcements.is_due(key, self.known(key).rested)]
        if not due:
            return
        since_s = self._announcements.recent_s()
        ends = self._bucket.each(lambda key: self._find_end(key, since_s).next, due)
        named = [Named(key, self._late.get(key, end), end) for key, end in zip(due, ends, strict=True)]
        self._announcements.announce(named)
        for key in due:
            self._late.pop(key, None)

    def _find_end(self, key: str, since_s: float) -> Known:
        """Return what is known of a session, up to where it ended at a time by our clock, or after it."""
        while True:
            known = self.known(key)
            if known.probed >= since_s:
                return known
            began = now_s()
            after = self._layout.segment(key, known.next - 1) if known.next else ""
            number = self._bucket.first(self._layout.segments(key), after, number_of_segment)
            if number is None:
                known.probed = began
            else:  # a later number says that what was between is gone
                self._take_over(known)


def _parts(lines: Sequence[Line]) -> list[list[Line]]:
    if sum([len(line.text) for line in lines]) <= MAX_SEGMENT_BYTES:
        return [list(lines)]
    parts, size_bytes = [list[Line]()], 0
    for line in lines:
        if parts[-1] and size_bytes + len(line.text) > MAX_SEGMENT_BYTES:
            parts.append([])
            size_bytes = 0
        parts[-1].append(line)
        size_bytes += len(line.text)
    return parts
