"""A store in memory that counts what is asked of it, and may be read by several threads at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, encode_value
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Blob, Capabilities, SessionFilter


class CountingStore(MemoryStore):
    """Counts the sessions read and looked up, the listings, and of each value how often it was fetched."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__()
        self._threads = threads
        self.read_sessions: Counter[str] = Counter()
        self.looked_up: list[str] = []
        self.listings = 0
        self.fetched: Counter[str] = Counter()
        self.calls_for_values = 0

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(super().capabilities, threads=self._threads)

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        self.read_sessions[session_id] += 1
        return super().read(session_id, after)

    def head(self, session_id: str) -> SessionHead | None:
        self.looked_up.append(session_id)
        return super().head(session_id)

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        self.listings += 1
        return super().sessions(wanted)

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        self.calls_for_values += 1
        self.fetched.update(digests)
        return super().get_blobs(session_id, digests)

    def kept_apart(self, value: object, session_id: str = "s1", **more: object) -> dict[str, object]:
        """Keep a value apart, and return what refers to it."""
        data = encode_value(value)
        digest = blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
        self.put_blob(session_id, digest, data)
        return {"$blob": digest, "bytes": len(data), "preview": data[:256].decode("utf-8", "ignore"), **more}
