"""Segments: one conditional PUT a flush and session, under the next number, with what is not there yet.

The order is: know the session up to its end, announce it, write, and see that the announcement still held. Whoever
loses a number to another writer takes over what that one wrote, and decides again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal_s3.announcements import Announcements, now_s
from otel_agent_journal_s3.compacting import Compactor
from otel_agent_journal_s3.known import PRUNED, Known, KnownSessions
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lines import Line, body_of
from otel_agent_journal_s3.objects import Bucket

MAX_SEGMENT_BYTES: Final = 8 * 1024 * 1024  # a larger flush becomes more segments; an event is never divided
_BOUND_S: Final = 60.0  # how long one flush may lose numbers to others


class Segments:
    """The writer of segments. One call at a time; within it each session is of one thread."""

    def __init__(self, bucket: Bucket, layout: Layout, announcements: Announcements, compactor: Compactor) -> None:
        self._bucket = bucket
        self._layout = layout
        self._announcements = announcements
        self._compactor = compactor
        self._sessions = KnownSessions(bucket, layout)

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

    def ended(self, key: str) -> None:
        """Rewrite the journal of a session that has ended, if it is one that was written here."""
        known = self._sessions.get(key)
        if known is not None:
            self._compactor.after_ending(known)

    def append(self, batches: Mapping[str, Sequence[Line]]) -> None:
        """Write the lines of each session, by key, that are not there yet."""
        changed = self._bucket.each(lambda batch: not self.known(batch[0]).has_all(batch[1]), list(batches.items()))
        keys = [key for key, is_changed in zip(batches, changed, strict=True) if is_changed]
        self._announce(keys)
        self._bucket.each(lambda key: self._append_one(key, batches[key]), keys)

    def append_numbered(
        self, key: str, instance_id: str, expected_seq: int, events: Sequence[JournalEvent], lines: list[Line]
    ) -> None:
        """Write context events in one segment if the instance's next number is the expected one."""

        def decide(known: Known) -> list[Line]:
            return lines if known.decide(instance_id, expected_seq, events, lines) else []

        known = self._write(key, decide)
        if known is not None:
            known.wrote_numbered(instance_id, events)

    def _append_one(self, key: str, lines: Sequence[Line]) -> None:
        for part in _parts(lines):
            self._write(key, partial(Known.fresh, lines=part))

    def _write(self, key: str, decide: Callable[[Known], list[Line]]) -> Known | None:
        """Write what `decide` wants, asked again whenever more is known; return what is known if it was written."""
        until = time.monotonic() + _BOUND_S
        while time.monotonic() < until:
            known = self.known(key)
            lines = decide(known)
            if not lines:
                return None
            self._announce([key])
            if known.next != self.known(key).next:
                continue
            body = body_of(lines)
            number = known.next
            written = self._bucket.put_new(self._layout.segment(key, number), body)
            if written is None:
                taken_s = self._take_over(known)
                self._see_announced(key, number, taken_s)  # it may be ours, its answer lost
                continue
            known.wrote(lines, len(body))
            known.probed = now_s()
            self._see_announced(key, number, written.at_s)
            self._compactor.after_append(known)
            return known
        raise StoreUnreachable(
            f"store {self._bucket.place.url}: others wrote session {key} first for {_BOUND_S:g} s;"
            " it is tried again later"
        )

    def _take_over(self, known: Known) -> float:
        """Read the segment that another writer, or an attempt of ours, put under the next number; return when it was.

        A prune's, or one that is gone by now, makes the session be read again, and announced.
        """
        stored = self._bucket.get(self._layout.segment(known.key, known.next))
        if stored is None or stored.metadata.get(PRUNED):
            self.forget(known.key)
            return 0.0
        known.take_segment(stored)
        return stored.modified_s

    def _see_announced(self, key: str, number: int, written_s: float) -> None:
        """Announce a segment that was written so late that followers may have left its session."""
        if written_s and not self._announcements.held(key, written_s):
            self._announcements.announce({key: number})

    def _announce(self, keys: Sequence[str]) -> None:
        due = [key for key in keys if self._announcements.is_due(key)]
        if not due:
            return
        self._bucket.each(self._find_end, due)
        self._announcements.announce({key: self.known(key).next for key in due})

    def _find_end(self, key: str) -> None:
        """Know a session up to where it ends now, or a moment ago."""
        while True:
            known = self.known(key)
            if self._announcements.is_recent(known.probed):
                return
            began = now_s()
            stored = self._bucket.get(self._layout.segment(key, known.next))
            if stored is None:
                known.probed = began
                return
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
