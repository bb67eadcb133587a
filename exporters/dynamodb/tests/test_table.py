"""What is in the table: what plain readers of it see, what other writers may put there, values of any size."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import msgspec
import pytest
from boto3.dynamodb.conditions import Attr, Key

from otel_agent_journal.codec import encode_line, format_timestamp
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import AGENT_BACKGROUND_TASK_COMPLETED, ErrorInfo
from otel_agent_journal.store.protocol import BRIEF, SessionFilter
from otel_agent_journal.store.rules import prune
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.keys import LISTS, activity_of, mark_key, marks_of, share_of
from tests.real.servers import DynamoDB, Minio, Moto

DAY_S = 86_400
TIME = format_timestamp(EPOCH_2026_NS)


@pytest.fixture
def table(store: DynamoDBStore, dynamodb_server: DynamoDB) -> Any:
    """Return the table of `store` as plain boto3 has it."""
    resource: Any = boto3.resource("dynamodb", endpoint_url=dynamodb_server.endpoint)
    return resource.Table(store._connection.place.table)


def keys(table: Any) -> list[tuple[str, str]]:
    found = table.scan()["Items"]
    return sorted((item["PK"], item["SK"]) for item in found)


def test_plain_reader(store: DynamoDBStore, table: Any) -> None:
    """A plain Query on PK, filtered by Status, finds the completion event and nothing else."""
    done = an_event(
        50,
        type=AGENT_BACKGROUND_TASK_COMPLETED,
        details={"output": {"rows": 12}},
        error=ErrorInfo(type="Warning", message="3 rows skipped"),
    )
    store.append([*events(5), done])
    store.write_head(a_head(status="COMPLETED"))
    found = table.query(
        KeyConditionExpression=Key("PK").eq("SESSION#s1") & Key("SK").begins_with("EVENT#"),
        FilterExpression=Attr("Status").eq(AGENT_BACKGROUND_TASK_COMPLETED),
    )["Items"]
    (item,) = found
    assert item["SK"] == f"EVENT#{format_timestamp(done.timestamp_ns)}#{done.event_id}"
    assert (item["Timestamp"], item["ErrorMessage"]) == (format_timestamp(done.timestamp_ns), "3 rows skipped")
    assert json.loads(item["Details"]) == {"output": {"rows": 12}}
    without_range = table.query(
        KeyConditionExpression=Key("PK").eq("SESSION#s1"), FilterExpression=Attr("Status").begins_with("COMPLETED")
    )
    assert without_range["Items"] == []


def test_keys(store: DynamoDBStore, table: Any) -> None:
    """Everything of a session is in its partition; instances, activity and marks have partitions of their own."""
    store.append(events(1))
    store.append_context("i1", 0, context_events(1))
    store.write_head(a_head())
    store.put_blob("s1", "d" * 32, b"{}")
    active = [key for key in keys(table) if key[0].startswith("ACTIVE#")]
    shares = {activity_of(time.time_ns() - ago_ns, share_of("SESSION#s1", LISTS)) for ago_ns in (0, 10**11)}
    assert {partition for partition, _ in active} <= shares
    assert [key[20:] for _, key in active] == ["#s1", "#s1"]
    mark = marks_of("SESSION#s1"), mark_key("SESSION#s1", store._marks._holds["SESSION#s1"].holder)
    (note,), (message,) = events(1), context_events(1)
    assert keys(table) == sorted(
        [
            ("SESSION#s1", f"EVENT#{TIME}#{note.event_id}"),
            ("SESSION#s1", f"EVENT#{TIME}#{message.event_id}"),
            ("SESSION#s1", "META"),
            ("SESSION#s1", "INSTANCE#i1"),
            ("SESSION#s1", f"BLOB#{'d' * 32}#000000"),
            ("INSTANCE#i1", "META"),
            ("INSTANCE#i1", f"ID#{message.event_id}"),
            ("SESSION#s1", f"ARRIVED#{1:016d}"),
            ("SESSION#s1", f"ARRIVED#{2:016d}"),
            *active,
            mark,
        ]
    )


def test_other_writers(store: DynamoDBStore, table: Any) -> None:
    """Records of other writers are read: no id, other precisions, details as a map or a text, attributes of theirs."""
    put: list[dict[str, Any]] = [
        {
            "SK": "EVENT#2026-01-01T00:00:05Z",
            "Status": "SESSION_INITIATED",
            "Details": {"in": {"n": 1, "x": [True]}},
        },
        {"SK": "EVENT#2026-01-01T00:00:05.5Z", "Status": "STAGE_CHANGED", "Details": '{"stage": "Load"}'},
        {"SK": "EVENT#2026-01-01T00:00:05.25+00:00#abc", "Status": "NOTE", "Details": "as it is", "StepCount": 3},
        {"SK": "EVENT#2026-01-01T00:00:07Z#x", "Status": "TASK_FAILED", "ErrorMessage": "no disk", "Level": "ERROR"},
        {"SK": "EVENT#2026-01-01T00:00:08Z", "Timestamp": "2026-01-01T00:00:08.000001Z", "Seq": "first"},
    ]
    for item in put:
        table.put_item(Item={"PK": "SESSION#s%2F1", **item})
    store.append([an_event(5100, session_id="s/1")])
    read = list(store.read("s/1"))
    assert [event.type for event in read] == [
        "SESSION_INITIATED",
        "NOTE",  # ours, 5.1 s
        "NOTE",  # theirs, 5.25 s
        "STAGE_CHANGED",
        "TASK_FAILED",
        "NOTE",
    ]
    assert [event.timestamp_ns for event in read] == sorted(event.timestamp_ns for event in read)
    assert {event.session_id for event in read} == {"s/1"}
    assert len({event.event_id for event in read}) == 6
    assert read[0].details == {"in": {"n": 1, "x": [True]}}
    assert read[2].details == {"value": "as it is", "StepCount": 3}
    assert read[3].details == {"stage": "Load"}
    assert read[4].error == ErrorInfo(type="Error", message="no disk")
    assert list(store.read("s/1")) == read
    for number, event in enumerate(read):
        assert list(store.read("s/1", (event.timestamp_ns, event.event_id))) == read[number + 1 :]


def test_items_that_only_look_like_events(store: DynamoDBStore, table: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One item of another program breaks no session: what can be read of it is, or it is left out and said so once."""
    ours = {"SchemaVersion": 1, "Status": "NOTE"}
    put: list[dict[str, Any]] = [
        {"SK": "EVENT#2026-01-01T00:00:01Z", "Timestamp": 1_767_225_601},
        {"SK": "EVENT#2026-01-01T00:00:02Z", "EventId": 17, "Seq": 4, "SessionId": 5, "Timestamp": b"x"},
        {"SK": "EVENT#2026-01-01T00:00:03Z#x", "EventId": "x", **ours},
        {"SK": "EVENT#2026-01-01T00:00:04Z#x", "EventId": "y", "Level": "INFO", "Details": {"a": 1}, **ours, "Seq": 9},
        {"SK": "EVENT#2026-01-01T00:00:05Z#x", "EventId": "z", "Level": "INFO", "Details": "[1]", "Seq": 0, **ours},
        {"SK": "EVENT#1767225606", "Status": "NOTE"},
        {"SK": "EVENT#1767225607", "Status": "NOTE"},
        {"SK": "EVENT#2026-01-01T00:00:08Z", "SchemaVersion": Decimal("1.5"), "EventId": "w", "Attempt": True},
    ]
    for item in put:
        table.put_item(Item={"PK": "SESSION#s1", **item})
    store.append([an_event(9_000)])
    with caplog.at_level(logging.WARNING, "otel_agent_journal.store"):
        read = list(store.read("s1"))
        others = list(store.put_by_others("s1"))
    assert [(event.timestamp_ns - EPOCH_2026_NS) // 10**9 for event in read] == [1, 2, 3, 4, 5, 8, 9]
    assert others == read[:-1]
    assert len(caplog.records) == 1
    assert "EVENT#1767225606" in caplog.text
    assert read[0].details == {"Timestamp": 1_767_225_601}
    assert (read[1].event_id, read[1].session_id, read[1].seq, read[1].details["Seq"]) == ("17", "5", None, 4)
    assert (read[2].event_id, read[2].level) == ("x", "INFO")
    assert (read[3].seq, read[3].details) == (None, {"a": 1, "Seq": 9})
    assert read[4].details == {"value": [1], "Seq": 0}
    assert read[-1] == an_event(9_000)


def test_their_event_is_not_ours_to_replace(store: DynamoDBStore, table: Any) -> None:
    """An event that somebody else put under the same key stays as it is, and is no news."""
    mine = an_event()
    table.put_item(Item={"PK": "SESSION#s1", "SK": f"EVENT#{TIME}#{mine.event_id}", "Status": "THEIRS"})
    store.append([mine])
    (read,) = store.read("s1")
    assert read.type == "THEIRS"
    assert store.follow(None).events == ()


def test_put_by_others(store: DynamoDBStore, table: Any) -> None:
    """What nobody has logged is found by session and time: neither our events nor context, nor another session's."""
    theirs = [f"EVENT#2026-01-01T00:00:0{second}Z#x" for second in (7, 5, 9)]
    for key in theirs:
        table.put_item(Item={"PK": "SESSION#s1", "SK": key, "Status": "SESSION_INITIATED"})
    table.put_item(Item={"PK": "SESSION#s2", "SK": theirs[0], "Status": "SESSION_INITIATED"})
    store.append(events(9, first=5000))
    store.append_context("i1", 0, context_events(2))
    found = list(store.put_by_others("s1"))
    assert [event.timestamp_ns - EPOCH_2026_NS for event in found] == [5 * 10**9, 7 * 10**9, 9 * 10**9]
    assert list(store.put_by_others("s1", found[1].timestamp_ns)) == found[1:]
    assert list(store.put_by_others("s1", found[2].timestamp_ns + 1)) == []


@pytest.mark.parametrize("size", [349_000, 350_000, 358_400, 399_000, 420_000, 5_000_000])
def test_large_details(store: DynamoDBStore, table: Any, size: int) -> None:
    """Details of any size are kept whole; over the item limit in chunks, the event's item still says what it is."""
    event = an_event(type="TOOL_END", name="fetch", details={"output": "é" * (size // 2)})
    store.append([event, an_event(1)])
    assert list(store.read("s1")) == [event, an_event(1)]
    assert list(store.follow(None).events) == [event, an_event(1)]
    item = table.get_item(Key={"PK": "SESSION#s1", "SK": f"EVENT#{TIME}#{event.event_id}"})["Item"]
    assert (item["Status"], item["Name"]) == ("TOOL_END", "fetch")
    assert ("Blob" in item) == (size > 358_000)


def test_large_everything(store: DynamoDBStore) -> None:
    """Not only details may be large: names, messages, context events."""
    event = an_event(name="n" * 500_000, error=ErrorInfo(type="E", message="m" * 500_000), details={"a": "\udc80" * 9})
    store.append([event])
    (read,) = store.read("s1")
    assert (read.name, read.error) == (event.name, event.error)
    messages = [
        msgspec.structs.replace(one, details={"content": "x" * 300_000}, digest=None) for one in context_events(20)
    ]
    store.append_context("i1", 0, messages)
    assert list(store.read_context("i1")) == messages
    (long,) = context_events(1, first=20)
    long = msgspec.structs.replace(long, details={"content": "x" * 600_000}, digest=None)
    store.append_context("i1", 20, [long])
    assert list(store.read_context("i1", 20)) == [long]


def test_values_in_a_bucket(store: DynamoDBStore, minio_server: Minio) -> None:
    """With a bucket, large values go there; who reads needs not name it, and prune deletes them."""
    s3: Any = boto3.client("s3", endpoint_url=minio_server.endpoint)
    s3.create_bucket(Bucket="journal-values")
    large = open_store(f"{store.url}&bucket=journal-values&s3_endpoint_url={minio_server.endpoint}")
    event = an_event(details={"output": "x" * 2_000_000})
    large.append([event])
    large.put_blob("s1", "a" * 32, b"y" * 1_000_000)
    large.put_blob("s1", "b" * 32, b"small")
    assert len(s3.list_objects_v2(Bucket="journal-values")["Contents"]) == 2
    reader = open_store(f"{store.url}&s3_endpoint_url={minio_server.endpoint}")
    assert list(reader.read("s1")) == [event]
    assert reader.get_blob("s1", "a" * 32) == b"y" * 1_000_000
    assert prune(large, EPOCH_2026_NS + 10**9) == 1
    assert "Contents" not in s3.list_objects_v2(Bucket="journal-values")


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_value_that_is_gone(store: DynamoDBStore, table: Any, chunk: int) -> None:
    """An event whose value expired before it holds up nobody: what its item still says is given, and that it is all."""
    event = an_event(type="TOOL_END", name="fetch" * 300, details={"output": "x" * 600_000})
    store.append([event, an_event(1)])
    (message,) = context_events(1)
    message = msgspec.structs.replace(message, details={"content": "x" * 600_000}, digest=None)
    store.append_context("i1", 0, [message])
    for _, key in keys(table):
        if key.startswith("BLOB#") and key.endswith(f"{chunk:06d}"):
            table.delete_item(Key={"PK": "SESSION#s1", "SK": key})
    found, behind, followed_message = store.follow(None).events
    assert (found.key, found.type, found.name) == (event.key, "TOOL_END", ("fetch" * 300)[:1_000])
    assert list(found.details) == ["lost"]
    assert behind == an_event(1)
    assert set(map(encode_line, store.read("s1"))) == set(map(encode_line, (found, behind, followed_message)))
    assert list(store.read_context("i1")) == [followed_message]
    assert (followed_message.seq, list(followed_message.details)) == (0, ["lost"])
    store.append_context("i1", 1, context_events(1, first=1))
    table.update_item(
        Key={"PK": "SESSION#s1", "SK": f"EVENT#{TIME}#{event.event_id}"},
        UpdateExpression="SET ExpiresAt = :past",
        ExpressionAttributeValues={":past": 1},
    )
    assert event.event_id not in [one.event_id for one in (*store.read("s1"), *store.follow(None).events)]


def test_an_object_that_is_gone(store: DynamoDBStore, minio_server: Minio) -> None:
    """The same where the bucket has lost it."""
    s3: Any = boto3.client("s3", endpoint_url=minio_server.endpoint)
    s3.create_bucket(Bucket="journal-lost-values")
    large = open_store(f"{store.url}&bucket=journal-lost-values&s3_endpoint_url={minio_server.endpoint}")
    large.append([an_event(details={"output": "x" * 600_000}), an_event(1)])
    (lost,) = s3.list_objects_v2(Bucket="journal-lost-values")["Contents"]
    s3.delete_object(Bucket="journal-lost-values", Key=lost["Key"])
    found, behind = large.read("s1")
    assert (list(found.details), behind) == (["lost"], an_event(1))
    assert large.get_blob("s1", lost["Key"].rpartition("/")[2]) is None


def test_no_bucket(store: DynamoDBStore, minio_server: Minio) -> None:
    """Where the bucket is missing it says so, and the event is not half there."""
    large = open_store(f"{store.url}&bucket=not-there&s3_endpoint_url={minio_server.endpoint}")
    with pytest.raises(StoreUnreachable, match="aws s3 mb s3://not-there"):
        large.append([an_event(details={"output": "x" * 2_000_000})])
    assert list(store.read("s1")) == []


@pytest.mark.parametrize("session_id", ["a/b", "..", "#", "SESSION#x", "two\nlines", "x" * 2_048, "😀" * 300, "", "~"])
def test_strange_sessions(store: DynamoDBStore, session_id: str) -> None:
    """A session's id may be any text, in every item that is of the session."""
    made = events(2, session_id=session_id)
    store.append(made)
    store.append_context("i/#1", 0, context_events(1, instance_id="i/#1", session_id=session_id))
    head = store.write_head(a_head(session_id))
    store.put_blob(session_id, "a" * 32, b"1")
    other = open_store(store.url)
    assert len(list(other.read(session_id))) == 3
    assert [event.session_id for event in other.read_context("i/#1")] == [session_id]
    assert list(other.sessions()) == [head]
    assert other.get_blob(session_id, "a" * 32) == b"1"
    assert len(other.follow(None, session_id=session_id).events) == 3


def test_expiry(store: DynamoDBStore, table: Any) -> None:
    """With ttl_days every item says when it expires, and the table lets it."""
    expiring = open_store(f"{store.url}&ttl_days=30")
    expiring.append(events(1))
    expiring.append_context("i1", 0, context_events(1))
    expiring.append_context("i1", 1, context_events(1, first=1))
    expiring.write_head(a_head())
    expiring.put_blob("s1", "a" * 32, b"1")
    items = table.scan()["Items"]
    assert all("ExpiresAt" in item for item in items)
    (mark,) = _expiries(table, "s1#")
    assert mark > max(_expiries(table, "EVENT#"))
    assert min(_expiries(table, "ARRIVED#")) > max(_expiries(table, "EVENT#")) + 6 * DAY_S
    assert max(_expiries(table, "0")) < time.time() + 8 * DAY_S  # activity, for a week whatever else is kept
    client: Any = table.meta.client
    answer = client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"]
    assert answer == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ExpiresAt"}


def _expiries(table: Any, prefix: str) -> list[int]:
    return [int(item["ExpiresAt"]) for item in table.scan()["Items"] if item["SK"].startswith(prefix)]


@pytest.mark.parametrize("put_alone", [False, True])
def test_a_value_outlives_what_refers_to_it(
    store: DynamoDBStore, table: Any, monkeypatch: pytest.MonkeyPatch, put_alone: bool
) -> None:
    """A value expires some days after its event, and is renewed as a whole when it is referred to again."""
    expiring = open_store(f"{store.url}&ttl_days=30")
    event = an_event(details={"output": "x" * 900_000})
    expiring.append([event])
    (written,) = _expiries(table, "EVENT#")
    first = _expiries(table, "BLOB#")
    assert len(first) == 3
    assert all(2 * DAY_S < expiry - written < 8 * DAY_S for expiry in first)
    if put_alone:
        call = expiring._connection.call

        def denied(operation: str, body: dict[str, Any]) -> dict[str, Any]:
            if operation != "PutItem":
                raise Refusal(operation, "AccessDeniedException", "no", 400, {})
            return call(operation, body)

        monkeypatch.setattr(expiring._connection, "call", denied)
    digest = table.scan(FilterExpression=Attr("Blob").exists())["Items"][0]["Blob"]
    line = store.get_blob("s1", digest)
    assert line is not None
    expiring.put_blob("s1", digest, line)
    assert _expiries(table, "BLOB#") == first
    now = time.time()
    monkeypatch.setattr("otel_agent_journal_dynamodb.store.time.time", lambda: now + 29 * DAY_S)
    expiring.put_blob("s1", digest, line)
    assert all(later - earlier > 28 * DAY_S for earlier, later in zip(first, _expiries(table, "BLOB#"), strict=True))
    monkeypatch.undo()
    assert list(store.read("s1")) == [event]


def test_a_value_that_does_not_expire(store: DynamoDBStore, table: Any) -> None:
    """A value that was kept for ever is, also where a writer with ttl_days refers to it."""
    store.put_blob("s1", "a" * 32, b"1")
    open_store(f"{store.url}&ttl_days=1").put_blob("s1", "a" * 32, b"1")
    (item,) = table.query(KeyConditionExpression=Key("PK").eq("SESSION#s1"))["Items"]
    assert "ExpiresAt" not in item


def test_a_head_that_is_listed_twice(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that the index shows twice while it is written is listed once, as it is now."""
    written = store.write_head(a_head(status="ERROR"))
    assert written is not None
    real = store._heads._listed

    def twice(share: str, wanted: SessionFilter) -> Iterator[Any]:
        for entry in real(share, wanted):
            yield entry
            before = None if entry.head is None else msgspec.structs.replace(entry.head, version=0)
            yield entry._replace(negative_ns=entry.negative_ns + 1, head=before)

    monkeypatch.setattr(store._heads, "_listed", twice)
    for brief in (False, True):
        assert [head.version for head in store.sessions(SessionFilter(brief=brief))] == [written.version]


def test_a_count_asks_the_index_alone(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A brief listing of sessions that have ended reads no head, and of an index that knows less all of them."""
    for number in range(30):
        store.write_head(a_head(session_id=f"s{number}", status="PROCESSING" if number == 7 else "ERROR"))
    counted = Counter[str]()
    real = store._connection.call

    def call(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        counted[operation] += 1
        answer = real(operation, body)
        if knows_less and operation == "Query":
            for item in answer["Items"]:
                item.pop("Brief", None)
        return answer

    monkeypatch.setattr(store._connection, "call", call)
    listed: list[list[tuple[Any, ...]]] = []
    ended = SessionFilter(brief=True, statuses=("ERROR",))
    for knows_less in (False, True):
        counted.clear()
        assert len(list(store.sessions(ended))) == 29
        assert counted["BatchGetItem"] == int(knows_less)
        found = store.sessions(SessionFilter(brief=True))
        listed.append([tuple(getattr(head, name) for name in BRIEF) for head in found])
    assert listed[0] == listed[1]
    assert len(listed[0]) == 30


def test_the_index_is_not_believed_of_what_goes_on(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a session that has just gone on, a brief listing says what its head does, however late the index is."""
    failed = store.write_head(a_head(status="ERROR", updated_ns=5))
    assert failed is not None
    real = store._connection.call
    late: dict[str, Any] = {}

    def call(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if operation != "Query" or "IndexName" not in body:
            return real(operation, body)
        share = body["ExpressionAttributeValues"][":list"]["S"]
        return late.setdefault(share, real(operation, body))

    monkeypatch.setattr(store._connection, "call", call)
    brief = SessionFilter(brief=True)
    assert [head.status for head in store.sessions(brief)] == ["ERROR"]
    for status, condition in (("PROCESSING", brief), ("COMPLETED", brief), ("COMPLETED", SessionFilter())):
        store.append([an_event(1)])
        head = store.head("s1")
        assert head is not None
        assert store.write_head(msgspec.structs.replace(head, status=status)) is not None
        assert [one.status for one in store.sessions(condition)] == [status]


def test_init_completes_a_table(aws: None, moto_server: Moto) -> None:
    """Of a table that has the keys and lacks the rest, `init` adds what can be added, and says so before."""
    # DynamoDB Local, once it has made many tables, never finishes an index that is added.
    store = open_store(f"dynamodb://journal?region=us-east-1&endpoint_url={moto_server.endpoint}")
    client: Any = boto3.client("dynamodb", endpoint_url=moto_server.endpoint)
    client.create_table(
        TableName=store._connection.place.table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
    )
    assert [line.split(" ")[0] for line in store.init_plan()] == ["add", "let"]
    store.init()
    assert store.init_plan() == []
    store.write_head(a_head())
    assert len(list(store.sessions())) == 1


@pytest.mark.long_form
def test_long_session(store: DynamoDBStore) -> None:
    """A session of 10,000 events (3,000 in the short form) is read back whole, in order, and followed."""
    made = events(10_000 if os.environ.get("AGENT_JOURNAL_SOAK") else 3_000)
    for start in range(0, len(made), 1_000):
        store.append(made[start : start + 1_000])
    assert list(store.read("s1")) == made
    found, cursor = [], None
    while (page := store.follow(cursor, limit=1_700)).events:
        found += page.events
        cursor = page.cursor
    assert found == made


def test_the_latest_few_cost_a_page_of_a_few(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """To list the latest one of many sessions, entries of the index are read for a few, and heads for one."""
    for number in range(60):
        store.write_head(a_head(f"s{number}", updated_ns=number, status="COMPLETED", open_writers=()))
    real, read = Connection.call, list[tuple[str, int]]()

    def counted(connection: Connection, operation: str, body: dict[str, Any]) -> Any:
        answer = real(connection, operation, body)
        found = answer.get("Items") or next(iter((answer.get("Responses") or {}).values()), [])
        read.append((operation, len(found)))
        return answer

    monkeypatch.setattr(Connection, "call", counted)
    assert [head.session_id for head in store.sessions(SessionFilter(limit=1))] == ["s59"]
    assert len(read) <= 5
    assert sum(count for _, count in read) <= 20
    read.clear()
    latest = [f"s{number}" for number in reversed(range(40, 60))]
    assert [head.session_id for head in store.sessions(SessionFilter(limit=20))] == latest
    assert sum(count for operation, count in read if operation == "Query") <= 60
    read.clear()
    wanted = SessionFilter(agent="nobody", limit=1)
    assert list(store.sessions(wanted)) == []
    assert len(read) == 4
