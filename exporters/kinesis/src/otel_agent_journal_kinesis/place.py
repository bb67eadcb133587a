"""Which stream, and how it is reached: the sink's URL, taken apart. Pure."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from otel_agent_journal.errors import ConfigError
from otel_agent_journal_aws import Options
from otel_agent_journal_aws import place as aws

_NAMES: Final = {"firehose": re.compile(r"[\w.-]{1,64}", re.ASCII), "kinesis": re.compile(r"[\w.-]{1,128}", re.ASCII)}
_TRUTH: Final = {"true": True, "false": False}


class Place(aws.Place, frozen=True, kw_only=True):
    """A stream, and how it is reached. `aggregate`: several events of a session may go in one record."""

    options: ClassVar[tuple[str, ...]] = (*aws.OPTIONS, "aggregate")

    stream: str
    aggregate: bool


def place_of(url: str, scheme: str, *, aggregate: bool) -> Place:
    """Return what a URL names: `kinesis://STREAM?region=&endpoint_url=&profile=&timeout=&kms=&aggregate=`.

    Args:
        url: the sink's.
        scheme: `kinesis` or `firehose`.
        aggregate: where the URL does not say.

    Raises:
        ConfigError: the URL is malformed.
    """
    options = Options(url, Place.options, "sink")
    found_scheme, _, rest = url.partition("://")
    name = rest.partition("?")[0]
    if found_scheme.lower() != scheme or not _NAMES[scheme].fullmatch(name):
        raise ConfigError(f"sink {options.url} names no stream; the form is {scheme}://STREAM?region=eu-central-1")
    said = options.text("aggregate")
    if said is not None and said not in _TRUTH:
        raise ConfigError(f"sink {options.url}: aggregate is true or false")
    return Place(**options.reach(), stream=name, aggregate=aggregate if said is None else _TRUTH[said])
