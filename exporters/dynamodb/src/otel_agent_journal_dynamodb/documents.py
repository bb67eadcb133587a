"""Documents: one item each, put under the condition that it still has the version that was seen.

A deleted one stays as an item without data, which expires by itself: so its version is not used again meanwhile, and
whoever deletes needs no more than PutItem.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from otel_agent_journal.codec import valid_text
from otel_agent_journal.store.protocol import Document, session_of_scope
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb.batches import query
from otel_agent_journal_dynamodb.connection import Connection, Item, binary
from otel_agent_journal_dynamodb.keys import DOCUMENT, document_key, documents_of

_GONE_AFTER_S: Final = 86_400


class Documents:
    """The documents in one table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, scope: str, name: str) -> Document | None:
        """Return a document by a consistent read, None where it is not there."""
        item = self._item(scope, name)
        return None if item is None else _document(item)

    def put(self, seen: Document, written: Document, expiry: Item) -> Document | None:
        """Put a document over the version that was seen; `expiry` is that of a session's items."""
        item: Item = {
            **_key(seen.scope, seen.name),
            "Scope": {"S": valid_text(seen.scope)},
            "Name": {"S": valid_text(seen.name)},
            "Data": {"B": written.data},
            "Version": {"N": str(written.version)},
            **({} if session_of_scope(seen.scope) is None else expiry),
        }
        return written if self._put(item, seen.version) else None

    def delete(self, scope: str, name: str, version: int) -> bool:
        """Leave an item without data in the place of a document that still has this version."""
        gone: Item = {
            **_key(scope, name),
            "Version": {"N": str(max(version + 1, time.time_ns()))},
            "ExpiresAt": {"N": str(int(time.time()) + _GONE_AFTER_S)},
        }
        return version > 0 and self._put(gone, version)

    def of(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        found = query(
            self._connection,
            KeyConditionExpression="PK = :p AND begins_with(SK, :document)",
            ExpressionAttributeValues={":p": {"S": documents_of(scope)}, ":document": {"S": DOCUMENT}},
        )
        documents = [document for item in found if (document := _document(item)) is not None]
        yield from sorted(documents, key=lambda document: document.name)

    def _item(self, scope: str, name: str) -> Item | None:
        request = {"TableName": self._connection.place.table, "Key": _key(scope, name), "ConsistentRead": True}
        return self._connection.call("GetItem", request).get("Item")

    def _put(self, item: Item, seen: int) -> bool:
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#data)"}
        names = {"#data": "Data"}
        if seen:
            condition = {
                "ConditionExpression": "attribute_exists(#data) AND #version = :seen",
                "ExpressionAttributeValues": {":seen": {"N": str(seen)}},
            }
            names["#version"] = "Version"
        request = {"TableName": self._connection.place.table, "Item": item, "ExpressionAttributeNames": names}
        try:
            self._connection.call("PutItem", {**request, **condition})
        except Refusal as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise
            there = self._connection.call(  # perhaps it is our own, of an attempt that was not answered
                "GetItem",
                {
                    "TableName": self._connection.place.table,
                    "Key": {"PK": item["PK"], "SK": item["SK"]},
                    "ConsistentRead": True,
                },
            ).get("Item")
            return there is not None and _same(there, item)
        return True


def _key(scope: str, name: str) -> Item:
    return {"PK": {"S": documents_of(scope)}, "SK": {"S": document_key(name)}}


def _same(one: Item, two: Item) -> bool:
    return one["Version"] == two["Version"] and _data(one) == _data(two)


def _data(item: Item) -> bytes | None:
    return binary(item["Data"]["B"]) if "Data" in item else None


def _document(item: Item) -> Document | None:
    data = _data(item)
    if data is None:
        return None
    return Document(scope=item["Scope"]["S"], name=item["Name"]["S"], data=data, version=int(item["Version"]["N"]))
