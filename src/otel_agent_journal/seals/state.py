"""The seals of one session, in documents that go with it: the signed checkpoint, the frontier, where the list is.

The list of leaves is in values kept apart, `entries.py`; here are their digests, each with the number of its seal. Of
these, too, the newest are in one document that is replaced whole, older ones in documents of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from typing import Final, cast

import msgspec

from otel_agent_journal.seals.entries import Entry, entries_in
from otel_agent_journal.seals.log import FORMAT, SealBroken
from otel_agent_journal.store.keys import key_of
from otel_agent_journal.store.protocol import BlobStore, Document, DocumentStore, JournalStore, of_session

NAME: Final = "seal"
_TOGETHER: Final = 1_000  # digests in a document


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it was sealed last. `lists` are `NUMBER:DIGEST` of the newest lists, `earlier` counts documents.

    `cursor`: of the session, behind what was sealed; None where it is not known. `logged`: the log has this seal.
    """

    store: str
    number: int
    size: int
    note: str
    nodes: tuple[str, ...]
    lists: tuple[str, ...]
    earlier: int = 0
    cursor: str | None = None
    logged: bool = False
    format: int = FORMAT
    version: int = 0


class Seals:
    """The seals of a session."""

    def __init__(self, store: JournalStore, session_id: str) -> None:
        self.session_id = session_id
        self._documents = cast("DocumentStore", store)
        self._blobs = cast("BlobStore", store)
        self._scope = of_session(session_id)

    def origin(self, store: str) -> str:
        """Return the origin of the session's checkpoints."""
        return f"{store}/sessions/{key_of(self.session_id)}"

    def state(self) -> State | None:
        """Return how the session was sealed last, None where it never was.

        Raises:
            SealBroken: what is there cannot be read.
        """
        document = self._documents.get_document(self._scope, NAME)
        if document is None:
            return None
        try:
            state = msgspec.json.decode(document.data, type=State)
        except (msgspec.DecodeError, ValueError) as error:
            raise SealBroken(f"the seal of session {self.session_id} cannot be read: {error}") from error
        if state.format != FORMAT:
            raise SealBroken(f"the seal of session {self.session_id} is of a form that is not known here")
        return msgspec.structs.replace(state, version=document.version)

    def put(self, state: State) -> State | None:
        """Replace it over the version that was seen; None where another was first."""
        lists, earlier = state.lists, state.earlier
        while len(lists) > 2 * _TOGETHER:
            self._spill(earlier, lists[:_TOGETHER])
            lists, earlier = lists[_TOGETHER:], earlier + 1
        kept = msgspec.structs.replace(state, lists=lists, earlier=earlier, version=0)
        document = Document(scope=self._scope, name=NAME, data=msgspec.json.encode(kept), version=state.version)
        written = self._documents.put_document(document)
        return None if written is None else msgspec.structs.replace(kept, version=written.version)

    def entries(self, state: State) -> Iterator[Entry]:
        """Yield what was sealed, in the order of its leaves: by seal, and within one as the session's order is.

        Raises:
            SealBroken: a list is gone.
            CodecError: one is none.
        """
        for _, named in groupby(self._lists(state), key=lambda one: one.partition(":")[0]):
            for one in named:
                yield from self._list(one)

    def by_seal(self, state: State) -> Iterator[tuple[int, Iterator[Entry]]]:
        """Yield the numbers of seals, each with what was sealed by it. Raises as `entries`."""
        for number, named in groupby(self._lists(state), key=lambda one: one.partition(":")[0]):
            yield int(number), (entry for one in named for entry in self._list(one))

    def in_order(self, state: State) -> Iterator[Entry]:
        """Yield the same in the order of the session. Raises as `entries`."""
        groups = [list(named) for _, named in groupby(self._lists(state), key=lambda one: one.partition(":")[0])]
        streams = ((entry for one in named for entry in self._list(one)) for named in groups)
        return merge(*streams, key=lambda entry: entry.position)

    def _lists(self, state: State) -> Iterator[str]:
        for number in range(state.earlier):
            document = self._documents.get_document(self._scope, f"{NAME}/{number:09d}")
            if document is None:
                raise SealBroken(f"a list of what was sealed of session {self.session_id} is gone")
            try:
                yield from msgspec.json.decode(document.data, type=list[str])
            except (msgspec.DecodeError, ValueError) as error:
                raise SealBroken(f"a list of what was sealed of session {self.session_id} cannot be read") from error
        yield from state.lists

    def _list(self, named: str) -> list[Entry]:
        data = self._blobs.get_blob(self.session_id, named.partition(":")[2])
        if data is None:
            raise SealBroken(f"a list of what was sealed of session {self.session_id} is gone")
        return entries_in(data)

    def _spill(self, number: int, lists: tuple[str, ...]) -> None:
        name = f"{NAME}/{number:09d}"
        there = self._documents.get_document(self._scope, name)
        data = msgspec.json.encode(lists)
        if there is None or there.data != data:
            version = 0 if there is None else there.version
            self._documents.put_document(Document(scope=self._scope, name=name, data=data, version=version))
