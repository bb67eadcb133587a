"""The values that a session keeps apart, each fetched once as long as what was fetched is not too much to keep."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, TypeGuard, cast

from otel_agent_journal.codec import decode_value
from otel_agent_journal.errors import CodecError
from otel_agent_journal.reading.values import rebuilt
from otel_agent_journal.store.linked import parts_in
from otel_agent_journal.store.protocol import BlobStore, JournalStore
from otel_agent_journal.threads import Lock

MAX_KEPT_BYTES: Final = 32 * 1024 * 1024
_ENTRY_BYTES: Final = 200  # of one that is kept, beside its value
_BLOB: Final = "$blob"


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
        """Return a value as JSON text, or None where neither the session nor a part of it has it.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        if not isinstance(self._store, BlobStore) or not self._store.capabilities.blobs:
            return None
        key = (session_id, digest)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = self._found(self._store, session_id, digest)
        with self._lock:
            self._keep(key, data)
        return data

    def resolved(self, session_id: str, value: Any) -> Any:
        """Return a value with the references in it replaced by what they refer to, where that can be had."""

        def replacement(mapping: Mapping[str, Any]) -> Any:
            digest = mapping.get(_BLOB)
            data = self.get(session_id, digest) if isinstance(digest, str) else None
            if data is None:
                return mapping
            try:
                return decode_value(data)
            except CodecError:
                return mapping

        return rebuilt(value, replacement)

    def _found(self, store: BlobStore, session_id: str, digest: str) -> bytes | None:
        home = self._homes.get(session_id, session_id)
        data = store.get_blob(home, digest)
        if data is None and home != session_id:
            data = store.get_blob(session_id, digest)
        if data is not None:
            return data
        for part in parts_in(self._store, session_id):
            data = store.get_blob(part, digest) if part != home else None
            if data is not None:
                self._homes[session_id] = part
                return data
        return None

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
    return isinstance(value, Mapping) and isinstance(cast("Mapping[str, Any]", value).get(_BLOB), str)
