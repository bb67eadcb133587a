"""Values larger than an item holds: chunks in the table, or objects in a bucket.

The first chunk is written last, and says how many there are or in which bucket the value lies: a value is there as a
whole or not at all, and readers need not know how the writer was set up. Where items expire, a value does some days
later than what refers to it, and is written again when it is referred to anew: DynamoDB deletes what has expired item
by item, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from otel_agent_journal.codec import JSON
from otel_agent_journal.store.protocol import Blob
from otel_agent_journal_aws import Refusal
from otel_agent_journal_aws.failures import DENIED
from otel_agent_journal_dynamodb.batches import put, query, read_all, write_all
from otel_agent_journal_dynamodb.connection import Connection, Item, binary
from otel_agent_journal_dynamodb.failures import error_of_bucket
from otel_agent_journal_dynamodb.keys import blob_key

CHUNK_BYTES: Final = 350 * 1024  # of DynamoDB's 400 KB an item; the rest is for keys of any length
MAX_CHUNKS: Final = 999_999
PREFIX: Final = "agent-journal/blobs/"
SPARE_S: Final = 7 * 86_400  # a value expires so much later than the events that refer to it
LEAST_SPARE_S: Final = 2 * 86_400  # and is renewed where less is left of that: DynamoDB deletes up to two days late

Result = TypeVar("Result")


class Blobs:
    """The oversize values of one journal."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, partition: str, digest: str, data: bytes, more: Item, media_type: str = JSON) -> None:
        """Keep a value, no shorter than what expires as `more` says, attributes for each chunk.

        The first of a digest stays, but for when it expires.
        """
        kind: Item = {} if media_type == JSON else {"MediaType": {"S": media_type}}
        until: int | None = None
        if "ExpiresAt" in more:
            expiry = int(more["ExpiresAt"]["N"])
            until, more = expiry + LEAST_SPARE_S, {**more, "ExpiresAt": {"N": str(expiry + SPARE_S)}}
        if self._is_there(partition, digest, until):
            return
        if self._connection.place.bucket is not None and len(data) > CHUNK_BYTES:
            first = {
                "Bucket": {"S": self._connection.place.bucket},
                "Object": {"S": self._upload(partition, digest, data, media_type)},
            }
        else:
            parts = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)] or [b""]
            self._put_rest(
                [
                    {"PK": {"S": partition}, "SK": {"S": blob_key(digest, number)}, "Data": {"B": part}, **more}
                    for number, part in enumerate(parts)
                    if number
                ],
                until,
            )
            first = {"Data": {"B": parts[0]}, "Chunks": {"N": str(len(parts))}}
        self._put_one({"PK": {"S": partition}, "SK": {"S": blob_key(digest, 0)}, **first, **kind, **more}, until)

    def get(self, partition: str, digest: str) -> bytes | None:
        """Return a value, or None where it is not there, or not the whole of it any more."""
        first = self._first(partition, digest)
        return None if first is None else self._whole(partition, digest, first)

    def get_all(self, partition: str, digests: Collection[str]) -> dict[str, Blob]:
        """Return values by their digests; those that are not there are left out."""
        keys = {(partition, blob_key(digest, 0)): digest for digest in digests}
        found: dict[str, Blob] = {}
        for first in read_all(self._connection, keys):
            digest = keys[first["PK"]["S"], first["SK"]["S"]]
            data = self._whole(partition, digest, first)
            if data is not None:
                found[digest] = Blob(data, first.get("MediaType", {}).get("S", JSON))
        return found

    def _whole(self, partition: str, digest: str, first: Item) -> bytes | None:
        if "Bucket" in first:
            return self._download(first["Bucket"]["S"], first["Object"]["S"])
        count = int(first["Chunks"]["N"])
        parts = [binary(first["Data"]["B"])]
        if count > 1:
            parts += [binary(item["Data"]["B"]) for item in self._rest(partition, digest, count)]
        return b"".join(parts) if len(parts) == count else None  # the others expired, or are being pruned

    def delete_object(self, item: Item) -> None:
        """Delete what a first chunk refers to in a bucket; nothing where it refers to none."""
        if "Bucket" in item:
            where = {"Bucket": item["Bucket"]["S"], "Key": item["Object"]["S"]}
            self._ask_bucket("DELETE", where, lambda client: client.delete_object(**where))

    def _first(self, partition: str, digest: str, *attributes: str) -> Item | None:
        body: dict[str, Any] = {
            "TableName": self._connection.place.table,
            "Key": {"PK": {"S": partition}, "SK": {"S": blob_key(digest, 0)}},
            "ConsistentRead": True,
        }
        if attributes:
            body["ProjectionExpression"] = ", ".join(attributes)
        return self._connection.call("GetItem", body).get("Item")

    def _rest(self, partition: str, digest: str, count: int) -> list[Item]:
        return list(
            query(
                self._connection,
                KeyConditionExpression="PK = :p AND SK BETWEEN :first AND :last",
                ExpressionAttributeValues={
                    ":p": {"S": partition},
                    ":first": {"S": blob_key(digest, 1)},
                    ":last": {"S": blob_key(digest, count - 1)},
                },
            )
        )

    def _is_there(self, partition: str, digest: str, until: int | None) -> bool:
        try:
            first = self._first(partition, digest, "SK", "ExpiresAt")
        except Refusal as refusal:
            if refusal.code not in DENIED:
                raise
            return False  # who may put and not look puts again what is there, each chunk if it is not
        if first is None:
            return False
        return until is None or "ExpiresAt" not in first or int(first["ExpiresAt"]["N"]) >= until

    def _put_rest(self, items: list[Item], until: int | None) -> None:
        try:
            write_all(self._connection, [put(item) for item in items])
        except Refusal as refusal:
            if refusal.code not in DENIED:
                raise
            for item in items:
                self._put_one(item, until)

    def _put_one(self, item: Item, until: int | None) -> None:
        """Put a chunk that is not there yet, or expires before `until`."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(PK)"}
        if until is not None:
            condition = {
                "ConditionExpression": "attribute_not_exists(PK) OR ExpiresAt < :until",
                "ExpressionAttributeValues": {":until": {"N": str(until)}},
            }
        try:
            self._connection.call("PutItem", {"TableName": self._connection.place.table, "Item": item, **condition})
        except Refusal as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise

    def _upload(self, partition: str, digest: str, data: bytes, media_type: str) -> str:
        name = f"{PREFIX}{partition.removeprefix('SESSION#')}/{digest}"
        where = {"Bucket": self._connection.place.bucket or "", "Key": name}
        self._ask_bucket("PUT", where, lambda client: client.put_object(**where, Body=data, ContentType=media_type))
        return name

    def _download(self, bucket: str, name: str) -> bytes | None:
        where = {"Bucket": bucket, "Key": name}

        def download(client: Any) -> bytes:
            with client.get_object(**where)["Body"] as body:
                return body.read()

        return self._ask_bucket("GET", where, download)

    def _ask_bucket(self, method: str, where: Mapping[str, str], work: Callable[[Any], Result]) -> Result | None:
        """Return what the bucket answers, or None where it has no such object."""
        bucket = where["Bucket"]
        try:
            return self._connection.bucket.ask(f"{method} {where['Key']} of bucket {bucket}", work)
        except Refusal as refusal:
            if refusal.code == "NoSuchKey":
                return None
            raise error_of_bucket(self._connection.place, bucket, refusal) from refusal
