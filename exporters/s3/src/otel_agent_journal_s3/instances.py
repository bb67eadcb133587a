"""Which session an agent instance is of: claimed by its first event, and free again once that session was pruned.

A claim says at which number of its session it was made. A mark of a prune that came behind it makes it void, so that a
prune need not know the instances of what it deletes, and cannot take away the claim of who begins anew.
"""

from __future__ import annotations

from typing import Final

import msgspec

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal_s3.known import Known
from otel_agent_journal_s3.layout import Layout, key_of
from otel_agent_journal_s3.objects import Bucket, Stored
from otel_agent_journal_s3.segments import last_pruned, segments_of

_TRIES: Final = 20


class _Claim(msgspec.Struct, frozen=True):
    instance_id: str
    session_id: str
    number: int


class Instances:
    """The claims of a store."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout

    def session_of(self, instance_id: str) -> str | None:
        """Return the session that an instance is of, or was before that was pruned."""
        stored = self._bucket.get(self._layout.instance(instance_id))
        return None if stored is None else _claim_in(stored).session_id

    def claim(self, instance_id: str, session_id: str, known: Known) -> None:
        """Say which session a new instance is of, before its first event; who was first decides.

        Raises:
            StoreError: it is of another session.
        """
        name = self._layout.instance(instance_id)
        data = msgspec.json.encode(_Claim(instance_id, session_id, known.next))
        for _ in range(_TRIES):
            if self._bucket.put_new(name, data) is not None:
                return
            stored = self._bucket.get(name)
            if stored is None:
                continue
            there = _claim_in(stored)
            if key_of(there.session_id) == known.key and there.number >= known.began:
                return
            self.require(instance_id, session_id, stored)
            if self._bucket.put_over(name, data, stored.etag) is not None:
                return
        raise StoreUnreachable(f"store {self._bucket.place.url}: others keep claiming instance {instance_id}")

    def require(self, instance_id: str, session_id: str, stored: Stored | None = None) -> None:
        """Raise StoreError where an instance is of another session, which was not pruned since."""
        stored = stored or self._bucket.get(self._layout.instance(instance_id))
        there = None if stored is None else _claim_in(stored)
        if there is None or key_of(there.session_id) == key_of(session_id):
            return
        segments = segments_of(self._bucket.list(self._layout.segments(key_of(there.session_id))))
        if last_pruned(segments) < there.number:
            raise StoreError(f"instance {instance_id} is of session {there.session_id}; nothing was written")


def _claim_in(stored: Stored) -> _Claim:
    return msgspec.json.decode(stored.data, type=_Claim)
