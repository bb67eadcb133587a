"""Following: every event once, in each session in the order it was written, whoever writes and however late.

A cursor over all sessions holds a place in the log of announcements, and a place in each session whose announcement is
not over yet: as many as were written lately. Which of them must be looked at is in `lease`. One over a single session
holds its place there alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import Page
from otel_agent_journal_s3.announcements import Announced, Announcements
from otel_agent_journal_s3.layout import Layout, number_of_segment
from otel_agent_journal_s3.lease import Watch
from otel_agent_journal_s3.lines import events_of
from otel_agent_journal_s3.objects import Bucket
from otel_agent_journal_s3.segments import Segment, cursor_of, end_of, place_of_cursor, rests_after, segments_of

_CACHED: Final = 8  # segments kept decoded: a page may end within one, and the next goes on from there


@dataclass
class _Held(Watch):
    """A session that is looked after, by the last entry that names it."""

    entry: int = 0
    index: int = 0
    key: str = ""


@dataclass
class _Cursor:
    log: int = 0
    held: list[_Held] = field(default_factory=list[_Held])

    def __str__(self) -> str:
        places = (
            f";{one.entry}.{one.index}.{one.segment}.{one.offset}.{'' if one.rests else one.since}" for one in self.held
        )
        return f"a{self.log}{''.join(places)}"


class _Segment(NamedTuple):
    """A segment as it is followed. `written_s` is by the server's clock."""

    events: list[JournalEvent]
    written_s: float
    rests: bool


class Follower:
    """Reads what arrived, by cursors. Thread-safe."""

    def __init__(self, bucket: Bucket, layout: Layout, announcements: Announcements) -> None:
        self._bucket = bucket
        self._layout = layout
        self._log = announcements
        self._lease = announcements.lease
        self._decoded: OrderedDict[str, tuple[_Segment, str]] = OrderedDict()  # by name, with ETags

    def follow(self, text: str | None, limit: int) -> Page:
        """Return the next events of all sessions."""
        if text is not None and text.startswith("s"):
            raise StoreError(f"cursor '{text}' is of one session; start at None or the tip to follow all of them")
        cursor = _Cursor() if text is None else self._cursor(text)
        found: list[JournalEvent] = []
        self._give_all(cursor.held, found, limit)
        while len(found) < limit:
            entry, now_s = self._log.entry(cursor.log)
            if entry is None:
                self._leave(cursor, now_s, found, limit)
                break
            self._leave(cursor, entry.at_s, found, limit)
            if len(found) >= limit:
                break
            cursor.log += 1
            self._give_all(self._take(cursor, entry), found, limit)
        return Page(tuple(found), str(cursor))

    def tip(self) -> str:
        """Return the cursor over all sessions after everything that is there now."""
        end, entries = self._log.holding()
        held = dict[str, _Held]()
        for entry in entries:
            for index, named in enumerate(entry.sessions):
                one = held.setdefault(named.key, _held(entry, index))
                self._name(one, entry, index)
                one.segment = max(one.segment, named.first)
        self._bucket.each(self._go_to_end, list(held.values()))
        return str(_Cursor(end, list(held.values())))

    def tip_of(self, key: str) -> str | None:
        """Return a session's cursor behind its last event; None where it has none."""
        end = end_of(segments_of(self._bucket.list(self._layout.segments(key))))
        return cursor_of(key, end) if end else None

    def follow_session(self, key: str, text: str | None, limit: int) -> Page:
        """Return the next events of one session, and the cursor behind the last of them."""
        segment, offset = self.place(key, text)
        after = cursor_of(key, segment, offset) if text is None else text
        found: list[JournalEvent] = []
        while len(found) < limit:
            found_there, _ = self._segment(key, segment)
            if found_there is None:
                following = self._from(key, segment)
                if following is None:
                    break
                if following > segment:  # what was between was pruned
                    segment, offset = following, 0
                continue
            part = found_there.events[offset : offset + limit - len(found)]
            found.extend(part)
            offset += len(part)
            if offset >= len(found_there.events):
                self._decoded.pop(self._layout.segment(key, segment), None)
                segment, offset = segment + 1, 0
            if part:
                after = cursor_of(key, segment, offset)
        return Page(tuple(found), after)

    # --- all sessions -------------------------------------------------------------------------------------------------

    def _give_all(self, held: Iterable[_Held], found: list[JournalEvent], limit: int) -> None:
        for one in held:
            if len(found) >= limit:
                return
            self._give(one, found, limit)

    def _give(self, one: _Held, found: list[JournalEvent], limit: int, log_s: float = 0.0) -> None:
        """Give what there is of a session under its announcement, the log being read up to a time."""
        while len(found) < limit and not one.rests:
            segment, now_s = self._segment(one.key, one.segment)
            if segment is None:
                one.nothing(now_s)
                return
            if not self._lease.is_given(one.at_s, segment.written_s, log_s):
                return
            part = segment.events[one.offset : one.offset + limit - len(found)]
            found.extend(part)
            one.offset += len(part)
            if one.offset >= len(segment.events):
                self._decoded.pop(self._layout.segment(one.key, one.segment), None)
                one.passed(segment.rests)

    def _leave(self, cursor: _Cursor, log_s: float, found: list[JournalEvent], limit: int) -> None:
        """Leave the sessions whose announcement is over, the log being read up to a time, once all of them is given."""
        for one in [one for one in cursor.held if self._lease.is_over(one.at_s, log_s)]:
            if not one.is_left(self._lease, log_s):
                self._give(one, found, limit, log_s)
            if len(found) >= limit:
                return
            if one.is_left(self._lease, log_s):
                cursor.held.remove(one)

    def _take(self, cursor: _Cursor, entry: Announced) -> list[_Held]:
        """Look after what an entry announces; return the sessions that may have something to give."""
        taken: list[_Held] = []
        by_key = {one.key: one for one in cursor.held}
        for index, named in enumerate(entry.sessions):
            one = by_key.get(named.key)
            if one is None:
                one = _held(entry, index)
                cursor.held.append(one)
            else:
                self._name(one, entry, index)
                self._skip_pruned(one, named.first)
            taken.append(one)
        return taken

    def _name(self, one: _Held, entry: Announced, index: int) -> None:
        one.entry, one.index = entry.number, index
        one.announced(entry.at_s, entry.sessions[index].since)

    def _go_to_end(self, one: _Held) -> None:
        """Go behind everything that is there of a session."""
        last = self._last(one.key, one.segment)
        if last is not None:
            metadata = self._bucket.metadata(last.name) if last.has_events else None
            one.segment = last.number
            one.passed(rests_after(last.size_bytes, metadata or {}))

    def _skip_pruned(self, one: _Held, segment: int) -> None:
        """Go on where a session is announced from, where what was before that is gone."""
        if one.segment < segment and self._segment(one.key, one.segment)[0] is None:
            one.segment, one.offset = segment, 0  # it is announced, so that it does not rest

    def _cursor(self, text: str) -> _Cursor:
        log, *places = text.removeprefix("a").split(";")
        numbers = [place.split(".") for place in places]
        if not text.startswith("a") or not log.isdecimal():
            raise self._foreign(text)
        cursor = _Cursor(int(log))
        if cursor.log and self._log.entry(cursor.log - 1)[0] is None:
            raise self._foreign(text)
        for place in numbers:
            *parts, since = place
            if len(parts) != 4 or not all(part.isdecimal() for part in (*parts, since or "0")):
                raise self._foreign(text)
            entry, index, segment, offset = (int(part) for part in parts)
            announced = self._log.entry(entry)[0] if entry < cursor.log else None
            if announced is None or index >= len(announced.sessions):
                raise self._foreign(text)
            one = _held(announced, index)
            one.segment, one.offset, one.rests = segment, offset, not since
            one.since = max(one.since, int(since or 0))
            cursor.held.append(one)
        return cursor

    # --- one session --------------------------------------------------------------------------------------------------

    def place(self, key: str, text: str | None) -> tuple[int, int]:
        """Return the segment and the event in it at which a cursor stands, one of the session or one over all.

        Raises:
            StoreError: it is none of this store.
        """
        if text is None:
            return 0, 0
        if not text.startswith("s"):
            return self._place_of_all(key, self._cursor(text))
        place = place_of_cursor(text)
        if place is None or place[2] != key:
            raise self._foreign(text)
        return place[:2]

    def _place_of_all(self, key: str, cursor: _Cursor) -> tuple[int, int]:
        for one in cursor.held:
            if one.key == key:
                return one.segment, one.offset
        # Nobody was writing it at the cursor: its place is where it is announced next, or its end before that is known.
        end = self._end(key, 0)
        while True:
            entry, _ = self._log.entry(cursor.log)
            if entry is None:
                return end, 0
            for named in entry.sessions:
                if named.key == key:
                    return named.first, 0
            cursor.log += 1

    def _end(self, key: str, segment: int) -> int:
        """Return the number that a session's next segment will have; it has all before `segment`."""
        last = self._last(key, segment)
        return segment if last is None else last.number + 1

    def _last(self, key: str, segment: int) -> Segment | None:
        """Return the last of a session's segments, of those from one on."""
        after = self._layout.segment(key, segment - 1) if segment else ""
        return next(reversed(segments_of(self._bucket.list(self._layout.segments(key), after))), None)

    def _from(self, key: str, segment: int) -> int | None:
        """Return the number of the first segment from one on, which may be there by now."""
        after = self._layout.segment(key, segment - 1) if segment else ""
        return self._bucket.first(self._layout.segments(key), after, number_of_segment)

    def _segment(self, key: str, number: int) -> tuple[_Segment | None, float]:
        """Return a segment, or None where it is not there, and when that was by the server's clock."""
        name = self._layout.segment(key, number)
        cached = self._decoded.get(name)
        if cached is not None and self._bucket.etag(name) == cached[1]:  # it may have been pruned meanwhile
            return cached[0], 0.0
        stored, now_s = self._bucket.look(name)
        if stored is None:
            return None, now_s
        rests = rests_after(len(stored.data), stored.metadata)
        segment = _Segment(events_of(stored.data), stored.modified_s, rests)
        self._decoded[name] = segment, stored.etag
        while len(self._decoded) > _CACHED:
            self._decoded.popitem(last=False)
        return segment, now_s

    def _foreign(self, text: str) -> StoreError:
        return StoreError(f"cursor '{text}' is not one of store {self._bucket.place.url}; start at None")


def _held(entry: Announced, index: int) -> _Held:
    key, first, since = entry.sessions[index]
    return _Held(entry.at_s, since, first, entry=entry.number, index=index, key=key)
