"""Segments: one conditional PUT a flush and session, under the next number, with what is not there yet.

The order is: know the session up to its end, announce it, write, and see that the announcement still held. Whoever
loses a number to another writer takes over what that one wrote, and decides again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from otel_agent_journal.errors import ConflictError, StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal_s3.announcements import Announcements, now_s
from otel_agent_journal_s3.compacting import Compactor
from otel_agent_journal_s3.known import PRUNED, Known, KnownSessions
from otel_agent_journal_s3.layout import Layout, number_of_segment
from otel_agent_journal_s3.lines import Line, body_of
from otel_agent_journal_s3.objects import Bucket

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024  # a larger flush becomes more segments; an event is never divided
_BOUND_S: Final = 60.0  # how long one flush may lose numbers to others

Decide = Callable[[Known], list[Line]]


class Segments:
    """The writer of segments. One call at a time; within it each session is of one thread."""

    def __init__(self, bucket: Bucket, layout: Layout, announcements: Announcements, compactor: Compactor) -> None:
        self._bucket = bucket
        self._layout = layout
        self._announcements = announcements
        self._compactor = compactor
        self._sessions = KnownSessions(bucket, layout)
        self._tried: dict[str, int] = {}  # the number a session may have been written under without an answer, by key
        self._late: dict[str, int] = {}  # the first segment that was written late, and is not announced yet, by key

    def start_anew(self) -> None:
        """Know nothing, in a child process."""
        self._sessions.start_anew()
        self._tried.clear()
        self._late.clear()

    def known(self, key: str) -> Known:
        """Return what is known of a session, read where it was not known."""
        known = self._sessions.get(key)
        if known is None:
            known = self._sessions.load(key)
        return known

    def forget(self, key: str) -> None:
        """Read a session again before it is written again."""
        self._sessions.forget(key)
        self._announcements.forget(key)
        self._tried.pop(key, None)
        self._late.pop(key, None)

    def ended(self, key: str) -> None:
        """Rewrite the journal of a session that has ended, if it is one that was written here."""
        known = self._sessions.get(key)
        if known is not None:
            self._compactor.after_ending(known)

    def append(self, batches: Mapping[str, Sequence[Line]]) -> None:
        """Write the lines of each session, by key, that are not there yet."""
        began = now_s()
        changed = self._bucket.each(lambda batch: self._lacks(*batch, began), list(batches.items()))
        keys = [key for key, is_changed in zip(batches, changed, strict=True) if is_changed]
        self._announce(list(dict.fromkeys([*keys, *(key for key in batches if key in self._late)])))
        self._bucket.each(lambda key: self._append_one(key, batches[key]), keys)

    def decide(
        self, key: str, instance_id: str, expected_seq: int, events: Sequence[JournalEvent], lines: list[Line]
    ) -> None:
        """Raise what `append_numbered` will, before anything is written for it."""
        self._decided(key, partial(_numbered, instance_id, expected_seq, events, lines), now_s())

    def append_numbered(
        self, key: str, instance_id: str, expected_seq: int, events: Sequence[JournalEvent], lines: list[Line]
    ) -> None:
        """Write context events in one segment if the instance's next number is the expected one."""
        self._write(
            key,
            partial(_numbered, instance_id, expected_seq, events, lines),
            lambda known: known.wrote_numbered(instance_id, events),
        )

    def _append_one(self, key: str, lines: Sequence[Line]) -> None:
        for part in _parts(lines):
            self._write(key, partial(Known.fresh, lines=part))

    def _lacks(self, key: str, lines: Sequence[Line], began: float) -> bool:
        return not (self.known(key).has_all(lines) and self._find_end(key, began).has_all(lines))

    def _decided(self, key: str, decide: Decide, began: float) -> tuple[Known, list[Line]]:
        """Return what is known of a session, and what `decide` wants to be written.

        That it refuses, or finds nothing to write, counts only on what was seen since `began`: another client may have
        written or pruned the session.
        """
        known = self.known(key)
        if known.probed < began:
            try:
                lines = decide(known)
            except (ConflictError, WrongExpectedSequence):
                lines = []
            if lines:
                return known, lines
            known = self._find_end(key, began)
        return known, decide(known)

    def _write(self, key: str, decide: Decide, wrote: Callable[[Known], object] | None = None) -> None:
        """Write what `decide` wants, asked again whenever more is known; `wrote` is told as it was written."""
        began = now_s()
        until = time.monotonic() + _BOUND_S
        while time.monotonic() < until:
            known, lines = self._decided(key, decide, began)
            if not lines:
                self._announce_late(key)
                return
            self._announce([key])
            if known.next != self.known(key).next:
                continue
            body = body_of(lines)
            number = self._tried[key] = known.next
            written = self._bucket.put_new(self._layout.segment(key, number), body)
            if written is None:
                self._take_over(known)
                continue
            known.wrote(lines, len(body))
            if wrote is not None:
                wrote(known)
            known.probed = now_s()
            self._tried.pop(key, None)
            self._see_held(key, number, written.at_s)
            self._announce_late(key)
            self._sessions.grew(len(lines))
            self._compactor.after_append(known)
            return
        raise StoreUnreachable(
            f"store {self._bucket.place.url}: others wrote session {key} first for {_BOUND_S:g} s;"
            " it is tried again later"
        )

    def _take_over(self, known: Known) -> None:
        """Read the segment that another writer, or an attempt of ours whose answer was lost, put under the next number.

        A prune's, or one that is gone by now, makes the session be read again, and announced.
        """
        key, number, keys = known.key, known.next, len(known.keys)
        stored = self._bucket.get(self._layout.segment(key, number))
        if stored is None or stored.metadata.get(PRUNED):
            self.forget(key)
            return
        known.take_segment(stored)
        self._sessions.grew(len(known.keys) - keys)
        if self._tried.get(key) == number:
            del self._tried[key]
            self._see_held(key, number, stored.modified_s)

    def _see_held(self, key: str, number: int, written_s: float) -> None:
        """Remember a segment that was written so late that followers may have left its session."""
        if not self._announcements.held(key, written_s):
            self._late.setdefault(key, number)

    def _announce_late(self, key: str) -> None:
        if key in self._late:
            self._announce([key])

    def _announce(self, keys: Sequence[str]) -> None:
        due = [key for key in keys if key in self._late or self._announcements.is_due(key)]
        if not due:
            return
        since_s = self._announcements.recent_s()
        ends = self._bucket.each(lambda key: self._find_end(key, since_s).next, due)
        self._announcements.announce({key: self._late.get(key, end) for key, end in zip(due, ends, strict=True)})
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


def _numbered(
    instance_id: str, expected_seq: int, events: Sequence[JournalEvent], lines: list[Line], known: Known
) -> list[Line]:
    return lines if known.decide(instance_id, expected_seq, events, lines) else []


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
