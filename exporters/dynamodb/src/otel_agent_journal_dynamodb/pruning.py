"""Deletion of old sessions, each with all that is its own: events, values, instances and, last, its head."""

from __future__ import annotations

from collections.abc import Iterator

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.rules import is_prunable, old_sessions, prunable
from otel_agent_journal_dynamodb.batches import delete, query, write_all
from otel_agent_journal_dynamodb.blobs import Blobs
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.failures import Refusal
from otel_agent_journal_dynamodb.heads import Heads
from otel_agent_journal_dynamodb.keys import AFTER_EVENTS, EVENT, HEAD, INSTANCE, Key, session_key


def prune(connection: Connection, heads: Heads, blobs: Blobs, older_than_ns: int, *, dry_run: bool) -> int:
    """Delete the sessions last updated before a time; return how many. Broken off, it goes on when repeated."""
    count = 0
    for head in prunable(heads.list(old_sessions(older_than_ns)), older_than_ns, heads.get):
        now = head if dry_run else heads.get(head.session_id)  # somebody may have gone on with it since it was listed
        if now is None or not is_prunable(now, older_than_ns):
            continue
        if dry_run or _delete(connection, blobs, now, older_than_ns):
            count += now.part_of is None
    return count


def _delete(connection: Connection, blobs: Blobs, head: SessionHead, older_than_ns: int) -> bool:
    """Delete one session, unless it has an event that is not older; its head only if nobody wrote it meanwhile.

    So a session that went on since its head was written keeps all that it has. What refers to a value goes before it,
    so that nobody reads an event whose value is gone.
    """
    partition = session_key(head.session_id)
    newer = EVENT + format_timestamp(older_than_ns)
    found: list[Key] = []
    for item in _items(connection, partition):
        key = item["SK"]["S"]
        if key == HEAD:
            continue
        if key.startswith(EVENT) and key >= newer:
            return False
        blobs.delete_object(item)
        if key.startswith(INSTANCE):
            _delete_partition(connection, key)
        found.append((partition, key))
        if len(found) >= 25:
            write_all(connection, [delete(one) for one in found])
            found = []
    write_all(connection, [delete(one) for one in found])
    try:
        connection.call(
            "DeleteItem",
            {
                "TableName": connection.place.table,
                "Key": {"PK": {"S": partition}, "SK": {"S": HEAD}},
                "ConditionExpression": "#version = :read",
                "ExpressionAttributeNames": {"#version": "Version"},
                "ExpressionAttributeValues": {":read": {"N": str(head.version)}},
            },
        )
    except Refusal as refusal:
        if refusal.code == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _items(connection: Connection, partition: str) -> Iterator[Item]:
    """Yield what is a session's: events, the newest first, then the values they refer to, then the rest."""
    for condition in ("SK < :events", "SK > :events"):
        yield from query(
            connection,
            KeyConditionExpression=f"PK = :p AND {condition}",
            ExpressionAttributeValues={":p": {"S": partition}, ":events": {"S": AFTER_EVENTS}},
            ProjectionExpression="PK, SK, #bucket, #object",
            ExpressionAttributeNames={"#bucket": "Bucket", "#object": "Object"},
            ScanIndexForward=False,
        )


def _delete_partition(connection: Connection, partition: str) -> None:
    keys = [
        (partition, item["SK"]["S"])
        for item in query(
            connection,
            KeyConditionExpression="PK = :p",
            ExpressionAttributeValues={":p": {"S": partition}},
            ProjectionExpression="SK",
        )
    ]
    write_all(connection, [delete(key) for key in keys])
