"""The same questions, the same answers, on every store, each on its real server; and read no more than they need."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from otel_agent_journal.query import query
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore, StoreAdmin
from otel_agent_journal.store.registry import open_store
from tests.query.conftest import SESSIONS
from tests.query.journals import EACH, a_session, keep, rows_of

# More than a page of theirs would hold is not written here: paging is the contract's business.
QUESTIONS = (
    "SELECT * FROM events ORDER BY timestamp, event_id",
    "SELECT * EXCLUDE (writers) FROM sessions ORDER BY session_id",
    "SELECT * FROM steps ORDER BY started_ns, step_id",
    "SELECT * FROM tools ORDER BY started_ns",
    "SELECT name, sum(input_tokens), quantile_cont(duration_ms, 0.5) FROM models GROUP BY name",
    "SELECT s.status, count(*) FROM sessions s JOIN events e USING (session_id) GROUP BY ALL ORDER BY ALL",
    "SELECT session_id, details->>'message' FROM events WHERE event_type = 'PROGRESS' ORDER BY ALL",
    "SELECT count(*) FROM events WHERE session_id IN ('s1', 's4') AND timestamp >= '2026-01-01 04:00:00'",
    "SELECT session_id FROM sessions WHERE updated_at BETWEEN '2026-01-01 01:00' AND '2026-01-01 03:30' ORDER BY ALL",
    "SELECT session_id FROM sessions WHERE session_id LIKE 's1%'",
    "SELECT session_id, status FROM sessions ORDER BY updated_at DESC LIMIT 2 OFFSET 1",
    "SELECT session_id FROM sessions WHERE status = 'ERROR' AND agent = 'researcher' ORDER BY updated_ns DESC LIMIT 1",
    "SELECT session_id FROM sessions WHERE status IN ('ERROR', 'INTERRUPTED') ORDER BY ALL",
    "SELECT session_id FROM sessions WHERE ended_at >= '2026-01-01 03:00:00' ORDER BY ALL",
    "SELECT agent, count(*) FROM sessions GROUP BY agent",
    "SELECT count(*) FROM events WHERE timestamp_ns >= -9223372036854775807 - 1",
)


def _dynamodb(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue("aws")
    return request.getfixturevalue("dynamodb_server").url()


def _s3(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue("aws")
    server, bucket = request.getfixturevalue("minio_server"), f"journal-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=server.endpoint).create_bucket(Bucket=bucket)
    return server.url(bucket, "team/a")


def _postgresql(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue('postgresql_server').url}?schema=query_{uuid.uuid4().hex}"


@pytest.fixture(
    params=[
        pytest.param(make, id=make.__name__.strip("_"), marks=pytest.mark.real)
        for make in (_dynamodb, _s3, _postgresql)
    ]
)
def remote(request: pytest.FixtureRequest) -> Iterator[JournalStore]:
    """Six sessions in a store on its real server."""
    make: Callable[[pytest.FixtureRequest], str] = request.param
    store = open_store(make(request))
    assert isinstance(store, StoreAdmin)
    store.init()
    for number in range(SESSIONS):
        keep(store, a_session(number).events)
    yield store
    store.close()


def test_every_store_gives_the_same_answers(remote: JournalStore, dialog: MemoryStore) -> None:
    """Whatever keeps the journal, SQL says the same of it."""
    for sql in QUESTIONS:
        assert rows_of(remote, sql) == rows_of(dialog, sql), sql


def test_every_store_is_read_as_little_as_need_be(remote: JournalStore) -> None:
    """Sessions and spans of time that a query names are what is read of it."""
    read: dict[str, Any] = {}
    for sql in (
        "SELECT * FROM events WHERE session_id = 's3'",
        "SELECT * FROM events WHERE timestamp >= '2026-01-01 04:00:00'",
        "SELECT * FROM sessions WHERE updated_at >= '2026-01-01 04:00:00'",
        "SELECT * FROM sessions WHERE status = 'ERROR'",
        "SELECT * FROM sessions WHERE agent = 'nobody'",
        "SELECT * FROM sessions WHERE ended_at >= '2026-01-01 04:00:00'",
        "SELECT * FROM sessions ORDER BY updated_at DESC LIMIT 2",
        "SELECT * FROM sessions WHERE status = 'ERROR' ORDER BY updated_at DESC LIMIT 1",
    ):
        with query(remote, sql) as result:
            list(result)
            (one,) = result.read
            read[sql[14:]] = (one.sessions, one.events)
    assert list(read.values()) == [(1, EACH), (2, 2 * EACH), (2, 0), (2, 0), (0, 0), (2, 0), (2, 0), (1, 0)]
