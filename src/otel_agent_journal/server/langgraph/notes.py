"""What is kept of threads and runs that no event says: documents of their session, which go with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore, of_session

_THREAD: Final = "langgraph/thread"
_RUN: Final = "langgraph/run/"
_TRIES: Final = 50


class ThreadNote(msgspec.Struct, frozen=True, kw_only=True):
    """A thread's metadata, and when it was made and changed by a client, UTC nanoseconds."""

    created_ns: int
    updated_ns: int
    metadata: dict[str, Any] = {}


class RunNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run was asked for. `cursor`: of the store, from before it was; `task`: of A2A, that it is part of."""

    modes: tuple[str, ...] = ()
    subgraphs: bool = False
    cursor: str | None = None
    strategy: str | None = None
    metadata: dict[str, Any] = {}
    task: str | None = None


def thread_note(store: JournalStore, session_id: str) -> ThreadNote | None:
    """Return what is kept of a thread."""
    found = _documents(store).get_document(of_session(session_id), _THREAD)
    return None if found is None else msgspec.json.decode(found.data, type=ThreadNote)


def note_thread(store: JournalStore, session_id: str, metadata: dict[str, Any]) -> ThreadNote:
    """Keep names of metadata of a thread, beside those that it has; return what is kept then."""
    now_ns = time.time_ns()

    def changed(known: bytes | None) -> bytes:
        if known is None:
            return msgspec.json.encode(ThreadNote(created_ns=now_ns, updated_ns=now_ns, metadata=metadata))
        note = msgspec.json.decode(known, type=ThreadNote)
        merged = {**note.metadata, **metadata}
        if merged == note.metadata:
            return known
        return msgspec.json.encode(msgspec.structs.replace(note, updated_ns=now_ns, metadata=merged))

    return msgspec.json.decode(_change(store, of_session(session_id), _THREAD, changed), type=ThreadNote)


def run_note(store: JournalStore, session_id: str, run_id: str) -> RunNote:
    """Return how a run was asked for; of one that no client of LangGraph asked for, nothing."""
    found = _documents(store).get_document(of_session(session_id), f"{_RUN}{run_id}")
    return RunNote() if found is None else msgspec.json.decode(found.data, type=RunNote)


def note_run(store: JournalStore, session_id: str, run_id: str, note: RunNote) -> None:
    """Keep how a run was asked for."""
    _change(store, of_session(session_id), f"{_RUN}{run_id}", lambda _known: msgspec.json.encode(note))


def _change(store: JournalStore, scope: str, name: str, changed: Callable[[bytes | None], bytes]) -> bytes:
    documents = _documents(store)
    for _ in range(_TRIES):
        known = documents.get_document(scope, name)
        data = changed(None if known is None else known.data)
        if known is not None and data == known.data:
            return data
        version = 0 if known is None else known.version
        if documents.put_document(Document(scope=scope, name=name, data=data, version=version)) is not None:
            return data
    raise StoreError(f"{name}: others were first {_TRIES} times; nothing was changed: try again")


def _documents(store: JournalStore) -> DocumentStore:
    if not store.capabilities.documents:
        raise UnsupportedByStore(store.url, "documents", "use another store for clients of LangGraph")
    return cast("DocumentStore", store)
