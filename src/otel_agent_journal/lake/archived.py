"""Which sessions of a store are in a lake as they are now, so that a prune may take them."""

from __future__ import annotations

from otel_agent_journal.errors import LakeError
from otel_agent_journal.lake.manifest import Lake
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.identity import identity_of
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore, PutByOthers


class Archive:
    """A lake as a prune sees it: what its manifest names, each of its files looked for.

    Args:
        lake: which is there.
        store: of which it has to be.

    Raises:
        LakeError: it is another store's, has no events, lacks a file that it names, or is being written.
    """

    def __init__(self, lake: Lake, store: JournalStore) -> None:
        identity = identity_of(store.url, {})
        if lake.store != identity:
            raise LakeError(
                f"lake {lake.place.url} is of the store {lake.store}, not of {identity}; nothing was deleted"
            )
        if "events" not in lake.tables:
            raise LakeError(f"lake {lake.place.url} has no events; export these, too, before anything is deleted")
        lake.recover()
        lake.require_files()
        self._store = store
        self._known = {session_id: one.entry for session_id, one in lake.known().items()}

    def has(self, head: SessionHead) -> bool:
        """Tell whether the lake has all events of a session, or of a part of one, that its head knows.

        A listing's head will do: of these cursors are compared.
        """
        whole = self._known.get(head.part_of or head.session_id)
        if whole is None:
            return False
        if head.part_of is not None:
            return head.cursor is not None and (head.session_id, head.cursor) in whole.parts
        if head.cursor != whole.cursor:
            return False
        if isinstance(self._store, PutByOthers):  # what others put moves no cursor
            return sum(1 for _ in read_whole(self._store, head.session_id)) == whole.events
        return head.cursor is not None
