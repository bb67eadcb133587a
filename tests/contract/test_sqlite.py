"""The SQLite store passes the contract that every store passes, synced or not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.store_contract import StoreContract


class TestSqlite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[JournalStore]:
        store = SqliteStore(tmp_path / "journal.db", synchronous="normal", timeout_s=20)
        yield store
        store.close()

    def another(self, store: JournalStore) -> JournalStore:
        return open_store(f"{store.url}?timeout=20&synchronous=normal")

    def process_url(self, store: JournalStore) -> str | None:
        return f"{store.url}?timeout=20"
