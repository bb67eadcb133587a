"""BatchWriteItem and BatchGetItem to the end: in portions of what DynamoDB takes, what it leaves over asked again.

Not atomic and not ordered. What is left over after patient repetition is `StoreUnreachable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.keys import Key

WRITE_ITEMS: Final = 25  # BatchWriteItem's limit
WRITE_BYTES: Final = 12 * 1024 * 1024  # of its 16 MB; bytes travel as base64
READ_ITEMS: Final = 100  # BatchGetItem's limit
IDLE_ROUNDS: Final = 8  # answers in a row in which nothing was taken

Request = dict[str, Any]


def put(item: Item) -> Request:
    """Return the request to put an item."""
    return {"PutRequest": {"Item": item}}


def delete(key: Key) -> Request:
    """Return the request to delete an item."""
    return {"DeleteRequest": {"Key": {"PK": {"S": key[0]}, "SK": {"S": key[1]}}}}


def projection(*attributes: str) -> Request:
    """Return what asks for these attributes alone, many of whose names are reserved words."""
    names = {f"#a{number}": name for number, name in enumerate(attributes)}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}


def write_all(connection: Connection, requests: Sequence[Request]) -> None:
    """Write all; keys are distinct. Durable when it returns."""
    for start in range(0, len(requests), WRITE_ITEMS):
        _write(connection, list(requests[start : start + WRITE_ITEMS]))


def _write(connection: Connection, left: list[Request]) -> None:
    table, idle = connection.place.table, 0
    while left:
        answer = connection.call("BatchWriteItem", {"RequestItems": {table: left}})
        again = cast("list[Request]", (answer.get("UnprocessedItems") or {}).get(table, []))
        idle = idle + 1 if len(again) == len(left) else 0
        left = again
        if left:
            _wait(connection, idle, len(left), "written")


def read_all(connection: Connection, keys: Iterable[Key], *attributes: str) -> Iterator[Item]:
    """Yield the items of distinct keys that are there, in any order, by consistent reads.

    `attributes`: those that are wanted, all where none is named.
    """
    table = connection.place.table
    wanted = [{"PK": {"S": partition}, "SK": {"S": key}} for partition, key in keys]
    options: dict[str, Any] = {"ConsistentRead": True}
    if attributes:
        options |= projection(*attributes)
    for start in range(0, len(wanted), READ_ITEMS):
        left, idle = wanted[start : start + READ_ITEMS], 0
        while left:
            answer = connection.call("BatchGetItem", {"RequestItems": {table: {"Keys": left, **options}}})
            yield from (answer.get("Responses") or {}).get(table, ())
            again = cast("list[Item]", (answer.get("UnprocessedKeys") or {}).get(table, {}).get("Keys", []))
            idle = idle + 1 if len(again) == len(left) else 0
            left = again
            if left and idle:
                _wait(connection, idle, len(left), "read")


def query(connection: Connection, **request: Any) -> Iterator[Item]:
    """Yield the items of a Query, page by page; consistent unless `ConsistentRead` says otherwise."""
    yield from _paged(connection, "Query", request)


def scan(connection: Connection, **request: Any) -> Iterator[Item]:
    """Yield the items of a Scan, page by page, each as it was when it was come by."""
    yield from _paged(connection, "Scan", request)


def _paged(connection: Connection, operation: str, request: Request) -> Iterator[Item]:
    body: Request = {"TableName": connection.place.table, "ConsistentRead": True, **request}
    while True:
        answer = connection.call(operation, body)
        yield from answer.get("Items", ())
        last = answer.get("LastEvaluatedKey")
        if not last:
            return
        body["ExclusiveStartKey"] = last


def _wait(connection: Connection, idle: int, left: int, done: str) -> None:
    if idle >= IDLE_ROUNDS:
        raise StoreUnreachable(
            f"store {connection.place.url}: DynamoDB throttles: {left} items were not {done} in {idle} attempts;"
            " it will take them a little later"
        )
    connection.pause(max(1, idle))
