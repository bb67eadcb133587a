"""What a role needs to be allowed, as an IAM policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_agent_journal_aws.policies import KEY_OF_OBJECTS, Note, Policy, key_of_bucket, looked_up
from otel_agent_journal_dynamodb.blobs import PREFIX
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.keys import BY_SEQ, BY_UPDATED

# A transaction of puts asks for PutItem.
_READ: Final = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
_PREPARE: Final = (
    "dynamodb:CreateTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
)
_ITEMS: Final[Mapping[str, Sequence[str]]] = {
    "writer": (*_READ, "dynamodb:PutItem"),
    "reader": (*_READ, "dynamodb:DescribeTable", "dynamodb:Scan"),  # a Scan to follow from the beginning
    "admin": (
        *_READ,
        "dynamodb:BatchWriteItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeTable",
        "dynamodb:PutItem",
        "dynamodb:Scan",
        *_PREPARE,
    ),
}
# The partitions that a writer writes to in batches: those of sessions, and of marks. BatchWriteItem deletes, too, and
# no condition of IAM tells a put from a deletion.
_IN_BATCHES: Final = ("SESSION#*", "ACTIVE#*", "UNSETTLED#*")
_INDEXES: Final = {"writer": (BY_SEQ,), "reader": (BY_SEQ, BY_UPDATED), "admin": (BY_SEQ, BY_UPDATED)}
_OBJECTS: Final[Mapping[str, Sequence[str]]] = {
    "writer": ("s3:GetObject", "s3:PutObject"),
    "reader": ("s3:GetObject",),
    "admin": ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
}


def policy(connection: Connection, role: str, note: Note | None) -> dict[str, Any]:
    """Return the least policy of a role for the table, its indexes, its key, and its bucket where it has one.

    Raises:
        ConfigError: there is no such role.
    """
    place, made = connection.place, Policy(connection.place, role)
    table = made.table(place.table)
    made.allow("", _ITEMS[role], [table])
    made.allow("Indexes", ["dynamodb:Query"], [f"{table}/index/{index}" for index in _INDEXES[role]])
    if role == "writer":
        only = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(_IN_BATCHES)}}
        made.allow("Batches", ["dynamodb:BatchWriteItem"], [table], only)
    made.allow_key("Key", ["kms:Decrypt"], place.kms or _key_of_table(connection, note), "dynamodb")
    if place.bucket is not None:
        made.allow_objects("Values", _OBJECTS[role], place.bucket, PREFIX)
        key = place.s3_kms or key_of_bucket(connection.bucket, place.bucket, note, "s3_kms")
        made.allow_key("ValuesKey", KEY_OF_OBJECTS[role], key, "s3")
    return made.document(note)


def _key_of_table(connection: Connection, note: Note | None) -> str | None:
    """Return the key of KMS that the table is encrypted with; None where it is DynamoDB's own."""
    name = connection.place.table
    answer = looked_up(
        connection,
        f"the key of table {name}",
        lambda client: connection.called(client, "DescribeTable", {"TableName": name}),
        note,
        "kms",
        absent=("ResourceNotFoundException",),
    )
    return answer.get("Table", {}).get("SSEDescription", {}).get("KMSMasterKeyArn")
