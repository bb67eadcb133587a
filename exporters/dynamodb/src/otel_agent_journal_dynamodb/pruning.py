"""Deletion of old sessions, each with all that is its own: events, values, instances and, last, its head."""

from __future__ import annotations

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.heads import is_prunable
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal_dynamodb.batches import delete, query, write_all
from otel_agent_journal_dynamodb.blobs import Blobs
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.failures import Refusal
from otel_agent_journal_dynamodb.heads import Heads
from otel_agent_journal_dynamodb.keys import HEAD, INSTANCE, Key, session_key


def prune(connection: Connection, heads: Heads, blobs: Blobs, older_than_ns: int, *, dry_run: bool) -> int:
    """Delete the sessions last updated before a time; return how many. Broken off, it goes on when repeated."""
    count = 0
    for head in heads.list(SessionFilter(until_ns=older_than_ns - 1)):
        if not is_prunable(head, older_than_ns):
            continue
        if dry_run:
            count += 1
            continue
        count += _delete(connection, blobs, head)
    return count


def _delete(connection: Connection, blobs: Blobs, head: SessionHead) -> bool:
    """Delete one session; its head only if nobody wrote it meanwhile, so that a session that went on is listed."""
    partition = session_key(head.session_id)
    kept: list[Key] = []
    for item in query(
        connection,
        KeyConditionExpression="PK = :p",
        ExpressionAttributeValues={":p": {"S": partition}},
        ProjectionExpression="PK, SK, #bucket, #object",
        ExpressionAttributeNames={"#bucket": "Bucket", "#object": "Object"},
    ):
        key = item["SK"]["S"]
        if key == HEAD:
            continue
        blobs.delete_object(item)
        if key.startswith(INSTANCE):
            _delete_partition(connection, key)
        kept.append((partition, key))
        if len(kept) >= 25:
            write_all(connection, [delete(one) for one in kept])
            kept = []
    write_all(connection, [delete(one) for one in kept])
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
