"""The contract of every store, on a real MinIO."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.testing.store_contract import StoreContract
from otel_agent_journal_s3 import open_store


class TestS3Store(StoreContract):
    """The store is opened again by its URL, by threads and processes."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[JournalStore]:
        """An empty store, in a bucket of its own."""
        store = open_store(url)
        yield store
        store.close()
