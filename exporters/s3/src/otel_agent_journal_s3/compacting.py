"""`journal.jsonl`: a session's events in one object, rewritten now and then, replaced by compare-and-set.

Segments stay: whoever reads or follows is not disturbed, a rewriting that is killed changes nothing, and one that
comes late only covers less. What all rewritings of a session have cost stands in its metadata, and bounds the next:
between endings they cost at most nine tenths of the segments' bytes, with the endings at most nineteen tenths.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from otel_agent_journal.errors import StoreError
from otel_agent_journal_s3.contents import places_of
from otel_agent_journal_s3.known import COVERS, SPENT, Known
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lines import body_of
from otel_agent_journal_s3.objects import Bucket
from otel_agent_journal_s3.reading import Whole, sessions_of
from otel_agent_journal_s3.segments import end_of, segments_of

TAIL_SEGMENTS: Final = 64  # a reader's requests beside the journal, before it is rewritten in mid-session
_BETWEEN: Final = 0.9  # of the segments' bytes
_ENDING: Final = 1.9
_GROWS: Final = 2  # the journal is rewritten in mid-session only if it becomes so many times larger
_REST_S: Final = 30.0  # after a rewriting that failed

_log: Final = logging.getLogger(__name__)


class Rewritten(NamedTuple):
    """A journal as it was just written."""

    covers: int
    size_bytes: int
    spent_bytes: int


class Compactor:
    """Rewrites journals. Thread-safe but for what is known of a session, which is its writer's."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout
        self._resting: dict[str, float] = {}

    def after_append(self, known: Known) -> None:
        """Rewrite the journal where the segments that are not in it outgrew it."""
        allowed = int(_BETWEEN * known.size_bytes) - known.spent_bytes
        if known.next - known.covers >= TAIL_SEGMENTS and allowed >= max(1, _GROWS * known.covered_bytes):
            self._try(known, allowed)

    def after_ending(self, known: Known) -> None:
        """Rewrite the journal as a session ends, unless too much was spent on it already."""
        if known.end > known.covers and known.spent_bytes + known.size_bytes <= _ENDING * known.size_bytes:
            self._try(known, None)

    def rewrite(self, key: str, allowed_bytes: int | None = None) -> Rewritten | None:
        """Write a session's journal anew, of as many bytes as are allowed; None where there is nothing to add.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        whole = Whole(self._bucket, self._layout, key)
        stored = whole.journal or self._bucket.get(self._layout.journal(key))
        covers = whole.cover(allowed_bytes)
        if not whole.segments:
            return None
        lines = whole.lines()
        body = body_of(lines)
        spent = (int(stored.metadata.get(SPENT, "0")) if stored else 0) + len(body)
        metadata = {COVERS: str(covers), SPENT: str(spent), **places_of(lines)}
        name = self._layout.journal(key)
        if stored is None:
            written = self._bucket.put_new(name, body, metadata)
        else:
            written = self._bucket.put_over(name, body, stored.etag, metadata)
        return None if written is None else Rewritten(covers, len(body), spent)

    def sessions_with_tail(self, progress: Callable[[int], object]) -> Iterator[str]:
        """Yield the keys of the sessions that have segments which are not in their journals."""
        for looked_at, (key, items) in enumerate(sessions_of(self._bucket, self._layout)):
            progress(looked_at)
            end = end_of(segments_of(items))
            covers = 0
            if end and any(item.name == self._layout.journal(key) for item in items):
                metadata = self._bucket.metadata(self._layout.journal(key))
                covers = int((metadata or {}).get(COVERS, "0"))
            if covers < end:
                yield key

    def _try(self, known: Known, allowed_bytes: int | None) -> None:
        """Rewrite what a writer has just written of; its events are safe already, so nothing that fails is raised."""
        if self._resting.get(known.key, 0) > time.monotonic():
            return
        try:
            written = self.rewrite(known.key, allowed_bytes)
            if written is None:
                self._look_again(known)
            else:
                known.covers, known.spent_bytes = written.covers, written.spent_bytes
                known.covered_bytes = written.size_bytes
        except StoreError as error:
            self._resting[known.key] = time.monotonic() + _REST_S
            _log.warning("session=<%s>, error=<%s> | journal not rewritten, tried again later", known.key, error)

    def _look_again(self, known: Known) -> None:
        """Learn what another client made of the journal."""
        metadata = self._bucket.metadata(self._layout.journal(known.key)) or {}
        known.covers = int(metadata.get(COVERS, "0"))
        known.spent_bytes = int(metadata.get(SPENT, "0"))
        self._resting[known.key] = time.monotonic() + _REST_S
