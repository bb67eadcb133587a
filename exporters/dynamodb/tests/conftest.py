"""A table of its own for each test, on a real DynamoDB Local."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from tests.real.servers import DynamoDB


@pytest.fixture
def store(aws: None, dynamodb_server: DynamoDB) -> Iterator[DynamoDBStore]:
    """An empty store, its table made."""
    store = open_store(dynamodb_server.url())
    store.init()
    yield store
    store.close()


@pytest.fixture
def other(store: DynamoDBStore) -> Iterator[DynamoDBStore]:
    """A second client of the table of `store`."""
    client = open_store(store.url)
    yield client
    client.close()
