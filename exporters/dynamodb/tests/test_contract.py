"""The contract of every store, on a real DynamoDB Local."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal.testing.store_contract import StoreContract
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from tests.real.servers import DynamoDB


class TestDynamoDBStore(StoreContract):
    """Clients in threads and in other processes open the same table by its URL."""

    @pytest.fixture
    def store(self, aws: None, dynamodb_server: DynamoDB) -> Iterator[DynamoDBStore]:
        store = open_store(dynamodb_server.url())
        store.init()
        yield store
        store.close()
