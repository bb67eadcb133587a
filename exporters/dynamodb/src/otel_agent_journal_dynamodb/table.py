"""The table: what it must look like, and making it so. Creates what is missing, changes nothing that is there."""

from __future__ import annotations

from typing import Any, Final

from otel_agent_journal.errors import StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.keys import BY_SEQ, BY_UPDATED

LAYOUT: Final = 1
TTL: Final = "ExpiresAt"
CREATION_POLLS: Final = 240  # a table takes some ten seconds, an index of a large table longer
POLL_S: Final = 0.5
_INDEX_OF_HEADS: Final = {
    "IndexName": BY_UPDATED,
    "KeySchema": [{"AttributeName": "List", "KeyType": "HASH"}, {"AttributeName": "UpdatedNs", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["SessionId", "SessionStatus", "Agent", "Brief"]},
}
_INDEX_OF_SEQUENCES: Final = {
    "IndexName": BY_SEQ,
    "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "InstanceSeq", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "ALL"},
}
_KEYS: Final = [{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}]
_TYPES: Final = {"PK": "S", "SK": "S", "InstanceSeq": "S", "List": "S", "UpdatedNs": "N"}
_ATTRIBUTES: Final = [{"AttributeName": name, "AttributeType": kind} for name, kind in _TYPES.items()]


class Table:
    """One table and its settings."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name = connection.place.table

    def described(self) -> dict[str, Any] | None:
        """Return what DynamoDB says of the table, or None where there is none."""
        try:
            return self._connection.call("DescribeTable", {"TableName": self._name})["Table"]
        except Refusal as refusal:
            if refusal.code == "ResourceNotFoundException":
                return None
            raise

    def plan(self) -> list[str]:
        """Return what `init` would do, a line each."""
        table = self.described()
        if table is None:
            return [
                f"create table {self._name}: keys PK and SK, pay per request",
                f"with the local index {BY_SEQ} for agent instances and the global index {BY_UPDATED} for listings",
                f"let items expire by their attribute {TTL}",
            ]
        _require_ours(self._connection, table)
        lines: list[str] = []
        if BY_UPDATED not in _indexes(table, "GlobalSecondaryIndexes"):
            lines.append(f"add the global index {BY_UPDATED} for listings to table {self._name}")
        if not self._expires():
            lines.append(f"let items of table {self._name} expire by their attribute {TTL}")
        return lines

    def init(self) -> None:
        """Create the table, its listing index and its expiry where they are missing; wait until they are ready."""
        table = self.described()
        if table is None:
            self._create()
        else:
            _require_ours(self._connection, table)
            if BY_UPDATED not in _indexes(table, "GlobalSecondaryIndexes"):
                self._add_index_of_heads(table)
        self._wait()
        if not self._expires():
            specification = {"Enabled": True, "AttributeName": TTL}
            self._connection.call(
                "UpdateTimeToLive", {"TableName": self._name, "TimeToLiveSpecification": specification}
            )

    def require_ours(self) -> None:
        """Raise StoreUnusable where the table is another program's; not where it may not be looked at."""
        try:
            table = self.described()
        except Refusal:
            return
        if table is not None:
            _require_ours(self._connection, table)

    def _create(self) -> None:
        try:
            self._connection.call(
                "CreateTable",
                {
                    "TableName": self._name,
                    "BillingMode": "PAY_PER_REQUEST",
                    "KeySchema": _KEYS,
                    "AttributeDefinitions": [
                        {"AttributeName": name, "AttributeType": kind} for name, kind in _TYPES.items()
                    ],
                    "LocalSecondaryIndexes": [_INDEX_OF_SEQUENCES],
                    "GlobalSecondaryIndexes": [_INDEX_OF_HEADS],
                },
            )
        except Refusal as refusal:
            if refusal.code != "ResourceInUseException":  # another one creates it at this moment
                raise

    def _add_index_of_heads(self, table: dict[str, Any]) -> None:
        index: dict[str, Any] = dict(_INDEX_OF_HEADS)
        if table.get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST":
            throughput = table.get("ProvisionedThroughput", {})
            index["ProvisionedThroughput"] = {
                name: throughput.get(name) or 5 for name in ("ReadCapacityUnits", "WriteCapacityUnits")
            }
        kinds = [{"AttributeName": name, "AttributeType": _TYPES[name]} for name in ("PK", "SK", "List", "UpdatedNs")]
        request = {"AttributeDefinitions": kinds, "GlobalSecondaryIndexUpdates": [{"Create": index}]}
        self._connection.call("UpdateTable", {"TableName": self._name, **request})

    def _wait(self) -> None:
        for _ in range(CREATION_POLLS):
            table = self.described() or {}
            indexes = table.get("GlobalSecondaryIndexes", ())
            if table.get("TableStatus") == "ACTIVE" and all(one.get("IndexStatus") == "ACTIVE" for one in indexes):
                return
            self._connection.sleep(POLL_S)
        raise StoreUnreachable(
            f"store {self._connection.place.url}: table '{self._name}' is still being made after"
            f" {CREATION_POLLS * POLL_S:g} s; try again"
        )

    def _expires(self) -> bool:
        answer = self._connection.call("DescribeTimeToLive", {"TableName": self._name})
        said = answer.get("TimeToLiveDescription", {})
        if said.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
            return False
        if said.get("AttributeName") not in (TTL, None):
            raise StoreError(
                f"store {self._connection.place.url}: items of table '{self._name}' expire by their attribute"
                f" {said['AttributeName']}, ours have {TTL}; disable its time to live first, or name another table"
            )
        return True


def _require_ours(connection: Connection, table: dict[str, Any]) -> None:
    keys = {one["AttributeName"]: one["KeyType"] for one in table["KeySchema"]}
    kinds = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    wanted = {one["AttributeName"]: one["KeyType"] for one in _KEYS}
    if keys != wanted or any(kinds.get(name) != "S" for name in wanted):
        shown = ", ".join(f"{name} ({kinds.get(name)}, {role})" for name, role in keys.items())
        raise StoreUnusable(
            f"store {connection.place.url}: table '{connection.place.table}' is of another program: its keys are"
            f" {shown}, those of a journal PK (S, HASH) and SK (S, RANGE); nothing was changed: name another table"
        )


def _indexes(table: dict[str, Any], kind: str) -> set[str]:
    return {one["IndexName"] for one in table.get(kind) or ()}
