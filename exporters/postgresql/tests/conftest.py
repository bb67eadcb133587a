"""A journal on a real PostgreSQL, and what tests do to it from outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from exporters.postgresql.tests.others import outside
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from tests.real.servers import PostgreSQL

TABLES = "events, arrivals, agent_instances, sessions, blobs, documents"


@pytest.fixture(scope="session")
def prepared_url(postgresql_server: PostgreSQL) -> str:
    """The URL of a prepared schema that the tests of a session empty and use one after the other."""
    url = f"{postgresql_server.url}?schema=test_{uuid.uuid4().hex}"
    store = open_store(url)
    store.init()
    store.close()
    return url


@pytest.fixture
def url(prepared_url: str) -> str:
    """The URL of a prepared and empty journal."""
    with outside(prepared_url) as connection:
        connection.execute(f"TRUNCATE {TABLES}")
    return prepared_url


@pytest.fixture
def store(url: str) -> Iterator[PostgreSQLStore]:
    """An empty store."""
    store = open_store(url)
    yield store
    store.close()
