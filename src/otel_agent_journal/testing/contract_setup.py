"""What the parts of the contract stand on: the store under test, second clients of it, threads and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import SpawnProcess
from typing import TypeVar

import pytest

from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import events

THREADS = 8

Result = TypeVar("Result")


class ContractSetup:
    """Override `store`; and `another` or `process_url` where a store is not simply opened again by its URL."""

    @pytest.fixture
    def store(self) -> Iterator[JournalStore]:
        """An empty store, closed afterwards."""
        raise NotImplementedError("a subclass of StoreContract has a fixture 'store' of its own")

    def another(self, store: JournalStore) -> JournalStore:
        """Return a second client of the same journal, for another thread; the store itself where it may be shared."""
        return open_store(store.url)

    def process_url(self, store: JournalStore) -> str | None:
        """Return the URL by which another process opens the same journal; None where none can."""
        return store.url

    def needs(self, store: JournalStore, capability: str, refused: Callable[[], object]) -> None:
        """Skip a test of what the backend declares it cannot do, once it has refused it."""
        if not getattr(store.capabilities, capability):
            with pytest.raises(UnsupportedByStore):
                refused()
            pytest.skip(f"the store declares no capability '{capability}'")

    def in_threads(
        self, store: JournalStore, work: Callable[[JournalStore, int], Result], threads: int = THREADS
    ) -> list[Result]:
        """Run `work(client, number)` in as many threads at once, each with a client of its own; return the results."""
        clients = [self.another(store) for _ in range(threads)]
        try:
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(work, clients, range(threads)))
        finally:
            for client in clients:
                if client is not store:
                    client.close()


def everything(
    store: JournalStore, cursor: str | None = None, *, session_id: str | None = None, limit: int = 1000
) -> tuple[list[JournalEvent], str]:
    """Return all that `follow` has to give from a cursor on, and the cursor where it ended."""
    found: list[JournalEvent] = []
    while True:
        page = store.follow(cursor, session_id=session_id, limit=limit)
        if not page.events:
            return found, page.cursor
        assert len(page.events) <= limit
        assert page.cursor != cursor, "events were given and the cursor stands still"
        found.extend(page.events)
        cursor = page.cursor


def ids(found: Iterable[JournalEvent]) -> list[str]:
    """Return the ids of events, in their order."""
    return [event.event_id for event in found]


def in_order(found: Sequence[JournalEvent]) -> list[JournalEvent]:
    """Return events in the order of a session."""
    return sorted(found, key=lambda event: (event.timestamp_ns, event.event_id))


def append_in_process(url: str, session_id: str, count: int) -> None:
    """Append `count` events of one session, ten at a time; the whole of another process's work."""
    store = open_store(url)
    made = events(count, session_id=session_id)
    for start in range(0, count, 10):
        store.append(made[start : start + 10])
    store.close()


def start_process(url: str, session_id: str, count: int) -> SpawnProcess:
    """Start a process that appends; it shares nothing with this one but the journal."""
    process = SpawnProcess(target=append_in_process, args=(url, session_id, count))
    process.start()
    return process
