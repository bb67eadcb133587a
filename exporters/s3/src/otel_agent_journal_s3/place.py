"""Which bucket, by the store's URL, and the client for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast
from urllib.parse import unquote

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import masked
from otel_agent_journal.store.registry import AWS_CREDENTIALS, options_of, refuse_credentials

TIMEOUT_S: Final = 10.0
_OPTIONS: Final = ("endpoint_url", "profile", "region", "timeout")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket, a prefix in it, and how they are reached."""

    url: str
    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    timeout_s: float = TIMEOUT_S

    def client(self) -> Any:
        """Return a new boto3 client.

        Raises:
            ConfigError: no region is known, or the endpoint is no URL.
        """
        import botocore.session
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=min(3.0, self.timeout_s),
            read_timeout=self.timeout_s,
            retries={"total_max_attempts": 1},
            max_pool_connections=16,
            # Names like those of MinIO's hosts have no subdomain for each bucket.
            s3={"addressing_style": "path"} if self.endpoint_url else None,
        )
        try:
            core = botocore.session.Session(profile=self.profile)
            core.register_component("data_loader", _loader())
            session = Session(region_name=self.region, botocore_session=core)
            make = cast("Callable[..., Any]", session.client)
            return make("s3", endpoint_url=self.endpoint_url, config=config)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"store {self.url}: {error}; options of the URL: {', '.join(_OPTIONS)}") from error


@cache
def _loader() -> Any:
    """Return the one loader of botocore's models: reading them is most of what a client costs."""
    from botocore.loaders import Loader

    return Loader(extra_search_paths=None, include_default_search_paths=True)


def place_of(url: str) -> Place:
    """Return what a URL names: `s3://BUCKET/PREFIX?region=&endpoint_url=&profile=&timeout=`.

    Raises:
        ConfigError: the URL is malformed.
    """
    refuse_credentials(url, AWS_CREDENTIALS)
    printed = masked(url)
    where = url.partition("?")[0]
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    if not where.startswith("s3://") or not bucket:
        raise ConfigError(f"store {printed} names no bucket; the form is s3://BUCKET/PREFIX?region=eu-central-1")
    options = options_of(url)
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown:
        raise ConfigError(f"store {printed}: '{unknown[0]}' is no option; there are {', '.join(_OPTIONS)}")
    timeout = options.get("timeout", "") or str(TIMEOUT_S)
    if not timeout.replace(".", "", 1).isdecimal() or float(timeout) <= 0:
        raise ConfigError(f"store {printed}: timeout is no number of seconds")
    return Place(
        url=printed,
        bucket=bucket,
        prefix=unquote(prefix).strip("/"),
        region=options.get("region") or None,
        endpoint_url=options.get("endpoint_url") or None,
        profile=options.get("profile") or None,
        timeout_s=float(timeout),
    )
