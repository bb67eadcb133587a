"""Which bucket, and which prefix in it: the store's URL, taken apart. Pure."""

from __future__ import annotations

from urllib.parse import unquote

from otel_agent_journal.errors import ConfigError
from otel_agent_journal_aws import Options
from otel_agent_journal_aws import place as aws


class Place(aws.Place, frozen=True, kw_only=True):
    """A bucket, a prefix in it, and how they are reached."""

    bucket: str
    prefix: str = ""


def place_of(url: str) -> Place:
    """Return what a URL names: `s3://BUCKET/PREFIX?region=&endpoint_url=&profile=&timeout=`.

    Raises:
        ConfigError: the URL is malformed.
    """
    options = Options(url, Place.options)
    where = url.partition("?")[0]
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    if not where.startswith("s3://") or not bucket:
        raise ConfigError(f"store {options.url} names no bucket; the form is s3://BUCKET/PREFIX?region=eu-central-1")
    return Place(**options.reach(), bucket=bucket, prefix=unquote(prefix).strip("/"))
