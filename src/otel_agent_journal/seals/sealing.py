"""Sealing sessions: what arrived since the last seal becomes leaves, the checkpoint is signed, the log says so.

Reads the store as any reader, and writes beside the events: nothing of a session changes by it. What is broken off
anywhere is made up for by the next seal: a list that no seal names is nothing, and a seal that the log lacks is logged.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, format_timestamp
from otel_agent_journal.errors import JournalError, StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.seals.entries import MEDIA_TYPE, Entry, chunk_of, chunks
from otel_agent_journal.seals.keys import Signer
from otel_agent_journal.seals.leaves import SALT_BYTES, Unsealable, is_erased, leaf_of
from otel_agent_journal.seals.log import Log, signed_checkpoint, trusted_frontier
from otel_agent_journal.seals.records import MOST_NAMED, Erased, Record, Sealed
from otel_agent_journal.seals.sorting import in_order
from otel_agent_journal.seals.state import Seals, State
from otel_agent_journal.seals.tree import Frontier, leaf_hash
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore, PutByOthers

_LOGGED_TOGETHER: Final = 100
_TRIES: Final = 5
_PAGE: Final = 1_000
_SALTS: Final = 512


class Made(NamedTuple):
    """A session after a seal: the seal's number, how many events are new in it and how many are sealed in all."""

    session_id: str
    seal: int
    new: int
    size: int
    root: str


class _Waiting(NamedTuple):
    """What the log is to say of a session: its seal, and which events had lost content before it."""

    made: Made
    state: State
    erased: list[str]


class Sealer:
    """Seals sessions of a store with one key. Used by one thread; others may seal beside it.

    Args:
        store: where the events are.
        signer: signs.
        clock: returns UTC nanoseconds.

    Raises:
        UnsupportedByStore: the store cannot keep seals.
    """

    def __init__(self, store: JournalStore, signer: Signer, clock: Callable[[], int]) -> None:
        self.log = Log(store)
        self._store = store
        self._signer = signer
        self._clock = clock
        self._known = [signer.public]

    def seal(self, sessions: Iterable[str]) -> Iterator[Made]:
        """Seal sessions that have something new, and yield each once the log has it.

        Raises:
            SealBroken: what was sealed before is not what it was; what came before that session is sealed and logged.
            StoreUnreachable: and other errors of the store; call again.
        """
        head = self.log.head()
        if head is not None:
            self.log.trusted_frontier(head, self._signer.public)
        waiting: list[_Waiting] = []
        try:
            for session_id in sessions:
                made = self._sealed(session_id)
                if made is not None:
                    waiting.append(made)
                if len(waiting) >= _LOGGED_TOGETHER:
                    ready, waiting = waiting, []
                    yield from self._logged(ready)
        except JournalError:
            if waiting:
                yield from self._logged(waiting)
            raise
        yield from self._logged(waiting)

    def _sealed(self, session_id: str) -> _Waiting | None:
        """Seal what is new of a session; None where nothing is, and the log knows of all."""
        seals = Seals(self._store, session_id)
        for _ in range(_TRIES):
            state = seals.state()
            frontier = Frontier() if state is None else self._trusted(seals, state)
            before, reader = frontier.size, _Reader(self._store, seals, state)
            lists: list[str] = []
            number = 1 if state is None else state.number + 1
            for some in chunks(in_order(reader.entries())):
                frontier.extend([entry.leaf for entry in some])
                chunk = chunk_of(some)
                digest = blake2b(chunk, digest_size=DIGEST_BYTES).hexdigest()
                self._blobs.put_blobs(session_id, {digest: Blob(chunk, MEDIA_TYPE)})
                lists.append(f"{number}:{digest}")
            if not lists:
                if state is None or state.logged:
                    return None
                return _Waiting(_made(session_id, state, 0, frontier), state, self._erased_in(session_id))
            head = self.log.begin(self._signer)
            written = seals.put(
                State(
                    store=head.store,
                    number=number,
                    size=frontier.size,
                    note=str(signed_checkpoint(seals.origin(head.store), frontier, self._signer)),
                    nodes=tuple(b64encode(node).decode() for node in frontier.nodes),
                    lists=(*(() if state is None else state.lists), *lists),
                    earlier=0 if state is None else state.earlier,
                    cursor=reader.cursor,
                    version=0 if state is None else state.version,
                )
            )
            if written is not None:
                made = _made(session_id, written, frontier.size - before, frontier)
                return _Waiting(made, written, reader.erased)
        raise StoreError(f"session {session_id} is sealed by others all the time; try again")

    def _logged(self, waiting: list[_Waiting]) -> Iterator[Made]:
        if not waiting:
            return
        at = self._now()
        records: list[Record] = []
        for one, _, erased in waiting:
            records.append(Sealed(session=one.session_id, seal=one.seal, size=one.size, root=one.root, at=at))
            for start in range(0, len(erased), MOST_NAMED):
                some = tuple(erased[start : start + MOST_NAMED])
                records.append(Erased(session=one.session_id, events=some, at=at))
        self.log.append(records, self._signer)
        for one, state, _ in waiting:
            Seals(self._store, one.session_id).put(msgspec.structs.replace(state, logged=True))
            yield one

    def _erased_in(self, session_id: str) -> list[str]:
        """Return the events that are erased in a session whose seal came from elsewhere, without its log."""
        return [event.event_id for event in self._store.read(session_id) if is_erased(event)]

    def _trusted(self, seals: Seals, state: State) -> Frontier:
        """Return the tree of a session as it was signed, by this key or one that it follows."""
        whose = f"the seal of session {seals.session_id}"
        mine = self._signer.public.name
        if len(self._known) == 1 and f" {mine} " not in state.note and (head := self.log.head()) is not None:
            self._known = self.log.keys_after(self._known, head)
        return trusted_frontier(state.note, seals.origin(state.store), state.nodes, self._known, whose)

    def _now(self) -> str:
        return format_timestamp(self._clock())

    @property
    def _blobs(self) -> BlobStore:
        assert isinstance(self._store, BlobStore)
        return self._store


class _Reader:
    """Reads what is new of a session; `cursor` is behind it then."""

    def __init__(self, store: JournalStore, seals: Seals, state: State | None) -> None:
        self._store = store
        self._seals = seals
        self._state = state
        self.erased: list[str] = []
        self.cursor = None if state is None else state.cursor

    def entries(self) -> Iterator[Entry]:
        """Yield the new events as entries, as they arrived, each with a salt of its own."""
        known, salts, at = self._known(), b"", 0
        for event in self._events():
            if not known or (event.timestamp_ns, event.event_id) not in known:
                if at == len(salts):  # many at once: each call of the system's costs as much as a leaf
                    salts, at = os.urandom(SALT_BYTES * _SALTS), 0
                salt, at = salts[at : at + SALT_BYTES], at + SALT_BYTES
                try:
                    leaf = leaf_hash(leaf_of(event, salt))
                except Unsealable as error:
                    raise StoreError(f"event {event.event_id} cannot be sealed: {error}") from error
                if is_erased(event):
                    self.erased.append(event.event_id)
                yield Entry(event.timestamp_ns, event.event_id, leaf, salt)

    def _events(self) -> Iterator[JournalEvent]:
        session_id = self._seals.session_id
        if isinstance(self._store, PutByOthers):
            yield from self._store.put_by_others(session_id)
        while True:
            page = self._store.follow(self.cursor, session_id=session_id, limit=_PAGE)
            if not page.events:
                return
            yield from page.events
            self.cursor = page.cursor

    def _known(self) -> set[tuple[int, str]]:
        """Return what was sealed before, where that may come again: no cursor is known, or others put events."""
        state = self._state
        if state is None or (state.cursor is not None and not isinstance(self._store, PutByOthers)):
            return set()
        return {entry.position for entry in self._seals.entries(state)}


def _made(session_id: str, state: State, new: int, frontier: Frontier) -> Made:
    return Made(session_id, state.number, new, state.size, b64encode(frontier.root()).decode())
