"""Each fault of the proxies is to a plain client what it would be in front of the real service."""

from __future__ import annotations

import random
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from tests.clock import by_the_clock, in_time
from tests.real.fault_proxy import (
    ALL,
    APPLIED_RESET,
    APPLIED_SILENT,
    CONFLICT,
    FAILED,
    MIDWAY,
    OUTAGE,
    PARTIAL,
    RESET,
    SLOW,
    THROTTLED,
    UNAVAILABLE,
    AtRandom,
    Call,
    FaultProxy,
    Scripted,
    wait_until,
)
from tests.real.fault_proxy_http import DynamoDBProxy, HttpProxy, S3Proxy
from tests.real.fault_proxy_postgresql import PostgreSQLProxy
from tests.real.servers import KEY, SECRET, PostgreSQL, Server

# Never tried again by the client itself: a test sees the first answer.
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=1, connect_timeout=1)
DIRECT = Config(retries={"total_max_attempts": 1}, read_timeout=30)
HOW_IT_LOOKS: list[tuple[str, type[Exception]]] = [
    (RESET, ConnectionClosedError),
    (APPLIED_RESET, ConnectionClosedError),
    (APPLIED_SILENT, ReadTimeoutError),
]


@cache
def session() -> Any:
    """One session, which reads the descriptions of the services once."""
    return boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1")


def client(kind: str, server: Server | FaultProxy, config: Config = ONCE) -> Any:
    """Return a client of a server or its proxy."""
    return session().client(kind, endpoint_url=server.endpoint, config=config)


def code_of(refused: Any) -> tuple[int, str]:
    answer = refused.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.fixture
def table(dynamodb_server: Server, aws: None) -> str:
    """An empty table with a hash key."""
    name = f"faults-{uuid.uuid4().hex}"
    client("dynamodb", dynamodb_server, DIRECT).create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture
def bucket(minio_server: Server, aws: None) -> str:
    """An empty bucket."""
    name = f"faults-{uuid.uuid4().hex}"
    client("s3", minio_server, DIRECT).create_bucket(Bucket=name)
    return name


@pytest.fixture
def dynamodb(dynamodb_server: Server) -> Iterator[DynamoDBProxy]:
    with DynamoDBProxy(dynamodb_server.port, silence_s=2) as proxy:
        yield proxy


@pytest.fixture
def s3(minio_server: Server) -> Iterator[S3Proxy]:
    with S3Proxy(minio_server.port, silence_s=2) as proxy:
        yield proxy


@pytest.fixture
def postgresql(postgresql_server: PostgreSQL) -> Iterator[PostgreSQLProxy]:
    with PostgreSQLProxy(postgresql_server.port, silence_s=2) as proxy:
        yield proxy


@pytest.fixture
def database(postgresql_server: PostgreSQL) -> str:
    """The URL of a database with a table of numbers."""
    url = postgresql_server.database()
    with psycopg.connect(url) as connection:
        connection.execute("create table numbers (number int primary key)")
    return url


def item(key: str) -> dict[str, Any]:
    return {"PK": {"S": key}}


def keys(server: Server, table: str) -> set[str]:
    """Return what is really in the table."""
    found = client("dynamodb", server, DIRECT).scan(TableName=table, ConsistentRead=True)["Items"]
    return {one["PK"]["S"] for one in found}


def test_dynamodb_passes_everything_on(dynamodb: DynamoDBProxy, dynamodb_server: Server, table: str) -> None:
    """Without a fault a client does not notice the proxy, and its calls are known by their names."""
    through = client("dynamodb", dynamodb)
    through.put_item(TableName=table, Item=item("a"))
    assert through.get_item(TableName=table, Key=item("a"))["Item"] == item("a")
    with pytest.raises(through.exceptions.ConditionalCheckFailedException):
        through.put_item(TableName=table, Item=item("a"), ConditionExpression="attribute_not_exists(PK)")
    assert dynamodb.calls == {"PutItem": 2, "GetItem": 1}
    assert not dynamodb.injected


@pytest.mark.parametrize(
    ("fault", "looks"),
    [
        (THROTTLED, (400, "ProvisionedThroughputExceededException")),
        (FAILED, (500, "InternalServerError")),
        (UNAVAILABLE, (503, "ServiceUnavailable")),
    ],
)
def test_dynamodb_refuses(
    dynamodb: DynamoDBProxy, dynamodb_server: Server, table: str, fault: str, looks: tuple[int, str]
) -> None:
    """A refusal has DynamoDB's status and code, nothing is written, and the next call succeeds."""
    dynamodb.plan = Scripted(fault)
    through = client("dynamodb", dynamodb)
    with pytest.raises(ClientError) as refused:
        through.put_item(TableName=table, Item=item("a"))
    assert code_of(refused) == looks
    assert keys(dynamodb_server, table) == set()
    through.put_item(TableName=table, Item=item("b"))
    assert keys(dynamodb_server, table) == {"b"}
    assert dynamodb.injected == {fault: 1}


@pytest.mark.parametrize(("fault", "error"), HOW_IT_LOOKS)
def test_dynamodb_is_cut_off(
    dynamodb: DynamoDBProxy, dynamodb_server: Server, table: str, fault: str, error: type[Exception]
) -> None:
    """A reset before leaves nothing behind; after it, or with silence in place of an answer, the write is there."""
    dynamodb.plan = Scripted(fault)
    with pytest.raises(error):
        client("dynamodb", dynamodb).put_item(TableName=table, Item=item("a"))
    assert keys(dynamodb_server, table) == (set() if fault == RESET else {"a"})
    assert dynamodb.injected == {fault: 1}


def test_dynamodb_is_cut_off_midway(dynamodb: DynamoDBProxy, table: str) -> None:
    """A reset while the server works is a reset; what came of it is not known."""
    dynamodb.plan = Scripted(MIDWAY)
    with pytest.raises(ConnectionClosedError):
        client("dynamodb", dynamodb).put_item(TableName=table, Item=item("a"))
    assert dynamodb.injected == {MIDWAY: 1}


def test_dynamodb_does_a_part(dynamodb: DynamoDBProxy, dynamodb_server: Server, table: str) -> None:
    """Of a batch some items are written and exactly the others handed back, down to one of one; reads the same."""
    dynamodb.plan = AtRandom(1, 0, [PARTIAL])
    through = client("dynamodb", dynamodb)
    wanted = {f"k{number}" for number in range(25)}
    left = {table: [{"PutRequest": {"Item": item(key)}} for key in sorted(wanted)]}
    missing = wanted
    for tries in range(5):
        answer = through.batch_write_item(RequestItems=left)
        left = answer["UnprocessedItems"]
        missing = {one["PutRequest"]["Item"]["PK"]["S"] for one in left[table]}
        assert keys(dynamodb_server, table) == wanted - missing
        assert len(missing) == (13, 7, 4, 2, 1)[tries]
    assert through.batch_write_item(RequestItems=left)["UnprocessedItems"] == left, "one item is nobody's half"
    asked = [item(key) for key in sorted(wanted - missing)]
    answer = through.batch_get_item(RequestItems={table: {"Keys": asked, "ConsistentRead": True}})
    rest = answer["UnprocessedKeys"][table]
    assert rest["ConsistentRead"] is True
    found = [one["PK"]["S"] for one in [*answer["Responses"][table], *rest["Keys"]]]
    assert sorted(found) == sorted(wanted - missing)
    assert dynamodb.injected == {PARTIAL: 7}


def test_dynamodb_has_a_conflict(dynamodb: DynamoDBProxy, dynamodb_server: Server, table: str) -> None:
    """A transaction in conflict is cancelled with a reason for each action; a put cannot be in conflict."""
    dynamodb.plan = AtRandom(1, 0, [CONFLICT])
    through = client("dynamodb", dynamodb)
    with pytest.raises(through.exceptions.TransactionCanceledException) as refused:
        through.transact_write_items(
            TransactItems=[{"Put": {"TableName": table, "Item": item(key)}} for key in ("a", "b")]
        )
    assert [reason["Code"] for reason in refused.value.response["CancellationReasons"]] == [
        "None",
        "TransactionConflict",
    ]
    through.put_item(TableName=table, Item=item("c"))
    assert keys(dynamodb_server, table) == {"c"}


def test_s3_passes_everything_on(s3: S3Proxy, bucket: str) -> None:
    """Signatures hold, conditions too, large bodies, ranges, HEAD, deletes, and bodies in chunks."""
    through = client("s3", s3, DIRECT)
    large = random.Random(0).randbytes(3_000_000)
    etag = through.put_object(Bucket=bucket, Key="a/b é", Body=large, IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as refused:
        through.put_object(Bucket=bucket, Key="a/b é", Body=b"x", IfNoneMatch="*")
    assert code_of(refused) == (412, "PreconditionFailed")
    assert through.get_object(Bucket=bucket, Key="a/b é")["Body"].read() == large
    assert through.get_object(Bucket=bucket, Key="a/b é", Range="bytes=5-9")["Body"].read() == large[5:10]
    assert through.head_object(Bucket=bucket, Key="a/b é")["ContentLength"] == len(large)
    through.put_object(Bucket=bucket, Key="a/b é", Body=b"y", IfMatch=etag)
    assert [one["Key"] for one in through.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]] == ["a/b é"]
    through.delete_object(Bucket=bucket, Key="a/b é")
    assert "Contents" not in through.list_objects_v2(Bucket=bucket)
    assert s3.calls["PUT"] == 3
    assert not s3.injected


@pytest.mark.parametrize(
    ("fault", "looks"),
    [
        (THROTTLED, (503, "SlowDown")),
        (FAILED, (500, "InternalError")),
        (UNAVAILABLE, (503, "ServiceUnavailable")),
        (CONFLICT, (409, "ConditionalRequestConflict")),
    ],
)
def test_s3_refuses(s3: S3Proxy, minio_server: Server, bucket: str, fault: str, looks: tuple[int, str]) -> None:
    """A refusal has S3's status and code, nothing is written, and the next call succeeds."""
    s3.plan = Scripted(fault)
    through = client("s3", s3)
    with pytest.raises(ClientError) as refused:
        through.put_object(Bucket=bucket, Key="a", Body=b"x", IfNoneMatch="*")
    assert code_of(refused) == looks
    assert "Contents" not in client("s3", minio_server, DIRECT).list_objects_v2(Bucket=bucket)
    through.put_object(Bucket=bucket, Key="a", Body=b"x", IfNoneMatch="*")
    assert s3.injected == {fault: 1}


def test_s3_has_no_conflict_without_a_condition(s3: S3Proxy, bucket: str) -> None:
    """Only a conditional write can be in conflict."""
    s3.plan = AtRandom(1, 0, [CONFLICT])
    client("s3", s3).put_object(Bucket=bucket, Key="a", Body=b"x")
    assert not s3.injected


@pytest.mark.parametrize(("fault", "error"), HOW_IT_LOOKS)
def test_s3_is_cut_off(s3: S3Proxy, minio_server: Server, bucket: str, fault: str, error: type[Exception]) -> None:
    """As with DynamoDB: what was applied is there, so that a second conditional write is refused."""
    s3.plan = Scripted(fault)
    with pytest.raises(error):
        client("s3", s3).put_object(Bucket=bucket, Key="a", Body=b"x", IfNoneMatch="*")
    direct = client("s3", minio_server, DIRECT)
    found = [one["Key"] for one in direct.list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert found == ([] if fault == RESET else ["a"])
    assert s3.injected == {fault: 1}


@pytest.mark.parametrize("kind", ["dynamodb", "s3"])
def test_slow_and_gone(request: pytest.FixtureRequest, kind: str) -> None:
    """A slow answer comes late; in an outage nothing is listening, and afterwards all is as before."""
    proxy: HttpProxy = request.getfixturevalue(kind)
    name = request.getfixturevalue("table" if kind == "dynamodb" else "bucket")
    through = client(kind, proxy)

    def call() -> None:
        if kind == "dynamodb":
            through.describe_table(TableName=name)
        else:
            through.head_bucket(Bucket=name)

    proxy.plan = Scripted(SLOW)
    proxy.slow_s = 0.3
    begun = time.monotonic()
    call()
    assert time.monotonic() - begun >= 0.3
    with proxy.outage():
        with pytest.raises((ConnectionClosedError, EndpointConnectionError)):
            call()
        with pytest.raises(EndpointConnectionError):
            call()
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", proxy.port), 1):
            pass
    call()
    assert proxy.injected == {SLOW: 1, OUTAGE: 1}


def numbers(url: str) -> list[int]:
    """Return what is really in the table."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("select number from numbers order by 1")]


def test_postgresql_passes_everything_on(postgresql: PostgreSQLProxy, database: str) -> None:
    """Transactions, prepared statements, pipelines, COPY, errors and notifications go through as they are."""
    with psycopg.connect(postgresql.url(database)) as one, psycopg.connect(database, autocommit=True) as other:
        for number in range(3):
            one.execute("insert into numbers values (%s)", (number,), prepare=True)
        one.commit()
        with pytest.raises(psycopg.errors.UniqueViolation):
            one.execute("insert into numbers values (0)")
        one.rollback()
        with one.pipeline():
            for number in range(3, 6):
                one.execute("insert into numbers values (%s)", (number,))
        with one.cursor().copy("copy numbers from stdin") as copied:
            for number in range(6, 500):
                copied.write_row((number,))
        one.commit()
        assert numbers(database) == list(range(500))
        assert len(one.execute("select number, repeat('x', 1000) from numbers").fetchall()) == 500
        one.execute("listen here")
        one.commit()
        other.execute("notify here, 'hello'")
        assert [told.payload for told in one.notifies(timeout=5, stop_after=1)] == ["hello"]
    assert postgresql.calls["CONNECT"] == 1
    assert postgresql.calls["COMMIT"] == 3
    assert not postgresql.injected


@pytest.mark.parametrize("fault", [RESET, UNAVAILABLE])
def test_postgresql_is_cut_off_before_the_commit(postgresql: PostgreSQLProxy, database: str, fault: str) -> None:
    """A connection that ends before its commit was heard has changed nothing."""
    postgresql.plan = Scripted(fault, on=["COMMIT"])
    error = psycopg.OperationalError if fault == RESET else psycopg.errors.AdminShutdown
    with closing(psycopg.connect(postgresql.url(database))) as connection:
        connection.execute("insert into numbers values (1)")
        with pytest.raises(error):
            connection.commit()
    assert numbers(database) == []
    assert postgresql.injected == {fault: 1}


def test_postgresql_is_cut_off_after_the_commit(postgresql: PostgreSQLProxy, database: str) -> None:
    """A commit whose answer is lost, at once or after a silence, is a commit."""
    postgresql.silence_s = 0.3
    for number, fault in enumerate((APPLIED_RESET, APPLIED_SILENT)):
        postgresql.plan = Scripted(fault, on=["COMMIT"])
        with closing(psycopg.connect(postgresql.url(database))) as connection:
            connection.execute("insert into numbers values (%s)", (number,))
            begun = time.monotonic()
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
        assert (time.monotonic() - begun >= 0.3) == (fault == APPLIED_SILENT)
        assert numbers(database) == list(range(number + 1))
    assert postgresql.injected == {APPLIED_RESET: 1, APPLIED_SILENT: 1}


@by_the_clock
def test_postgresql_is_cut_off_midway(postgresql: PostgreSQLProxy, database: str) -> None:
    """A reset in the middle of a query comes at once, and the server works on without knowing."""
    postgresql.plan = Scripted(MIDWAY, on=["INSERT"])
    with closing(psycopg.connect(postgresql.url(database), autocommit=True)) as connection:
        begun = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("insert into numbers select 7 from pg_sleep(3)")
        in_time(time.monotonic() - begun, 3)
    wait_until(lambda: numbers(database) == [7])


def test_postgresql_refuses_slows_and_goes(postgresql: PostgreSQLProxy, database: str) -> None:
    """Too many connections, a slow answer, an outage: refused, late, gone; and then it is back."""
    url = postgresql.url(database)
    postgresql.plan = Scripted(THROTTLED, SLOW)
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        psycopg.connect(url)
    postgresql.slow_s = 0.3
    begun = time.monotonic()
    with closing(psycopg.connect(url)) as connection:
        assert time.monotonic() - begun >= 0.3
        with postgresql.outage():
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
            with pytest.raises(psycopg.OperationalError, match="refused"):
                psycopg.connect(url)
    psycopg.connect(url).close()
    assert postgresql.injected == {THROTTLED: 1, SLOW: 1, OUTAGE: 1}


def test_plans() -> None:
    """A random plan is its seed's, keeps to its rate and its kinds; a script waits for calls that it can befall."""
    call = Call("PutItem", "/", frozenset((RESET, SLOW)))
    first, again = (
        [plan(call) for _ in range(2000)] for plan in (AtRandom(0.3, 7), AtRandom(0.3, 7, frozenset(reversed(ALL))))
    )
    assert first == again
    assert set(first) == {None, RESET, SLOW}
    assert 500 < sum(fault is not None for fault in first) < 700
    script = Scripted(PARTIAL, SLOW)
    assert script(call) is None
    assert script(call._replace(can=frozenset((PARTIAL,)))) == PARTIAL
    assert [script(call), script(call)] == [SLOW, None]


def test_the_proxy_tells_what_is_wrong_with_itself(dynamodb_server: Server, aws: None) -> None:
    """A plan that raises shows at the end of the proxy: no test passes because of a proxy that does not work."""

    def wrong(call: Call) -> str | None:
        raise KeyError(call.name)

    proxy = DynamoDBProxy(dynamodb_server.port, wrong)
    proxy.__enter__()
    with pytest.raises(ConnectionClosedError):
        client("dynamodb", proxy).list_tables()
    with pytest.raises(AssertionError, match="ListTables"):
        proxy.__exit__()
