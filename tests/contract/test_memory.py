"""The memory store passes the contract that every store passes."""

from collections.abc import Iterator

import pytest

from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.testing.store_contract import StoreContract


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[JournalStore]:
        store = MemoryStore()
        yield store
        store.close()

    def another(self, store: JournalStore) -> JournalStore:
        return store

    def process_url(self, store: JournalStore) -> str | None:
        return None
