"""The numbered events of one LangGraph thread: read once, known from then on, appended under the number that is next.

An event says plainly which checkpoint or task it is of; what is in it is its `body`, with the values as they were
serialised. A large body is a blob of the session. What other processes wrote is taken in by `refresh`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import DIGEST_BYTES, decode_value, encode_value, sealed
from otel_agent_journal.context.checkpoints import Checkpoints
from otel_agent_journal.context.history import ranges_of
from otel_agent_journal.errors import ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.event import CHECKPOINT_SAVED, CHECKPOINT_WRITES, JournalEvent, time_ordered_id
from otel_agent_journal.frameworks.langgraph.checkpoints.values import Ref, Typed, from_text
from otel_agent_journal.mapping.media import BLOB
from otel_agent_journal.pasting import pasted
from otel_agent_journal.store import lineage
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore

INLINE_BYTES: Final = 48 * 1024  # of a body; a larger one is a blob
KEPT_BYTES: Final = 32 * 1024 * 1024  # of values that a thread keeps in memory; they are read again when asked for

_WITH_BODY: Final = frozenset((CHECKPOINT_SAVED, CHECKPOINT_WRITES))

Body = Mapping[str, Any]


class Said(NamedTuple):
    """What an event says: plainly, and in its body."""

    plain: Mapping[str, Any]
    body: Body


class ThreadLog:
    """The events of a thread, those of the threads that it was forked from in front of its own. Not thread-safe.

    Args:
        store: where the journal lives.
        instance_id: the agent instance that the thread is.
        begins: returns the session of a thread that is not there yet, and what its first event says of it.
    """

    def __init__(
        self, store: JournalStore, instance_id: str, begins: Callable[[], tuple[str, Mapping[str, str]]]
    ) -> None:
        self.store = store
        self.instance_id = instance_id
        self._begins = begins
        self.generation = 0  # how often all that was known had to be forgotten
        self._forget()

    def _forget(self) -> None:
        self.checkpoints = Checkpoints()
        self.said: dict[int, Said] = {}  # by events that have a body
        self._values: dict[int, list[Any]] = {}
        self._kept_bytes = 0
        self._bases: list[tuple[str, int]] = []
        self._session_id: str | None = None
        self._last_ns = 0
        self._loaded = False

    @property
    def count(self) -> int:
        """How many events are known."""
        return self.checkpoints.next_number

    @property
    def own_count(self) -> int:
        """How many of them are this thread's own."""
        return self.count - sum(count for _, count in self._bases)

    # --- reading ---

    def refresh(self) -> None:
        """Take in what has been written since, by anybody."""
        if not self._loaded:
            self._bases = lineage.bases(self.store, self.instance_id)
            for base, count in self._bases:
                self._take(self.store.read_context(base, limit=count))
            self._loaded = True
        self._take(self.store.read_context(self.instance_id, self.own_count))

    def load(self) -> None:
        """Read the thread, if nothing of it was read yet."""
        if not self._loaded:
            self.refresh()

    def typed(self, ref: Ref) -> Typed:
        """Return a value as it was serialised."""
        number, place = ref
        if number not in self._values:
            self.fetch((number,))
        return from_text(self._values[number][place])

    def fetch(self, numbers: Iterable[int]) -> None:
        """Have the values of these events in memory, as many as are not there read together."""
        missing = sorted({number for number in numbers if number not in self._values})
        for first, last in ranges_of(missing):
            events = list(self._events(first, last))
            for number, body in zip(range(first, last), self._bodies(events), strict=True):
                self._keep(number, body)

    def _take(self, found: Iterable[JournalEvent]) -> None:
        with collections_wait():
            events = list(found)
            for event, body in zip(events, self._bodies(events), strict=True):
                self._apply(event, body)

    def _apply(self, event: JournalEvent, body: Body | None) -> None:
        number = self.count
        self.checkpoints.apply(event)
        self._session_id = event.session_id
        self._last_ns = max(self._last_ns, event.timestamp_ns)
        if body is not None:
            self.said[number] = Said(event.details, body)
            self._keep(number, body)

    def _keep(self, number: int, body: Body | None) -> None:
        values: list[Any] = [] if body is None else body["values"]
        if self._kept_bytes > KEPT_BYTES:
            self._values.clear()
            self._kept_bytes = 0
            self.said = {at: _without_values(said) for at, said in self.said.items()}
        self._values[number] = values
        self._kept_bytes += sum(len(value[1]) for value in values)

    def _events(self, first: int, last: int) -> Iterator[JournalEvent]:
        """Yield events by their numbers, the last not included, from wherever they are."""
        begin = 0
        for instance_id, count in (*self._bases, (self.instance_id, self.own_count)):
            low, high = max(first, begin), min(last, begin + count)
            if low < high:
                yield from self.store.read_context(instance_id, low - begin, limit=high - low)
            begin += count

    def _bodies(self, events: list[JournalEvent]) -> Iterator[Body | None]:
        """Yield the bodies of events, None of those that have none; blobs are fetched together."""
        bodies = [event.details.get("body") if event.type in _WITH_BODY else None for event in events]
        apart: dict[str, dict[str, Any]] = {}  # by session, the digests
        for event, body in zip(events, bodies, strict=True):
            if body is not None and BLOB in body:
                apart.setdefault(event.session_id, {})[body[BLOB]] = None
        for session_id, digests in apart.items():
            assert isinstance(self.store, BlobStore)
            digests |= {digest: blob.data for digest, blob in self.store.get_blobs(session_id, digests).items()}
        for event, body in zip(events, bodies, strict=True):
            yield (
                body
                if body is None or BLOB not in body
                else self._from_blob(event, apart[event.session_id][body[BLOB]])
            )

    def _from_blob(self, event: JournalEvent, data: bytes | None) -> Body:
        if data is None:
            raise StoreError(
                f"the values of checkpoint {event.details.get('checkpoint')} are not there: a blob of session"
                f" {event.session_id}; agent-journal verify {pasted(event.session_id)} says what is missing"
            )
        return cast("Body", decode_value(data))

    # --- appending ---

    def append(self, kind: str, details: dict[str, Any], body: dict[str, Any] | None = None) -> bool:
        """Append an event behind what is known; return whether nobody else was first."""
        number, seq = self.count, self.own_count
        if self._session_id is None:
            self._session_id, agent = self._begins()
            details = {**details, "agent": dict(agent)}
        said = dict(details)
        if body is not None:
            said["body"] = self._stored(body)
        now_ns = max(time.time_ns(), self._last_ns + 1)
        event = sealed(
            JournalEvent(
                session_id=self._session_id,
                event_id=time_ordered_id(now_ns, os.urandom(10)),
                type=kind,
                timestamp_ns=now_ns,
                instance_id=self.instance_id,
                seq=seq,
                details=said,
            )
        )
        try:
            self.store.append_context(self.instance_id, seq, [event])
        except (WrongExpectedSequence, ConflictError):
            self._catch_up(seq)
            return False
        self._apply(event, body)
        assert self.count == number + 1
        return True

    def _catch_up(self, seq: int) -> None:
        """Take in what another writer was first with; where a session was deleted meanwhile, begin anew."""
        tip = self.store.context_tip(self.instance_id)
        if tip is None or tip.next_seq < seq or (not seq and self._session_id != tip.session_id):
            self.generation += 1
            self._forget()
        self.refresh()

    def _stored(self, body: dict[str, Any]) -> Any:
        """Return a body as the event has it, in the store before the event is where it is large."""
        store = self.store
        if sum(len(value[1]) for value in body["values"]) < INLINE_BYTES // 2:
            return body
        data = encode_value(body)
        if len(data) < INLINE_BYTES or not isinstance(store, BlobStore) or not store.capabilities.blobs:
            return body
        digest = blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
        assert self._session_id is not None
        store.put_blobs(self._session_id, {digest: Blob(data)})
        return {BLOB: digest, "bytes": len(data)}


@contextlib.contextmanager
def collections_wait() -> Generator[None]:
    """Let the collector of garbage wait while much is read: it would look at all of it, over and over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _without_values(said: Said) -> Said:
    if "values" not in said.body:
        return said
    plain = {key: value for key, value in said.plain.items() if key != "body"}
    return Said(plain, {key: value for key, value in said.body.items() if key != "values"})
