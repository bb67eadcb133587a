"""From records of a spool to events in the store: decoded, appended in batches, tried again, or set aside.

A store that cannot be reached, or is unusable until somebody has seen to it, is waited for; an event that it refuses
for good is found by halving the batch and goes to the dead letters alone. Which records, from whose folder, and when
they are acknowledged is `drain`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.delivery.reception import Reception, Taken, new_reception
from otel_agent_journal.errors import ConfigError, JournalError, NewerSchema, StoreUnreachable, StoreUnusable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import (
    BlobKept,
    Fact,
    Heartbeat,
    LogsReceived,
    Received,
    SpansReceived,
    decode_fact,
    events_of,
)
from otel_agent_journal.spool.dead_letters import DeadLetters
from otel_agent_journal.store.protocol import Arrived, BlobStore, JournalStore

_log = logging.getLogger("otel_agent_journal.spool")

BATCH_EVENTS: Final = 1000
RECEIVED_BATCH_EVENTS: Final = 4000  # of many sessions at once, and a store on S3 writes an object for each
_TRIES_OF_THE_UNEXPECTED: Final = 3  # an exception that no store should raise may be about the event, or pass


Appended = Callable[[Sequence[JournalEvent], Mapping[str, Arrived]], object]


class Counted(msgspec.Struct):
    """What became of records. Counters only grow."""

    events: int = 0
    blobs: int = 0
    retried: int = 0
    dead_lettered: int = 0
    last_error: str | None = None
    failing: bool = False  # the last call to the store did not reach it


class Delivery:
    """Deliver decoded facts to one store. Used by one thread at a time."""

    def __init__(
        self,
        store: JournalStore,
        dead_letters: DeadLetters,
        patience: Patience,
        clock: Callable[[], int],
        *,
        reception: Callable[[], Reception] = new_reception,
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._patience = patience
        self._clock = clock
        self._new_reception = reception
        self._reception: Reception | None = None  # made when something received turns up: an agent's drain has none
        self._dead: set[str] = set()  # ids of events refused in the delivery under way
        self.appended: Appended = lambda events, arrived: None  # told of what is in the store now, and where it arrived
        self.count = Counted()

    def decode(self, payloads: Iterable[bytes], writer: str) -> list[Fact]:
        """Return the facts of records; what is none goes to the dead letters."""
        facts: list[Fact] = []
        for payload in payloads:
            try:
                facts.append(decode_fact(payload))
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
                self._set_aside_record(payload, writer, f"not a fact: {error}")
        return facts

    def deliver(self, facts: Iterable[Fact], writer: str) -> tuple[list[JournalEvent], list[tuple[str, Heartbeat]]]:
        """Bring facts to the store; return their events, refused ones included, and the heartbeats of each writer.

        Raises:
            StoreUnreachable: patience came to its end; some may have been delivered, and all are to be again.
        """
        taken = Taken()
        for fact in facts:
            if isinstance(fact, Heartbeat):
                taken.heartbeats.append((writer, fact))
            elif isinstance(fact, BlobKept):
                self._keep_blob(fact, writer)
            elif isinstance(fact, SpansReceived | LogsReceived):
                self._receive(fact, writer, taken)
            else:
                taken.events.extend(self._events(fact, writer))
        for blob in taken.blobs:
            self._keep_blob(blob, writer)
        size = RECEIVED_BATCH_EVENTS if taken.requests else BATCH_EVENTS
        for start in range(0, len(taken.events), size):
            self.append(taken.events[start : start + size])
        for payload, why in taken.unreadable:
            self._set_aside_record(payload, writer, why)
        if self._reception is not None:
            self._reception.settle(taken, writer, self._dead)
            self._dead.clear()
        return taken.events, taken.heartbeats

    def _receive(self, received: Received, writer: str, taken: Taken) -> None:
        if self._reception is None:
            self._reception = self._new_reception()
        self._reception.take(received, writer, taken)

    def append(self, events: Sequence[JournalEvent]) -> None:
        """Append events, each to the store or to the dead letters. Raises StoreUnreachable as `deliver` does."""
        waiting = [events]
        while waiting:
            batch = waiting.pop()
            arrived: dict[str, Arrived] = {}
            try:
                self.insist(lambda batch=batch, to=arrived: reach(lambda: to.update(self._store.append(batch) or {})))
            except StoreUnreachable:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one event must not hold up the rest
                if len(batch) > 1:
                    middle = len(batch) // 2
                    waiting += [batch[middle:], batch[:middle]]
                else:
                    self._set_aside(batch[0], error)
            else:
                self.count.events += len(batch)
                self.appended(batch, arrived)

    def insist(self, call: Callable[[], object]) -> None:
        """Call until it succeeds, is refused, or patience ends, which raises StoreUnreachable."""
        tries = unexpected = 0
        while True:
            try:
                call()
            except (StoreUnreachable, OSError) as error:
                self._note(error)
                problem = error
            except JournalError:
                raise
            except Exception as error:
                self._note(error)
                unexpected += 1
                if unexpected >= _TRIES_OF_THE_UNEXPECTED:
                    raise
                problem = error
            else:
                self.count.failing = False
                return
            self.count.failing = True
            self.count.retried += 1
            if not self._patience.wait(tries):
                raise StoreUnreachable(f"store {self._store.url} cannot be reached: {problem}") from problem
            tries += 1

    def _events(self, fact: Fact, writer: str) -> tuple[JournalEvent, ...]:
        try:
            return events_of(fact, writer)
        except Exception as error:  # noqa: BLE001 - a fact that no event can be made of
            self._set_aside_record(msgspec.msgpack.encode(fact), writer, f"{type(error).__name__}: {error}")
            return ()

    def _keep_blob(self, blob: BlobKept, writer: str) -> None:
        store = self._store
        try:
            if not (isinstance(store, BlobStore) and store.capabilities.blobs):
                raise JournalError("the store keeps no oversize values")
            self.insist(lambda: reach(lambda: store.put_blob(blob.session_id, blob.digest, blob.data)))
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - as for events
            self._set_aside_record(blob.data, writer, f"blob {blob.digest} of {blob.session_id}: {error}")
        else:
            self.count.blobs += 1

    def _set_aside(self, event: JournalEvent, error: Exception) -> None:
        self.count.dead_lettered += 1
        self.count.last_error = str(error)
        if self._reception is not None:
            self._dead.add(event.event_id)
        _log.warning(
            "session_id=<%s>, event_id=<%s>, error=<%s> | store refuses event, kept as a dead letter",
            event.session_id,
            event.event_id,
            error,
        )
        self._dead_letters.add_event(event, f"{type(error).__name__}: {error}", self._clock())

    def _set_aside_record(self, payload: bytes, writer: str, why: str) -> None:
        self.count.dead_lettered += 1
        self.count.last_error = why
        _log.warning("writer=<%s>, why=<%s> | record set aside as a dead letter", writer, why)
        self._dead_letters.add_record(payload, writer, why, self._clock())

    def _note(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self.count.last_error:
            _log.warning("store=<%s>, error=<%s> | delivery is waiting for the store", self._store.url, error)
        self.count.last_error = text


def reach(call: Callable[[], object]) -> None:
    """Call a store; where it is unusable, or set up wrong, no event is to blame, and none becomes a dead letter."""
    try:
        call()
    except (StoreUnusable, NewerSchema, ConfigError) as error:
        raise StoreUnreachable(str(error)) from error
