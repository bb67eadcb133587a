"""What a writer knows of a session: which events are there, the sequences of its instances, the next segment's number.

It is complete up to that number, and a segment is written under a number only if nobody else has it: so whoever
writes knows of every event before its own, and a repetition is never written. A number that is lost to another writer
is read, and then known too. Marks among the segments end what was known, or what was promised.

Who writes events without numbers need not know of those before their time: what may have later ones is read, by what
the last segments tell of the others, and no more. Whoever writes an earlier event, or context, reads the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from threading import RLock
from typing import Final

from otel_agent_journal.errors import ConflictError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.sequence import content_of, verdict
from otel_agent_journal_s3.announcements import now_s
from otel_agent_journal_s3.contents import NOTHING, UNKNOWN, Contents, Told, contents_of, offset_of, told_by
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lease import Lease
from otel_agent_journal_s3.lines import Line, read_body
from otel_agent_journal_s3.objects import Bucket, Stored
from otel_agent_journal_s3.segments import (
    ANNOUNCED,
    SETTLED,
    Segment,
    cursor_of,
    end_of,
    last_pruned,
    rests_after,
    segments_of,
)

MAX_KEYS: Final = 1_000_000  # events of all sessions together that a writer remembers: about 150 bytes each
_GROWS: Final = 10_000  # by so many they may be more, since counting takes a look at each session
LAST_BYTES: Final = 64 * 1024  # of a journal, that are fetched with what it says of itself
COVERS: Final = "covers"  # metadata of a journal: the number of the first segment that is not in it
SPENT: Final = "spent"  # metadata of a journal: bytes of all its rewritings so far


class Known:
    """One session, as far as a writer must know it.

    `marked`: a marker says that it may be unsettled, which was put when `next` was known. Such a marker holds until
    a mark is met among the segments: who put that one may have deleted it.
    `rested`: the number behind the last segment after which the session rests, as far as that is known.
    `since_ns`: of which time on the events are known; with 0 all, and the sequences of the instances.
    """

    def __init__(self, key: str, since_ns: int = 0) -> None:
        self.key = key
        self.since_ns = since_ns
        self.began = 0  # the number behind the last prune
        self.next = 0
        self.end = 0  # the number behind the last segment with events
        self.marked = False
        self.rested = 0
        self.told = Told()  # what the next segment tells of those before it
        self.late: int | None = None  # the first segment that was written late by another, and may not be announced yet
        self.probed = 0.0  # when `next` was seen to be the end, by our clock
        self.keys: set[bytes] = set()
        self.instances: dict[str, list[JournalEvent]] = {}
        self.size_bytes = 0  # of all segments
        self.covered_bytes = 0  # of those that are in the journal
        self.covers = 0
        self.spent_bytes = 0

    def take(self, body: bytes) -> Contents:
        """Remember the events of a body; return what it has."""
        numbered: list[tuple[int, str, str, str]] = []
        reads = list(read_body(body))
        for read in reads:
            if read.line.key in self.keys:
                continue
            self.keys.add(read.line.key)
            if read.instance_id is not None and read.seq is not None:
                numbered.append((read.seq, read.instance_id, read.event_id, read.digest))
        for seq, instance_id, event_id, content in sorted(numbered, key=_seq):  # a journal is in order of time
            self._take_numbered(instance_id, seq, event_id, content)
        instances = {read.instance_id for read in reads if read.instance_id is not None and read.seq is not None}
        return contents_of((read.line.key for read in reads), instances)

    def take_segment(self, body: bytes, metadata: Mapping[str, str]) -> None:
        """Remember the segment of the next number, which another writer wrote; it is not a prune's."""
        if body == SETTLED:
            self.marked = False
            self.told = self.told.behind(NOTHING)
        else:
            self.told = self.told.behind(self.take(body))
            self.end = self.next + 1
        self._passed(len(body), metadata)

    def see_late(self, number: int, stored: Stored, now_s: float, lease: Lease) -> None:
        """Remember another's segment that may not be announced yet, now by the server's clock."""
        at_s = float(stored.metadata.get(ANNOUNCED, stored.modified_s))
        if self.late is None and lease.is_late(at_s, stored.modified_s, now_s):
            self.late = number

    def wrote(self, lines: Iterable[Line], size_bytes: int, told: Told, metadata: Mapping[str, str]) -> None:
        """Remember what was just written under the next number."""
        self.keys.update(line.key for line in lines)
        self.told = told
        self._passed(size_bytes, metadata)
        self.end = self.next

    def _passed(self, size_bytes: int, metadata: Mapping[str, str]) -> None:
        self.size_bytes += size_bytes
        self.next += 1
        if rests_after(size_bytes, metadata):
            self.rested = self.next

    @property
    def cursor(self) -> str | None:
        """The session's cursor behind its last event; None where none has arrived."""
        return cursor_of(self.key, self.end) if self.end else None

    def wrote_numbered(self, instance_id: str, events: Sequence[JournalEvent]) -> None:
        """Remember the numbers of context events that were just written."""
        for event in events:
            self._take_numbered(instance_id, event.seq or 0, event.event_id, content_of(event))

    def has_all(self, lines: Iterable[Line]) -> bool:
        """Tell whether all of these lines are there."""
        return all(line.key in self.keys for line in lines)

    def fresh(self, lines: Iterable[Line]) -> list[Line]:
        """Return the lines that are not there yet, each once."""
        keys, found = self.keys, dict[bytes, Line]()
        for line in lines:
            if line.key not in keys and line.key not in found:
                found[line.key] = line
        return list(found.values())

    def decide(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent], lines: list[Line]) -> bool:
        """Tell whether context events are to be written; False where they are there already.

        Raises:
            WrongExpectedSequence: another writer was first.
            ConflictError: one of them is there with another content, or its id or key is taken.
        """
        sequence = self.instances.get(instance_id, [])
        there = sequence[expected_seq : expected_seq + len(events)]
        if verdict(instance_id, expected_seq, len(sequence), there, events) == "written already":
            return False
        ids = {event.event_id for event in sequence}
        for event, line in zip(events, lines, strict=True):
            if event.event_id in ids or line.key in self.keys:
                raise ConflictError(event.event_id)
            ids.add(event.event_id)
        if len({line.key for line in lines}) < len(lines):
            raise ConflictError(events[0].event_id)
        return True

    def _take_numbered(self, instance_id: str, seq: int, event_id: str, content: str) -> None:
        sequence = self.instances.setdefault(instance_id, [])
        if seq == len(sequence):
            stub = JournalEvent(
                session_id="",
                event_id=event_id,
                type="",
                timestamp_ns=0,
                instance_id=instance_id,
                seq=seq,
                digest=content,
            )
            sequence.append(stub)


def _seq(numbered: tuple[int, str, str, str]) -> int:
    return numbered[0]


class KnownSessions:
    """The sessions that a client writes, the latest written first kept; others are read again when they are needed."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._grown = 0  # keys that came since room was made
        self._lock = RLock()

    def start_anew(self) -> None:
        """Know nothing, in a child process: what another thread was changing as it was forked may be half done."""
        self._known, self._lock = OrderedDict(), RLock()

    def get(self, key: str) -> Known | None:
        """Return what is known of a session already."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def load(self, key: str, lease: Lease, since_ns: int = 0) -> Known:
        """Read what has to be known of a session, of a time on: one LIST where it is new."""
        known, began = Known(key, since_ns), now_s()
        items = list(self._bucket.list(self._layout.session(key), self._layout.behind_values(key)))
        segments = segments_of(items)
        if any(item.name == self._layout.journal(key) for item in items):
            self._take_journal(known)
        first = last_pruned(segments) + 1
        if first > known.covers:  # the journal is of before that
            known = Known(key, since_ns)
        known.began, first = first, max(first, known.covers)
        bodies = [one for one in segments if one.number >= first and one.has_events]
        found: dict[int, Stored | None] = {}
        for one, (stored, looked_s) in self._looks(bodies, since_ns):
            found[one.number] = stored
            if stored is not None:
                known.take(stored.data)
                known.see_late(one.number, stored, looked_s, lease)
        if len(found) == len(bodies) and known.covers == 0:
            known.since_ns = 0  # which is all of it
        known.told = self._told(segments, found)
        known.covered_bytes = sum(one.size_bytes for one in segments if one.number < known.covers)
        known.size_bytes = sum(one.size_bytes for one in segments)
        known.next = segments[-1].number + 1 if segments else 0
        known.end = end_of(segments)
        if known.covers > known.next:  # the journal was rewritten since they were listed
            known.next = known.end = known.covers
            known.told = UNKNOWN
        known.rested = known.next  # it may rest after any of them
        known.probed = began
        with self._lock:
            self._known[key] = known
            self._make_room()
        return known

    def grew(self, keys: int) -> None:
        """Make room where so many more keys are too many; the session that was used last stays, whatever its size."""
        with self._lock:
            self._grown += keys
            if self._grown >= _GROWS:
                self._make_room()

    def forget(self, key: str) -> None:
        """Drop what is known of a session: it is read again."""
        with self._lock:
            self._known.pop(key, None)

    def _told(self, segments: Sequence[Segment], found: Mapping[int, Stored | None]) -> Told:
        """Return what the next segment has to tell of those that are listed, some of which were fetched."""
        told, marks = Told(), 0
        for one in reversed(segments):
            if one.has_events:
                stored = found[one.number] if one.number in found else self._bucket.get_first(one.name, 1)
                told = UNKNOWN if stored is None else told_by(stored.metadata)
                break
            if one.is_pruned:
                break
            marks += 1
        for _ in range(marks):
            told = told.behind(NOTHING)
        return told

    def _looks(self, segments: list[Segment], since_ns: int) -> Iterable[tuple[Segment, tuple[Stored | None, float]]]:
        """Return those of the segments that may have events of this time or a later one, and the last, with both."""
        look, last = self._bucket.look, segments[-1:] if since_ns else []
        looks = [look(one.name) for one in last]
        stored = looks[0][0] if looks else None
        told, end = UNKNOWN if stored is None else told_by(stored.metadata), segments[-1].number if segments else 0

        def may_have_later(number: int) -> bool:
            back = end - number
            return (told.nearest[back] if back < len(told.nearest) else told.earlier).may_be_after(since_ns)

        rest = [one for one in segments[: len(segments) - len(last)] if may_have_later(one.number)]
        return zip([*rest, *last], [*self._bucket.each(look, [one.name for one in rest]), *looks], strict=True)

    def _take_journal(self, known: Known) -> None:
        name = self._layout.journal(known.key)
        journal = self._bucket.get_last(name, LAST_BYTES) if known.since_ns else self._bucket.get(name)
        if journal is not None and len(journal.data) < journal.size_bytes:
            start = offset_of(journal.metadata, known.since_ns) - (journal.size_bytes - len(journal.data))
            whole = None if start >= 0 else self._bucket.get(name)
            journal = journal._replace(data=journal.data[max(0, start) :]) if whole is None else whole
        if journal is None:
            return
        known.take(journal.data)
        known.covers = int(journal.metadata.get(COVERS, "0"))
        known.spent_bytes = int(journal.metadata.get(SPENT, "0"))

    def _make_room(self) -> None:
        self._grown = 0
        total = sum(len(known.keys) for known in self._known.values())
        while total > MAX_KEYS and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            total -= len(oldest.keys)
