"""What goes wrong, and what is said then: each an error of the tree that says what to do next."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError

from otel_agent_journal.errors import (
    ConfigError,
    EventTooLarge,
    StoreError,
    StoreUnreachable,
    StoreUnusable,
    UnsupportedByStore,
)
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from otel_agent_journal_dynamodb import appending as module
from scripts.ports import reserved_port
from tests.real.fault_proxy import APPLIED_RESET, APPLIED_SILENT, FAILED, RESET, THROTTLED, Call, Scripted
from tests.real.fault_proxy_http import DynamoDBProxy, Request, Response, S3Proxy
from tests.real.servers import KEY, SECRET, DynamoDB, Minio


class Refusing(DynamoDBProxy):
    """A DynamoDB that answers some operations with one error, as only the real service does."""

    def __init__(
        self, port: int, code: str, message: str = "no", *, status: int = 400, on: tuple[str, ...] = ()
    ) -> None:
        super().__init__(port, self._plan)
        self._code, self._message, self._status, self._on = code, message, status, on

    def _plan(self, call: Call) -> str | None:
        return FAILED if not self._on or call.name in self._on else None

    def refusal(self, fault: str, request: Request) -> Response:
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{self._code}", "message": self._message}
        return Response(self._status, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(body).encode())


class ToOneKey(Refusing):
    """Refuses whoever signs with the key that `on` names."""

    def call(self, request: Request) -> Call:
        key = (request.header("authorization") or "").partition("Credential=")[2].partition("/")[0]
        return super().call(request)._replace(name=key)


@pytest.fixture
def refused(store: DynamoDBStore, dynamodb_server: DynamoDB) -> Iterator[Callable[..., DynamoDBStore]]:
    """Return a store on the table of `store`, to which DynamoDB says no."""
    proxies: list[Refusing] = []

    def make(code: str, message: str = "no", *, kind: type[Refusing] = Refusing, **options: Any) -> DynamoDBStore:
        proxy = kind(dynamodb_server.port, code, message, **options)
        proxies.append(proxy)
        proxy.__enter__()
        other = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)))
        other._connection.sleep = lambda _: None
        return other

    yield make
    for proxy in proxies:
        proxy.__exit__(None, None, None)


def every_call(store: DynamoDBStore) -> list[Callable[[], object]]:
    return [
        lambda: store.append(events(2)),
        lambda: store.append_context("i1", 0, context_events(1)),
        lambda: list(store.read("s1")),
        lambda: list(store.read_context("i1")),
        lambda: store.follow(None),
        store.tip,
        lambda: list(store.sessions()),
        lambda: store.head("s1"),
        lambda: store.write_head(a_head()),
        lambda: store.put_blob("s1", "a" * 32, b"1"),
        lambda: store.get_blob("s1", "a" * 32),
        store.info,
        lambda: list(store.unsettled()),
        lambda: list(store.session_ids()),
        lambda: store.delete_session("s1", None, 0),
    ]


def test_no_table(aws: None, dynamodb_server: DynamoDB) -> None:
    """Where the table is missing every call says how to create it, and opening alone creates nothing."""
    store = open_store(dynamodb_server.url("not-there"), create=True)
    for call in every_call(store):
        with pytest.raises(
            StoreUnreachable, match=r"no table 'not-there' in region us-east-1.*store init '?dynamodb://"
        ):
            call()
    assert len(store.init_plan()) == 3


def test_another_schema(aws: None, dynamodb_server: DynamoDB) -> None:
    """A table with other keys is another program's: named, refused, untouched."""
    name = "of-another-program"
    client: Any = boto3.client("dynamodb", endpoint_url=dynamodb_server.endpoint)
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    store = open_store(dynamodb_server.url(name))
    for call in every_call(store)[:11]:
        with pytest.raises(StoreUnusable, match=r"of another program|lacks an index"):
            call()
    for call in (store.init, store.init_plan):
        with pytest.raises(StoreUnusable, match=r"its keys are id \(S, HASH\)"):
            call()
    assert client.scan(TableName=name)["Count"] == 0


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("AccessDeniedException", 400, "iam-policy"),
        ("ExpiredTokenException", 400, "renew them"),
        ("UnrecognizedClientException", 400, "credentials were refused"),
        ("InvalidSignatureException", 400, "check the clock"),
        ("ProvisionedThroughputExceededException", 400, "throttles"),
        ("ThrottlingException", 400, "throttles"),
        ("RequestLimitExceeded", 400, "throttles"),
        ("InternalServerError", 500, "busy or in trouble"),
        ("ServiceUnavailable", 503, "busy or in trouble"),
        ("ResourceNotFoundException", 400, "store init"),
    ],
)
def test_what_may_pass(refused: Callable[..., DynamoDBStore], code: str, status: int, says: str) -> None:
    """What may pass, or an operator can mend, is StoreUnreachable and says what to do: the spool keeps events."""
    store = refused(code, status=status)
    for call in every_call(store):
        with pytest.raises(StoreUnreachable, match=says):
            call()


@pytest.mark.parametrize(
    ("fault", "says"),
    [(RESET, "no answer|nothing answers"), (APPLIED_SILENT, "no answer in time"), (APPLIED_RESET, "no answer")],
)
def test_no_answer(store: DynamoDBStore, dynamodb_server: DynamoDB, fault: str, says: str) -> None:
    """A connection that ends, or says nothing, is told as that, and not as what our own code made of it."""
    store.append(events(1))
    with DynamoDBProxy(dynamodb_server.port, lambda call: fault if fault in call.can else None, silence_s=1) as proxy:
        other = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)) + "&timeout=0.3")
        other._connection.sleep = lambda _: None
        for call in (lambda: other.append(events(2)), lambda: other.delete_document("scope", "name", 1)):
            with pytest.raises(StoreUnreachable, match=says) as refusal:
                call()
            assert isinstance(refusal.value.__cause__, BotoCoreError), repr(refusal.value.__cause__)
            assert "AttributeError" not in str(refusal.value)


def test_what_will_not_pass(refused: Callable[..., DynamoDBStore]) -> None:
    """A request that DynamoDB will never take is no StoreUnreachable: the drain looks for the event to blame."""
    store = refused("ValidationException", "One or more parameter values were invalid")
    with pytest.raises(StoreError, match="were invalid") as refusal:
        store.append(events(1))
    assert not isinstance(refusal.value, StoreUnreachable | StoreUnusable)


def test_ten_gigabytes(refused: Callable[..., DynamoDBStore]) -> None:
    """A session at the limit of its item collection is told from a store that is away."""
    store = refused("ItemCollectionSizeLimitExceededException", on=("BatchWriteItem",))
    with pytest.raises(StoreError, match=r"10 GB.*bucket=") as refusal:
        store.append(events(1))
    assert not isinstance(refusal.value, StoreUnreachable)


def test_a_log_of_ten_gigabytes(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where it is the record of what arrived that finds no room."""
    real = store._connection.call

    def full(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if operation == "PutItem" and body["Item"]["PK"]["S"].startswith("SESSION#"):
            raise Refusal(operation, "ItemCollectionSizeLimitExceededException", "", 400, {})
        return real(operation, body)

    monkeypatch.setattr(store._connection, "call", full)
    with pytest.raises(StoreError, match="a session has reached 10 GB") as refusal:
        store.append(events(1))
    assert type(refusal.value) is StoreError


def test_a_transaction_at_ten_gigabytes(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in a transaction, of which DynamoDB says for each action why it was not done."""
    reasons = [{"Code": "None"}] * 5
    reasons[-2] = {"Code": "ItemCollectionSizeLimitExceeded"}
    real = store._connection.call

    def cancelled(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if operation != "TransactWriteItems":
            return real(operation, body)
        raise Refusal(operation, "TransactionCanceledException", "", 400, {"CancellationReasons": reasons})

    monkeypatch.setattr(store._connection, "call", cancelled)
    with pytest.raises(StoreError, match="10 GB") as refusal:
        store.append_context("i1", 0, context_events(1))
    assert type(refusal.value) is StoreError


def test_nobody_there(aws: None) -> None:
    """A refused connection is StoreUnreachable, after a few attempts."""
    store = open_store(f"dynamodb://journal?region=us-east-1&endpoint_url=http://127.0.0.1:{reserved_port()}")
    pauses: list[float] = []
    store._connection.sleep = pauses.append
    with pytest.raises(StoreUnreachable, match="nothing answers there"):
        store.append(events(1))
    assert len(pauses) == 5


def test_no_credentials(aws: None, dynamodb_server: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials it says how to give them, at once."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreUnreachable, match="there are no AWS credentials"):
        open_store(dynamodb_server.url()).append(events(1))


def test_credentials_that_come_later(aws: None, store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that were not there at the first call are found by a later one of the same store."""
    late = open_store(store.url)
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        for _ in range(2):
            with pytest.raises(StoreUnreachable, match="there are no AWS credentials"):
                late.append(events(1))
    late.append(events(1))
    assert list(late.read("s1")) == events(1)


def test_credentials_that_were_renewed(
    store: DynamoDBStore, refused: Callable[..., DynamoDBStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that were renewed in ~/.aws/credentials are used once the old ones are refused."""
    file = tmp_path / "credentials"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
    expiring = refused("ExpiredTokenException", kind=ToOneKey, on=("OLD",))
    with pytest.raises(StoreUnreachable, match="renew them"):
        expiring.append(events(1))
    file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    expiring.append(events(1))
    assert list(expiring.read("s1")) == events(1)


def test_no_region(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region it says where to name one."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError, match="region="):
        open_store("dynamodb://journal").append(events(1))


def test_no_such_profile(aws: None) -> None:
    """A profile that is not configured is a mistake in the settings."""
    with pytest.raises(ConfigError, match="profile"):
        open_store("dynamodb://journal?profile=nobody").append(events(1))


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://",
        "dynamodb://ab",
        "dynamodb://a/b/c",
        "dynamodb://journal?region",
        "dynamodb://journal?regoin=us-east-1",
        "dynamodb://journal?timeout=soon",
        "dynamodb://journal?ttl_days=0",
    ],
)
def test_malformed_url(url: str) -> None:
    """A malformed URL is refused before anything is called."""
    with pytest.raises(ConfigError):
        open_store(url)


def test_no_such_role(store: DynamoDBStore) -> None:
    """A policy for a role that does not exist is refused."""
    with pytest.raises(ConfigError, match="writer, reader, admin"):
        store.iam_policy("owner")


def test_too_large(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event over the declared limit is EventTooLarge, which names it, and nothing of the call is written."""
    monkeypatch.setattr("otel_agent_journal_dynamodb.appending.MAX_EVENT_BYTES", 500_000)
    event = an_event(details={"output": "x" * 500_000})
    with pytest.raises(EventTooLarge) as refusal:
        store.append([event])
    assert refusal.value.event_id == event.event_id
    assert list(store.read("s1")) == []


ALL_BUT_PUT = ("BatchGetItem", "BatchWriteItem", "GetItem", "Query", "TransactWriteItems", "DescribeTable")


def test_put_item_alone(
    store: DynamoDBStore, refused: Callable[..., DynamoDBStore], caplog: pytest.LogCaptureFixture
) -> None:
    """With PutItem alone events are put one by one, the first copy stays, and the log says so once."""
    limited = refused("AccessDeniedException", on=ALL_BUT_PUT)
    with caplog.at_level(logging.WARNING, "otel_agent_journal.store"):
        limited.append(events(3))
        limited.append([*events(4), an_event(2, details={"copy": 2})])
    assert list(store.read("s1")) == events(4)
    assert len(caplog.records) == 1
    assert "put one by one" in caplog.text
    assert not limited.capabilities.heads
    for refusing in (lambda: limited.head("s1"), lambda: limited.follow(None), lambda: list(limited.read("s1"))):
        with pytest.raises(UnsupportedByStore):
            refusing()


def test_put_item_alone_and_large_values(store: DynamoDBStore, refused: Callable[..., DynamoDBStore]) -> None:
    """With PutItem alone values of any size are kept too, also before the first event."""
    limited = refused("AccessDeniedException", on=ALL_BUT_PUT)
    for _ in range(2):
        limited.put_blob("s1", "a" * 32, b"x" * 1_000_000)
    large = an_event(details={"output": "x" * 1_000_000})
    limited.append([large])
    assert store.get_blob("s1", "a" * 32) == b"x" * 1_000_000
    assert list(store.read("s1")) == [large]


def test_put_item_and_query(store: DynamoDBStore, refused: Callable[..., DynamoDBStore]) -> None:
    """The same with PutItem and Query, which a workflow's role has."""
    limited = refused("AccessDeniedException", on=tuple(one for one in ALL_BUT_PUT if one != "Query"))
    limited.append(events(3))
    assert list(store.read("s1")) == events(3)


def test_put_item_alone_for_a_while(
    store: DynamoDBStore,
    refused: Callable[..., DynamoDBStore],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A writer that was denied for a while looks again each minute, and goes on with everything, saying so once."""
    limited = refused("AccessDeniedException", on=ALL_BUT_PUT)
    call = limited._connection.call
    asked: list[str] = []

    def noted(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        asked.append(operation)
        return call(operation, body)

    monkeypatch.setattr(limited._connection, "call", noted)
    with caplog.at_level(logging.WARNING, "otel_agent_journal.store"):
        limited.append(events(1))
        asked.clear()
        limited.append(events(2))
        assert asked == ["PutItem", "PutItem"]
        monkeypatch.setattr(module, "AGAIN_S", 0.0)
        limited._appending.try_all_at = 0.0
        limited.append(events(3))
        assert not limited.capabilities.read
        call = store._connection.call  # now everything is permitted
        limited.append(events(4))
        limited.append(events(5))
    assert limited.capabilities.read
    assert list(limited.read("s1")) == events(5)
    assert [event.event_id for event in store.follow(None).events] == [event.event_id for event in events(5)[3:]]
    assert [record.getMessage().partition(" | ")[2][:15] for record in caplog.records] == [
        "events are put ",
        "all is permitte",
    ]


@pytest.mark.parametrize("options", ["bucket=values&s3_endpoint_url=minio:9000", "bucket=no%20bucket"])
def test_a_bucket_that_is_set_up_wrong(store: DynamoDBStore, options: str) -> None:
    """A bucket that boto3 cannot even ask is a mistake in the settings, of which no event is to blame."""
    wrong = open_store(f"{store.url}&{options}")
    with pytest.raises(ConfigError, match=r"whose options are .*bucket, s3_endpoint_url"):
        wrong.append([an_event(details={"output": "x" * 600_000})])


def test_a_bucket_that_is_slow(store: DynamoDBStore, minio_server: Minio) -> None:
    """What a bucket refuses for being too fast is asked for again."""
    s3: Any = boto3.client("s3", endpoint_url=minio_server.endpoint)
    s3.create_bucket(Bucket="journal-slow-values")
    with S3Proxy(minio_server.port) as proxy:
        slow = open_store(f"{store.url}&bucket=journal-slow-values&s3_endpoint_url={proxy.endpoint}")
        event = an_event(details={"output": "x" * 600_000})
        for call in (lambda: slow.append([event]), lambda: list(slow.read("s1"))):
            proxy.plan = Scripted(THROTTLED)
            call()
        assert proxy.injected[THROTTLED] == 2
        assert list(slow.read("s1")) == [event]


def test_nothing_at_all(refused: Callable[..., DynamoDBStore]) -> None:
    """Without any permission the error names the one that is missing."""
    limited = refused("AccessDeniedException")
    with pytest.raises(StoreUnreachable, match="PutItem: not permitted"):
        limited.append(events(3))
    assert limited.capabilities.heads
