"""`AGENT_JOURNAL_DURABILITY=store`: an append that is in the store too when it returns, within a time limit.

For machines that vanish with their disk. The spool is written first and the drain goes on as ever, so what the store
does not take in time is delivered later all the same, where there is a later. When a root has ended, the session's head
is in the store too.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from otel_agent_journal import forks
from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.event import END_TYPES, JournalEvent
from otel_agent_journal.mapping.facts import BlobKept, FlushAsked, Heartbeat, decode_fact, events_of
from otel_agent_journal.projections.lifecycle import said_by
from otel_agent_journal.store.protocol import Arrived, BlobStore, JournalStore
from otel_agent_journal.threads import Bell, Turns, may_wait, start_thread
from otel_agent_journal.uninstrumented import uninstrumented

_log = logging.getLogger("otel_agent_journal.spool")

DEFAULT_TIMEOUT_S: Final = 2.0  # AGENT_JOURNAL_STORE_TIMEOUT
MAX_WAITING: Final = 1000  # facts that the store has not taken; past it they are the drain's alone
MAX_BATCH: Final = 100
CLOSE_S: Final = 5.0  # how long a close waits at most, whatever the limit of an append is


class Spool(Protocol):
    """What is written first: a `SpoolWriter`."""

    @property
    def writer(self) -> str:
        """The id of this process's journal writer."""
        ...

    @property
    def folder(self) -> Path:
        """Where it writes."""
        ...

    def append(self, payload: bytes) -> bool:
        """Append one record."""
        ...

    def close(self) -> None:
        """Seal it."""
        ...


class _Waiting:
    """A record on its way, and whether the store has it."""

    __slots__ = ("arrived", "payload", "taken", "writer")

    def __init__(self, payload: bytes, writer: str) -> None:
        self.payload = payload
        self.writer = writer
        self.taken = Bell()
        self.arrived = False


class DurableAppend:
    """Append to a spool, then to the store in a helper thread, waiting for it at most `timeout_s`.

    Past the limit, or when the store refuses, the agent goes on: `overdue` counts, the log says it once. While the
    store does not answer or refuses, later appends do not each wait the whole limit again: one does, every `timeout_s`.
    Thread-safe; a forked child opens a store of its own. `append` returns what the spool's returned.

    Args:
        spool: what is written first.
        open_store: returns the store, which is used by one thread of ours beside whoever else has it; called at the
            first append, and again where it failed, by that thread.
        timeout_s: how long an append may wait for the store.
    """

    def __init__(
        self, spool: Spool, open_store: Callable[[], JournalStore], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self._spool = spool
        self._open_store = open_store
        self._timeout_s = timeout_s
        self.overdue = 0
        self._said = False
        self._begin()
        forks.join(self, forks.Place.SPOOL)

    def _begin(self) -> None:
        self._queue: deque[_Waiting] = deque()
        self._helper = Turns(start_thread)
        self._store: JournalStore | None = None
        self._heads: HeadKeeper | None = None
        self._behind_since: float | None = None
        self._closed = False

    @property
    def writer(self) -> str:
        """The id of this process's journal writer."""
        return self._spool.writer

    @property
    def folder(self) -> Path:
        """Where the spool writes."""
        return self._spool.folder

    def append(self, payload: bytes) -> bool:
        """Append one record to the spool and wait for the store. Never raises."""
        kept = self._spool.append(payload)
        try:
            if not self._in_time(payload):
                self._count_overdue()
        except Exception as error:  # noqa: BLE001 - nothing is ever raised into the agent
            self._count_overdue(str(error))
        return kept

    def close(self) -> None:
        """Wait once more for what is on its way, then close the spool. May be called twice; leaves the store open."""
        self._closed = True
        self._helper.settle(min(self._allowance(), CLOSE_S))
        self._spool.close()
        forks.leave(self)

    @property
    def is_running(self) -> bool:
        """Tell whether the helper thread runs, as after a `close` that the store did not let end: then it is in use."""
        return self._helper.busy

    def after_fork(self) -> None:
        """Start over in a forked child, with a connection of its own."""
        self._begin()

    def _in_time(self, payload: bytes) -> bool:
        fact = decode_fact(payload)
        if isinstance(fact, Heartbeat | FlushAsked):
            return True
        if not may_wait():  # the store's own client is instrumented too; and it may be this thread's turn there
            return True
        if self._closed or len(self._queue) >= MAX_WAITING:
            return False
        waiting = _Waiting(payload, self._spool.writer)
        self._queue.append(waiting)
        if not self._helper.bring(self._deliver) or not waiting.taken.wait(self._allowance()) or not waiting.arrived:
            self._behind_since = time.monotonic()
            return False
        return True

    def _allowance(self) -> float:
        """Return how long to wait: all of it, or next to nothing while the store is known to be behind."""
        behind = self._behind_since
        return 0.0 if behind is not None and time.monotonic() - behind < self._timeout_s else self._timeout_s

    @uninstrumented()
    def _deliver(self) -> None:
        batch: list[_Waiting] = []
        with contextlib.suppress(IndexError):
            while len(batch) < MAX_BATCH:
                batch.append(self._queue.popleft())
        if batch:
            self._write(batch)

    def _write(self, batch: list[_Waiting]) -> None:
        try:
            store = self._store = self._store or self._open_store()
            events: list[JournalEvent] = []
            for waiting in batch:
                fact = decode_fact(waiting.payload)
                if isinstance(fact, BlobKept) and isinstance(store, BlobStore):
                    store.put_blob(fact.session_id, fact.digest, fact.data, fact.media_type)
                events += events_of(fact, waiting.writer)
            if events:
                self._keep_heads(store, events, store.append(events))
            self._behind_since = None
            for waiting in batch:
                waiting.arrived = True
        except Exception as error:  # noqa: BLE001 - the drain tries again, and knows what to do with what is refused
            _log.debug("error=<%s> | store did not take events at once", error)
        finally:
            for waiting in batch:
                waiting.taken.ring()

    def _keep_heads(
        self, store: JournalStore, events: list[JournalEvent], arrived: Mapping[str, Arrived] | None
    ) -> None:
        """Write the head of a session as something of it ends: nobody else may be there to do it."""
        heads = self._heads = self._heads or HeadKeeper(store, lambda call: call())
        heads.note(events, arrived)
        if any(is_ending(event) for event in events):
            heads.write()

    def _count_overdue(self, why: str = "") -> None:
        self.overdue += 1
        said, self._said = self._said, True
        if not said:
            _log.warning(
                "timeout_s=<%s>%s | store did not take events in time; the agent goes on, the spool keeps them",
                self._timeout_s,
                f", error=<{why}>" if why else "",
            )


def is_ending(event: JournalEvent) -> bool:
    """Tell whether an event ends a root, or says something of its whole session."""
    return said_by(event) is not None or (event.type in END_TYPES and event.parent_step_id is None)
