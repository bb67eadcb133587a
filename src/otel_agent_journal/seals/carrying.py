"""Seals brought along where a session is copied: its checkpoint and lists; the log stays the store's own.

The checkpoint names the store where it was made, and is checked there as here. Where events arrived is another matter
in another store, so the cursor is left behind, and the next seal looks for what is new by itself.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import blake2b

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES
from otel_agent_journal.seals.entries import MEDIA_TYPE, Entry, chunk_of, chunks
from otel_agent_journal.seals.state import Seals, State
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore


def carry(source: JournalStore, target: JournalStore, session_id: str) -> bool:
    """Copy the seal of a session, where the target has none of as many events; return whether it was copied.

    Raises:
        SealBroken: the source's cannot be read.
        StoreUnreachable: and other errors of the stores.
    """
    state = Seals(source, session_id).state()
    if state is None:
        return False
    there = Seals(target, session_id).state()
    if there is not None and there.size >= state.size:
        return False
    return _put(target, session_id, state, Seals(source, session_id), there)


def _put(
    target: JournalStore,
    session_id: str,
    state: State,
    seals: Seals,
    there: State | None,
) -> bool:
    """Write a session's seal with all its lists; tell whether it was."""
    assert isinstance(target, BlobStore)
    lists: list[str] = []
    for number, entries in seals.by_seal(state):
        for chunk in map(chunk_of, chunks(entries)):
            digest = blake2b(chunk, digest_size=DIGEST_BYTES).hexdigest()
            target.put_blobs(session_id, {digest: Blob(chunk, MEDIA_TYPE)})
            lists.append(f"{number}:{digest}")
    kept = msgspec.structs.replace(
        state,
        lists=tuple(lists),
        earlier=0,
        cursor=None,
        logged=False,  # here; the next seal does that
        version=0 if there is None else there.version,
    )
    return Seals(target, session_id).put(kept) is not None


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """A session's seal as a line of a file."""

    session_id: str
    state: State
    lists: tuple[tuple[int, str], ...]


def written_out(store: JournalStore, session_id: str, changed: Callable[[Entry], Entry]) -> Carried | None:
    """Return a session's seal as a whole, None where it has none."""
    seals = Seals(store, session_id)
    state = seals.state()
    if state is None:
        return None
    lists = tuple(
        (number, b64encode(chunk_of(some)).decode())
        for number, entries in seals.by_seal(state)
        for some in chunks(map(changed, entries))
    )
    return Carried(session_id=session_id, state=msgspec.structs.replace(state, lists=(), earlier=0), lists=lists)


def taken_in(store: JournalStore, carried: Carried) -> None:
    """Write a session's seal that was written out; idempotent."""
    assert isinstance(store, BlobStore)
    seals, lists = Seals(store, carried.session_id), list[str]()
    for number, text in carried.lists:
        chunk = b64decode(text)
        digest = blake2b(chunk, digest_size=DIGEST_BYTES).hexdigest()
        store.put_blobs(carried.session_id, {digest: Blob(chunk, MEDIA_TYPE)})
        lists.append(f"{number}:{digest}")
    there = seals.state()
    version = 0 if there is None else there.version
    seals.put(msgspec.structs.replace(carried.state, lists=tuple(lists), cursor=None, version=version))
