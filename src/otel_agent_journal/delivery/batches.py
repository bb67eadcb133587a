"""From records of a spool to events in the store: decoded, appended in batches, tried again, or set aside.

A store that cannot be reached, or is unusable until somebody has seen to it, is waited for, and so is one that refuses
whatever it is given. What is refused by itself, between neighbours that pass, is found by halving the batch and set
aside. Which records, from whose folder, and when they are acknowledged is `drain`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.delivery.reception import Reception, Taken, new_reception
from otel_agent_journal.errors import (
    ConfigError,
    EventTooLarge,
    JournalError,
    NewerSchema,
    StoreUnreachable,
    StoreUnusable,
    UnsupportedByStore,
)
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import (
    BlobKept,
    Fact,
    Heartbeat,
    LogsReceived,
    Received,
    SpansReceived,
    decode_fact,
    encode_fact,
    events_of,
)
from otel_agent_journal.store.protocol import Arrived, BlobStore, JournalStore

_log = logging.getLogger("otel_agent_journal.spool")

_Given = TypeVar("_Given")

BATCH_EVENTS: Final = 1000
RECEIVED_BATCH_EVENTS: Final = 4000  # of many sessions at once, and a store on S3 writes an object for each
_TRIES_OF_THE_UNEXPECTED: Final = 3  # an exception that no store should raise may be about the event, or pass
# What says by itself that it is about the one event, or value, and will be said again.
_FINAL: Final = (EventTooLarge, UnsupportedByStore)


Appended = Callable[[Sequence[JournalEvent], Mapping[str, Arrived]], object]


class RefusesAll(StoreUnreachable):
    """A store refuses what it is given, and nothing else passes: that says something of the store alone."""


class Counts(msgspec.Struct):
    """What became of records. Counters only grow."""

    events: int = 0
    blobs: int = 0
    retried: int = 0
    set_aside: int = 0
    last_error: str | None = None
    failing: bool = False  # the last call to the store did not reach it


class Shelf(Protocol):
    """Where what is refused by itself is kept: a `SetAside`. Both tell whether it was not there yet."""

    def add_event(self, event: JournalEvent, why: str, now_ns: int) -> bool:
        """Keep an event."""
        ...

    def add_record(self, payload: bytes, writer: str, why: str, now_ns: int) -> bool:
        """Keep a record of a writer's spool."""
        ...


class _Refusal(NamedTuple):
    """A call that the store refused, and what keeps what it was for."""

    again: Callable[[], Exception | None]
    error: Exception
    keep: Callable[[Exception], None]


class Delivery:
    """Deliver decoded facts to one store. Used by one thread at a time."""

    def __init__(
        self,
        store: JournalStore,
        shelf: Shelf,
        patience: Patience,
        clock: Callable[[], int],
        *,
        reception: Callable[[], Reception] = new_reception,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._patience = patience
        self._clock = clock
        self._new_reception = reception
        self._reception: Reception | None = None  # made when something received turns up: an agent's drain has none
        self._refused_ids: set[str] = set()  # of events set aside in the delivery under way
        self._passed: JournalEvent | None = None  # the neighbour: the event that the store took last
        self._ill = 0  # how many times in a row it took nothing
        self.appended: Appended = lambda events, arrived: None  # told of what is in the store now, and where it arrived
        self.count = Counts()

    def decode(self, payloads: Iterable[bytes], writer: str) -> list[Fact]:
        """Return the facts of records; what is none is set aside."""
        facts: list[Fact] = []
        for payload in payloads:
            try:
                facts.append(decode_fact(payload))
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
                self.set_aside_record(payload, writer, f"not a fact: {error}")
        return facts

    def deliver(self, facts: Iterable[Fact], writer: str) -> tuple[list[JournalEvent], list[tuple[str, Heartbeat]]]:
        """Bring facts to the store; return their events, refused ones included, and the heartbeats of each writer.

        Raises:
            StoreUnreachable: patience came to its end, or the store refuses whatever it is given; some may have been
                delivered, and all are to be again.
        """
        taken = Taken()
        self._refused_ids.clear()
        for fact in facts:
            if isinstance(fact, Heartbeat):
                taken.heartbeats.append((writer, fact))
            elif isinstance(fact, BlobKept):
                taken.blobs.append(fact)
            elif isinstance(fact, SpansReceived | LogsReceived):
                self._receive(fact, writer, taken)
            else:
                taken.events.extend(self._events(fact, writer))
        refusals = [found for blob in taken.blobs if (found := self._keep_blob(blob, writer))]
        size = RECEIVED_BATCH_EVENTS if taken.requests else BATCH_EVENTS
        for start in range(0, len(taken.events), size):
            refusals += self._append(taken.events[start : start + size])
        self._judge(refusals)
        for payload, why in taken.unreadable:
            self.set_aside_record(payload, writer, why)
        if self._reception is not None:
            self._reception.settle(taken, writer, self._refused_ids)
        return taken.events, taken.heartbeats

    def _receive(self, received: Received, writer: str, taken: Taken) -> None:
        if self._reception is None:
            self._reception = self._new_reception()
        self._reception.take(received, writer, taken)

    def append(self, events: Sequence[JournalEvent]) -> None:
        """Append events; those refused by themselves are set aside. Raises StoreUnreachable as `deliver` does."""
        self._judge(self._append(events))

    def insist(self, call: Callable[[], _Given]) -> _Given:
        """Call until it succeeds, is refused, or patience ends, which raises StoreUnreachable; return what it gives."""
        tries = unexpected = 0
        while True:
            try:
                given = call()
            except (StoreUnreachable, OSError) as error:
                problem = error
            except JournalError:
                raise
            except Exception as error:
                unexpected += 1
                if unexpected >= _TRIES_OF_THE_UNEXPECTED:
                    raise
                problem = error
            else:
                self.count.failing = False
                return given
            self._note(problem)
            if not self._patience.wait(tries, getattr(problem, "retry_after_s", 0.0)):
                raise StoreUnreachable(f"store {self._store.url} cannot be reached: {problem}") from problem
            tries += 1

    # --- what is refused, and whether that says something of it or of the store ---

    def _append(self, events: Sequence[JournalEvent]) -> list[_Refusal]:
        """Append events, in halves where they are refused and others pass; return the events refused alone."""
        waiting, alone = [events], list[_Refusal]()
        while waiting:
            batch = waiting.pop()
            error = self._take(batch)
            if error is None:
                continue
            if len(batch) == 1:
                alone.append(_Refusal(lambda batch=batch: self._take(batch), error, self._keeping(batch[0])))
            else:
                if not isinstance(error, _FINAL):
                    self._need_a_neighbour(error, batch[self._ill % len(batch)])
                middle = len(batch) // 2
                waiting += [batch[middle:], batch[:middle]]
        return alone

    def _judge(self, refusals: Iterable[_Refusal]) -> None:
        """Set aside what is refused again while a neighbour passes before and after it."""
        for refusal in refusals:
            error = refusal.error
            if not isinstance(error, _FINAL):
                self._need_a_neighbour(error)
                error = refusal.again()
                if error is None:
                    continue
                self._need_a_neighbour(error)
            refusal.keep(error)

    def _need_a_neighbour(self, error: Exception, candidate: JournalEvent | None = None) -> None:
        """Wait and raise RefusesAll where not even what passed before does. A store keeps one copy of an event.

        Where nothing has passed yet the candidate is tried, which is another one each time.
        """
        neighbour = self._passed or candidate
        if neighbour is not None and self._refused(lambda: self._store.append([neighbour])) is None:
            self._passed, self._ill = neighbour, 0
            return
        self._note(error)
        self._patience.wait(self._ill)
        self._ill += 1
        raise RefusesAll(f"store {self._store.url} takes nothing of what it is given: {error}") from error

    def _refused(self, call: Callable[[], object]) -> Exception | None:
        try:
            self.insist(lambda: reach(call))
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one event must not hold up the rest
            return error
        return None

    def _take(self, events: Sequence[JournalEvent]) -> Exception | None:
        """Append events; return why the store refuses them."""
        arrived: dict[str, Arrived] = {}
        error = self._refused(lambda: arrived.update(self._store.append(events) or {}))
        if error is None:
            self.count.events += len(events)
            self._passed, self._ill = events[-1], 0
            self.appended(events, arrived)
        return error

    def _events(self, fact: Fact, writer: str) -> tuple[JournalEvent, ...]:
        try:
            return events_of(fact, writer)
        except Exception as error:  # noqa: BLE001 - a fact that no event can be made of
            self.set_aside_record(encode_fact(fact), writer, f"{type(error).__name__}: {error}")
            return ()

    def _keep_blob(self, blob: BlobKept, writer: str) -> _Refusal | None:
        store = self._store

        def put() -> None:
            if not (isinstance(store, BlobStore) and store.capabilities.blobs):
                raise UnsupportedByStore(store.url, "blobs")
            store.put_blob(blob.session_id, blob.digest, blob.data, blob.media_type)
            self.count.blobs += 1

        def keep(why: Exception) -> None:
            self.set_aside_record(encode_fact(blob), writer, f"blob {blob.digest} of {blob.session_id}: {why}")

        error = self._refused(put)
        return None if error is None else _Refusal(lambda: self._refused(put), error, keep)

    # --- set aside ---

    def _keeping(self, event: JournalEvent) -> Callable[[Exception], None]:
        def keep(error: Exception) -> None:
            self._refused_ids.add(event.event_id)
            why = f"{type(error).__name__}: {error}"
            self._keep(why, event.writer or "", lambda: self._shelf.add_event(event, why, self._clock()))

        return keep

    def set_aside_record(self, payload: bytes, writer: str, why: str) -> None:
        """Keep a record that cannot be delivered. Raises StoreUnreachable where it cannot be kept: it is read again."""
        self._keep(why, writer, lambda: self._shelf.add_record(payload, writer, why, self._clock()))

    def _keep(self, why: str, writer: str, add: Callable[[], bool]) -> None:
        try:
            is_new = add()
        except OSError as error:
            raise StoreUnreachable(f"what cannot be delivered cannot be set aside either: {error}") from error
        self.count.last_error = why
        if is_new:
            self.count.set_aside += 1
            _log.warning("writer=<%s>, why=<%s> | set aside, for: agent-journal drain --set-aside", writer, why)

    def _note(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self.count.last_error:
            _log.warning("store=<%s>, error=<%s> | delivery is waiting for the store", self._store.url, error)
        self.count.last_error = text
        self.count.failing = True
        self.count.retried += 1


def reach(call: Callable[[], _Given]) -> _Given:
    """Call a store; where it is unusable, or set up wrong, no event is to blame, and none is set aside."""
    try:
        return call()
    except (StoreUnusable, NewerSchema, ConfigError) as error:
        raise StoreUnreachable(str(error)) from error
