"""The values that a session keeps apart, each fetched once as long as what was fetched is not too much to keep."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Any, Final, TypeGuard, cast

from otel_agent_journal.codec import decode_value
from otel_agent_journal.errors import CodecError
from otel_agent_journal.mapping.media import BLOB, WITHIN, as_it_stood, is_medium
from otel_agent_journal.reading.values import mappings_in, rebuilt
from otel_agent_journal.store.linked import parts_in
from otel_agent_journal.store.protocol import BlobStore, JournalStore
from otel_agent_journal.threads import Lock

MAX_KEPT_BYTES: Final = 32 * 1024 * 1024
_ENTRY_BYTES: Final = 200  # of one that is kept, beside its value
_TOGETHER: Final = 16  # values in one call: a large one is a megabyte


class Blobs:
    """Fetches values that sessions or their parts keep apart, when they are asked for. As thread-safe as the store."""

    def __init__(self, store: JournalStore, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._store = store
        self._max_kept_bytes = max_kept_bytes
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, str], bytes | None] = OrderedDict()
        self._kept_bytes = 0
        self._homes: dict[str, str] = {}  # of a session the part where a value was found last

    def get(self, session_id: str, digest: str) -> bytes | None:
        """Return what is kept, JSON text or a medium, or None where neither the session nor a part of it has it.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        return self._all(session_id, (digest,)).get(digest)

    def resolved(self, session_id: str, value: Any, *, media: bool = True) -> Any:
        """Return a value with the references in it replaced by what they refer to, where that can be had.

        Without `media` pictures, sounds and documents stay references, which say what they are: none is fetched.
        """
        references = mappings_in(value, lambda mapping: not refers_to_blob(mapping))
        refer = (one for one in references if refers_to_blob(one) and (media or not is_medium(one)))
        wanted = dict.fromkeys(str(one[BLOB]) for one in refer)
        if not wanted:
            return value
        found = self._all(session_id, wanted)

        def replacement(mapping: Mapping[str, Any]) -> Any:
            data = found.get(mapping[BLOB]) if refers_to_blob(mapping) else None
            if data is None:
                return mapping
            if is_medium(mapping):
                return as_it_stood(mapping, data)
            try:
                kept = decode_value(data)
            except CodecError:
                return mapping
            return self.resolved(session_id, kept, media=media) if WITHIN in mapping else kept

        return rebuilt(value, replacement)

    def _all(self, session_id: str, digests: Collection[str]) -> dict[str, bytes | None]:
        """Return values by their digests, None for what is nowhere: those that are not kept here fetched together."""
        if not isinstance(self._store, BlobStore) or not self._store.capabilities.blobs:
            return {}
        known: dict[str, bytes | None] = {}
        with self._lock:
            for digest in digests:
                key = (session_id, digest)
                if key in self._kept:
                    self._kept.move_to_end(key)
                    known[digest] = self._kept[key]
        missing = [digest for digest in digests if digest not in known]
        for start in range(0, len(missing), _TOGETHER):
            fetched = self._fetched(self._store, session_id, missing[start : start + _TOGETHER])
            known |= fetched
            with self._lock:
                for digest, data in fetched.items():
                    self._keep((session_id, digest), data)
        return known

    def _fetched(self, store: BlobStore, session_id: str, digests: Collection[str]) -> dict[str, bytes | None]:
        """Ask for values where the last was found, then in the session and its parts, until all are had."""
        found: dict[str, bytes | None] = dict.fromkeys(digests)
        home, left = self._homes.get(session_id, session_id), list(digests)
        for place in chain(dict.fromkeys((home, session_id)), self._other_parts(session_id, home)):
            here = store.get_blobs(place, left)
            found |= {digest: blob.data for digest, blob in here.items()}
            if here and place != session_id:
                self._homes[session_id] = place
            left = [digest for digest in left if digest not in here]
            if not left:
                break
        return found

    def _other_parts(self, session_id: str, home: str) -> Iterator[str]:
        """Yield the parts of a session but for one; they are asked for only if it comes to that."""
        yield from (part for part in parts_in(self._store, session_id) if part != home)

    def _keep(self, key: tuple[str, str], data: bytes | None) -> None:
        if key in self._kept:
            return
        self._kept[key] = data
        self._kept_bytes += len(data or b"") + _ENTRY_BYTES
        while self._kept_bytes > self._max_kept_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped or b"") + _ENTRY_BYTES


def refers_to_blob(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether a value is a reference to one that is kept apart."""
    return isinstance(value, Mapping) and isinstance(cast("Mapping[str, Any]", value).get(BLOB), str)
