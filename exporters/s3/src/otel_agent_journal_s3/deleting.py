"""Deleting a session in which nothing has happened since it was judged; its numbers go on behind a mark that stays."""

from __future__ import annotations

from otel_agent_journal_s3.heads import Heads
from otel_agent_journal_s3.layout import Layout
from otel_agent_journal_s3.lease import HOLDS_S
from otel_agent_journal_s3.objects import Bucket
from otel_agent_journal_s3.segments import PRUNED, end_of, segments_of
from otel_agent_journal_s3.settling import Settling


class Deletion:
    """Deletes sessions."""

    def __init__(self, bucket: Bucket, layout: Layout, heads: Heads, settling: Settling) -> None:
        self._bucket = bucket
        self._layout = layout
        self._heads = heads
        self._settling = settling

    def delete(self, key: str, place: tuple[int, int], version: int) -> bool:
        """Delete a session that has nothing behind a place, and whose head has a version; tell whether it was deleted.

        The mark takes the next number: who appends at that moment is first, and all stays, or meets the mark, and
        begins anew behind it. Markers and blobs are listed before: later ones are of what comes. The head's place goes
        last, so that a deletion that was broken off is found and repeated.
        """
        head = self._heads.find(key)
        if not self._heads.is_as_judged(head, version):
            return False
        items = list(self._bucket.list(self._layout.session(key)))
        segments, journal = segments_of(items), [item for item in items if item.name == self._layout.journal(key)]
        values = [item for item in items if item.name.startswith(self._layout.values(key))]
        markers = self._settling.markers_before(key, segments)
        if (end_of(segments), 0) > place or not (version or end_of(segments) or journal):
            return False
        number = segments[-1].number + 1 if segments else 0
        pruned_s = self._bucket.put_once(self._layout.segment(key, number), PRUNED)
        if pruned_s is None:
            return False
        # A writer that knows the session as it was a moment ago must not find a number free.
        emptied = [one.name for one in segments if one.modified_s >= pruned_s - HOLDS_S and one.has_events]
        gone = [one for one in segments if one.modified_s < pruned_s - HOLDS_S]
        self._bucket.each(lambda name: self._bucket.put(name, PRUNED), emptied)
        names = [one.name for one in (*values, *gone, *journal)]
        place_of_head = [] if head is None else [self._heads.delete(key, head)]
        self._bucket.delete([*names, *markers, *place_of_head])
        return True
