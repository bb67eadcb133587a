"""Where a journal is in DynamoDB: the store's URL, taken apart. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import masked
from otel_agent_journal.store.registry import AWS_CREDENTIALS, options_of, refuse_credentials

FORM: Final = "dynamodb://TABLE?region=eu-central-1"
OPTIONS: Final = ("region", "endpoint_url", "profile", "bucket", "s3_endpoint_url", "ttl_days", "timeout")
TIMEOUT_S: Final = 10.0  # seconds for one answer; a batch of 16 MB takes two of them
_TABLE: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")  # DynamoDB's own rule


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A table, how it is reached, and what is done with its items.

    `bucket` takes values over the item limit; without one they are chunks in the table. `ttl_days` is how long items
    are kept, None for ever. `timeout_s` bounds one answer of the server.
    """

    url: str
    table: str
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    bucket: str | None = None
    s3_endpoint_url: str | None = None
    ttl_days: float | None = None
    timeout_s: float = TIMEOUT_S


def place_of(url: str) -> Place:
    """Return what a URL says.

    Raises:
        ConfigError: the URL is malformed.
    """
    refuse_credentials(url, AWS_CREDENTIALS)
    shown = masked(url)
    scheme, _, rest = url.partition("://")
    table = unquote(rest.partition("?")[0])
    if scheme.lower() != "dynamodb" or not _TABLE.fullmatch(table):
        raise ConfigError(f"store {shown} names no table (3 to 255 letters, digits, '_', '-', '.'); the form is {FORM}")
    options = options_of(url)
    for name, value in options.items():
        if name not in OPTIONS:
            raise ConfigError(f"store {shown}: '{name}' is no option; there are {', '.join(OPTIONS)}")
        if not value:
            raise ConfigError(f"store {shown}: '{name}' is empty; give it a value or leave it out")
    return Place(
        url=shown,
        table=table,
        region=options.get("region"),
        endpoint_url=options.get("endpoint_url"),
        profile=options.get("profile"),
        bucket=options.get("bucket"),
        s3_endpoint_url=options.get("s3_endpoint_url"),
        ttl_days=_positive(shown, options, "ttl_days"),
        timeout_s=_positive(shown, options, "timeout") or TIMEOUT_S,
    )


def _positive(shown: str, options: dict[str, str], name: str) -> float | None:
    text = options.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text, re.ASCII) or float(text) == 0:
        raise ConfigError(f"store {shown}: {name} is no number above 0")
    return float(text)
