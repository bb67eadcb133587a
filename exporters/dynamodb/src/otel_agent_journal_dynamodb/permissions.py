"""What a role needs to be allowed, as an IAM policy. Pure."""

from __future__ import annotations

from typing import Final

from otel_agent_journal.errors import ConfigError
from otel_agent_journal_dynamodb.blobs import PREFIX
from otel_agent_journal_dynamodb.place import Place

# A transaction of puts asks for PutItem. UpdateItem is for programs that mark items; the store puts whole ones.
WRITER: Final = ("BatchGetItem", "BatchWriteItem", "GetItem", "PutItem", "Query", "UpdateItem")
READER: Final = ("BatchGetItem", "DescribeTable", "GetItem", "Query", "Scan")  # a Scan to follow from the beginning
ADMIN: Final = (
    "CreateTable",
    "DeleteItem",
    "DescribeTable",
    "DescribeTimeToLive",
    "UpdateTable",
    "UpdateTimeToLive",
)
_ROLES: Final = {
    "writer": WRITER,
    "reader": READER,
    "admin": tuple(sorted({*WRITER, *READER, *ADMIN})),
}
_OBJECTS: Final = {
    "writer": ("s3:GetObject", "s3:PutObject"),
    "reader": ("s3:GetObject",),
    "admin": ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
}


def policy(place: Place, role: str) -> dict[str, object]:
    """Return the least policy of a role for one table, its indexes, and its bucket where it has one.

    Raises:
        ConfigError: there is no such role.
    """
    if role not in _ROLES:
        raise ConfigError(f"there is no role '{role}' for {place.url}; there are {', '.join(_ROLES)}")
    table = f"arn:aws:dynamodb:{place.region or '*'}:*:table/{place.table}"
    statements: list[dict[str, object]] = [
        {
            "Sid": f"Journal{role.title()}",
            "Effect": "Allow",
            "Action": [f"dynamodb:{action}" for action in _ROLES[role]],
            "Resource": [table, f"{table}/index/*"],
        }
    ]
    if role == "writer":  # of what it may delete there are marks alone: no event, no head
        statements.append(
            {
                "Sid": "JournalWriterMarks",
                "Effect": "Allow",
                "Action": ["dynamodb:DeleteItem"],
                "Resource": [table],
                "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["UNSETTLED#*"]}},
            }
        )
    if place.bucket is not None:
        statements.append(
            {
                "Sid": f"Journal{role.title()}Values",
                "Effect": "Allow",
                "Action": list(_OBJECTS[role]),
                "Resource": [f"arn:aws:s3:::{place.bucket}/{PREFIX}*"],
            }
        )
        # Without the right to list, S3 says of an object that is not there that it is forbidden. A GET names no prefix,
        # so that a condition which asks for one would not hold for it.
        statements.append(
            {
                "Sid": f"Journal{role.title()}ValuesList",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{place.bucket}"],
                "Condition": {"StringLikeIfExists": {"s3:prefix": [f"{PREFIX}*"]}},
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}
