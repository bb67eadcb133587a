"""The contract of every store, against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.testing.store_contract import StoreContract
from otel_agent_journal_postgresql import open_store

pytestmark = pytest.mark.real


class TestPostgreSQLStore(StoreContract):
    """All of it, nothing left out."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[JournalStore]:
        store = open_store(url)
        yield store
        store.close()
