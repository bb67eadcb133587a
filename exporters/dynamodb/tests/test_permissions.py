"""What each role is permitted is what its work calls, no less and no more."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import boto3
import pytest

from exporters.aws.tests.iam import Iam
from exporters.aws.tests.roles import read, write_beside
from exporters.dynamodb.tests.sessions import LIMIT_NS, an_hour_later, settled, told
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.store.rules import prune
from otel_agent_journal.store.rules import settle as sweep
from otel_agent_journal.testing.builders import an_event, events
from otel_agent_journal_dynamodb import DynamoDBStore, open_store, table
from tests.real.servers import DynamoDB, Minio

Held = Callable[[str], tuple[DynamoDBStore, Iam]]


@pytest.fixture
def held(aws: None, dynamodb_server: DynamoDB, minio_server: Minio) -> Held:
    """Return a store with a bucket, on a table that nobody has made yet, and the policy that it is held to."""
    bucket = f"values-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=minio_server.endpoint).create_bucket(Bucket=bucket)
    url = dynamodb_server.url(bucket=bucket, s3_endpoint_url=minio_server.endpoint)

    def opened(role: str) -> tuple[DynamoDBStore, Iam]:
        store = open_store(url)
        return store, Iam(store.iam_policy(role), store._connection, store._connection.bucket)

    return opened


def write(store: DynamoDBStore) -> None:
    """Do what agents and their drains do."""
    store.append(told())
    store.append([an_event(session_id="s2", event_id="large", details={"output": "x" * 600_000})])
    store.append([an_event(session_id=f"many-{number}") for number in range(30)])
    write_beside(store)
    settled(store)
    settled(store)


def administer(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what operators do, after agents have come and gone."""
    assert list(store.session_ids())
    for vanished in (open_store(store.url), open_store(store.url)):
        vanished.append(told(step="again", at_ns=50))
        vanished.close()
    an_hour_later(monkeypatch)
    assert sweep(store, LIMIT_NS)
    assert prune(store, 2 * LIMIT_NS)
    assert list(store.session_ids()) == []


def make_without_index(store: DynamoDBStore) -> None:
    """Make the table anew, without the index that `init` adds to one that is there."""
    named = {"TableName": store._connection.place.table}
    store._connection.call("DeleteTable", named)
    kinds = [{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK", "InstanceSeq")]
    keys = {"KeySchema": table._KEYS, "LocalSecondaryIndexes": [table._INDEX_OF_SEQUENCES]}
    made = {**named, **keys, "AttributeDefinitions": kinds, "BillingMode": "PAY_PER_REQUEST"}
    store._connection.call("CreateTable", made)


def test_writer(held: Held) -> None:
    """A writer may do what agents and their drains do: it scans nothing, and deletes by batches alone."""
    held("admin")[0].init()
    store, iam = held("writer")
    write(store)
    assert iam.denied == []
    assert iam.unused == set()
    for work in (lambda: list(store.session_ids()), store.info, lambda: store.delete_session("s1", store.tip("s1"), 2)):
        with pytest.raises(StoreUnreachable, match="iam-policy"):
            work()


def test_reader(held: Held) -> None:
    """A reader may read everything, and write nothing."""
    admin, _ = held("admin")
    admin.init()
    write(admin)
    store, iam = held("reader")
    read(store)
    assert next(store.read("s2")).details["output"]
    assert list(store.put_by_others("s1")) == []
    assert iam.denied == []
    assert iam.unused == set()
    for work in (lambda: store.append(events(1)), lambda: settled(store), lambda: store.put_blob("s1", "c" * 32, b"1")):
        with pytest.raises(StoreUnreachable, match="iam-policy"):
            work()


@pytest.mark.serial  # adding an index takes DynamoDB Local minutes where it has many tables
@pytest.mark.timeout(300)
def test_admin(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admin may prepare, look, sweep, prune and repair, and whatever the others may."""
    store, iam = held("admin")
    store.init()
    make_without_index(open_store(store.url))
    store.init()
    assert store.init_plan() == []
    write(store)
    read(store)
    assert next(store.read("s2")).details["output"]
    assert list(store.put_by_others("s1")) == []
    administer(store, monkeypatch)
    assert iam.denied == []
    assert iam.unused == set()


def test_marks_of_the_vanished_are_left_by_writers(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer asks once whether it may delete the old marks of others, and leaves them to who sweeps."""
    admin, _ = held("admin")
    admin.init()
    admin.append(told(step="vanished"))
    store, iam = held("writer")
    an_hour_later(monkeypatch)
    store.append(told())
    settled(store)
    store.append(told(step="again", at_ns=50))
    settled(store)
    assert [asked.action for asked in iam.denied] == ["dynamodb:DeleteItem"]
    assert list(store.unsettled()) == ["s1"]
    assert sweep(open_store(store.url), LIMIT_NS) == 1
    assert list(store.unsettled()) == []
