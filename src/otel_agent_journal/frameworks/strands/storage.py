"""Strands' `Storage` on the journal: bytes under keys, for its `SnapshotSessionManager` and whatever else keeps some.

A value is a document of one session, in pieces where it is large; it goes with the session.
"""

from __future__ import annotations

import asyncio
import builtins
import re
from typing import Any, Final

from strands.types.exceptions import StorageError

from otel_agent_journal.context.pieces import NOTHING, Pieces
from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import JournalStore, of_session
from otel_agent_journal.threads import RLock

_BEFORE: Final = "storage/"
_TRIES: Final = 100  # of a write, where others write under the same key


class StrandsStorage:
    """Values of one session by their keys; the last write of a key wins. Thread-safe.

    Args:
        session_id: the session of the journal that they go with.
        store: where the journal lives; it must keep documents.
    """

    def __init__(self, session_id: str, store: JournalStore) -> None:
        self._pieces = Pieces(store, of_session(session_id))
        self._lock = RLock()

    async def write(self, key: str, data: bytes) -> None:
        """Keep bytes under a key, in the place of those before.

        Raises:
            StorageError: the key is none, or the store failed.
        """
        await self._called(self._write, _name(key), bytes(data))

    async def read(self, key: str) -> bytes | None:
        """Return the bytes of a key, or None.

        Raises:
            StorageError: the key is none, or the store failed.
        """
        found = await self._called(self._pieces.read, _name(key))
        return None if found is None else found[1]

    async def delete(self, key: str) -> None:
        """Delete a key, if it is there.

        Raises:
            StorageError: the key is none, or the store failed.
        """
        await self._called(self._delete, _name(key))

    async def list(self, query: str = "") -> builtins.list[str]:
        """Return the keys that begin so, in order.

        Raises:
            StorageError: no key begins so, or the store failed.
        """
        names = await self._called(self._pieces.names, f"{_BEFORE}{_checked(query).lstrip('/')}")
        return sorted(name.removeprefix(_BEFORE) for name in names)

    async def search(self, query: str) -> builtins.list[Any]:
        """Return the keys whose values have the words of a query, the best first, as Strands' own storages do."""
        from strands.storage.search.keyword import KeywordSearchStrategy

        return await KeywordSearchStrategy().search(self, query)

    async def _called(self, call: Any, *given: Any) -> Any:
        def locked() -> Any:
            with self._lock:
                return call(*given)

        try:
            return await asyncio.to_thread(locked)
        except StoreError as error:
            raise StorageError(str(error)) from error

    def _write(self, name: str, data: bytes) -> None:
        for _ in range(_TRIES):
            if self._pieces.write(name, {}, data, self._pieces.head(name) or NOTHING) is not None:
                return
        raise StorageError(f"{name}: others were first {_TRIES} times; nothing was written: call again")

    def _delete(self, name: str) -> None:
        known = self._pieces.head(name)
        while known is not None and not self._pieces.delete(name, known):
            known = self._pieces.head(name)


def _name(key: str) -> str:
    """Return the document's name of a key; slashes that say nothing are left out, as Strands' own storages do."""
    plain = _checked(key).strip("/")
    if not plain:
        raise StorageError("Storage key must not be empty")
    return f"{_BEFORE}{plain}"


def _checked(key: str) -> str:
    plain = re.sub(r"/+", "/", key)
    if "\\" in plain or ".." in plain.split("/"):
        raise StorageError(f"Invalid storage key '{key}': backslashes and '..' are not allowed")
    return plain
