"""Which sessions may have events that their heads do not know: a marker for each, there before the first of them.

A writer puts one when it knows a session up to its end, and again after each mark that it meets among the segments. A
head that has ended and has all events settles the session: the mark takes the number behind the last event, so that no
event has come there, and who comes later meets it; what markers were listed before that may go then. No clock and no
other writer's word is asked: docs/adr/0025.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from otel_agent_journal.codec import valid_text
from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.keys import session_of
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.objects import Bucket
from otel_agent_journal_s3.passing import Passing
from otel_agent_journal_s3.segments import SETTLED, Segment

_TRIES: Final = 100  # marks behind one another, of which each but the last had its markers left

_log: Final = logging.getLogger(__name__)


class Settling:
    """The markers of a store. Thread-safe."""

    def __init__(self, bucket: Bucket, layout: Layout, passing: Passing) -> None:
        self._bucket = bucket
        self._layout = layout
        self._passing = passing
        self._marked: set[str] | None = None  # the sessions that had a marker when these were last listed

    def mark(self, key: str, session_id: str) -> None:
        """Say that a session may be unsettled, by a name that was never used, so that a late deletion hits no other."""
        name = f"{self._layout.markers(key)}{uuid.uuid4().hex}"
        self._passing.make(name, valid_text(session_id).encode())

    def markers(self, key: str) -> list[str]:
        """Return the names of a session's markers."""
        return [item.name for item in self._bucket.list(self._layout.markers(key))]

    def markers_before(self, key: str, segments: Sequence[Segment]) -> list[str]:
        """Return the markers that stand before a session's segments.

        None are, and nobody is asked, where the last of these is a settling's mark, unless some were found behind it.
        """
        is_settled = bool(segments) and segments[-1].is_settled and self._marked is not None
        return [] if is_settled and key not in (self._marked or ()) else self.markers(key)

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that have a marker."""
        marked = set[str]()
        names = (item.name for item in self._bucket.list(self._layout.unsettled))
        for key, found in groupby(names, key=self._layout.marked):
            if key is None:
                continue
            marked.add(key)
            session_id = session_of(key)
            if session_id is None:
                session_id = next((said.data.decode() for said in map(self._bucket.get, found) if said), None)
            if session_id is not None:
                yield session_id
        self._marked = marked

    def settle(self, key: str, end: int) -> int | None:
        """Take the markers off a session whose stored head has all before a number; return the number of the mark.

        None where there was nothing to do, an event has come, or the store was not reached: the session stays
        unsettled then, which costs its readers something and is not false, so nothing is raised.
        """
        try:
            markers = self.markers(key)
            number = self._mark_end(key, end) if markers else None
            if number is not None:
                self._passing.delete(markers)
        except StoreError as error:
            _log.warning("session=<%s>, error=<%s> | not settled, tried again with its next ending", key, error)
            return None
        return number

    def _mark_end(self, key: str, end: int) -> int | None:
        for number in range(end, end + _TRIES):
            name = self._layout.segment(key, number)
            if self._bucket.put_once(name, SETTLED) is not None:
                return number
            there = self._bucket.get(name)
            if there is None or there.data != SETTLED:
                return None
        return None
