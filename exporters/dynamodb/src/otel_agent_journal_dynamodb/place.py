"""Where a journal is in DynamoDB: the store's URL, taken apart. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final
from urllib.parse import unquote

from otel_agent_journal.errors import ConfigError
from otel_agent_journal_aws import Options
from otel_agent_journal_aws import place as aws

FORM: Final = "dynamodb://TABLE?region=eu-central-1"
_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")  # DynamoDB's own rule


class Place(aws.Place, frozen=True, kw_only=True):
    """A table, how it is reached, and what is done with its items.

    `bucket` takes values over the item limit; without one they are chunks in the table. `ttl_days` is how long items
    are kept, None for ever. `s3_kms` is the key of the bucket.
    """

    options: ClassVar[Sequence[str]] = (*aws.OPTIONS, "bucket", "s3_endpoint_url", "s3_kms", "ttl_days")

    table: str
    bucket: str | None = None
    s3_endpoint_url: str | None = None
    s3_kms: str | None = None
    ttl_days: float | None = None


def place_of(url: str) -> Place:
    """Return what a URL says.

    Raises:
        ConfigError: the URL is malformed.
    """
    options = Options(url, Place.options)
    scheme, _, rest = url.partition("://")
    table = unquote(rest.partition("?")[0])
    if scheme.lower() != "dynamodb" or not _TABLE.fullmatch(table):
        raise ConfigError(
            f"store {options.url} names no table (3 to 255 letters, digits, '_', '-', '.'); the form is {FORM}"
        )
    return Place(
        **options.reach(),
        table=table,
        bucket=options.text("bucket"),
        s3_endpoint_url=options.text("s3_endpoint_url"),
        s3_kms=options.text("s3_kms"),
        ttl_days=options.number("ttl_days"),
    )
