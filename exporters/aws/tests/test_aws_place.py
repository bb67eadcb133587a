"""Options of URLs, the same for every store on AWS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from otel_agent_journal.errors import ConfigError
from otel_agent_journal_dynamodb.place import place_of as table_of
from otel_agent_journal_s3.place import place_of as bucket_of

BOTH = pytest.mark.parametrize(
    ("place_of", "url"), [(table_of, "dynamodb://journal"), (bucket_of, "s3://journal")], ids=["dynamodb", "s3"]
)


@BOTH
def test_options(place_of: Callable[[str], Any], url: str) -> None:
    """Region, profile, endpoint and timeout are read alike, escaped or not."""
    place = place_of(f"{url}?region=eu-central-1&profile=a%20b&endpoint_url=http%3A%2F%2Fh%3A1&timeout=2.5")
    assert (place.region, place.profile, place.endpoint_url, place.timeout_s) == (
        "eu-central-1",
        "a b",
        "http://h:1",
        2.5,
    )
    bare = place_of(url)
    assert (bare.region, bare.profile, bare.endpoint_url, bare.timeout_s) == (None, None, None, 10.0)


@BOTH
@pytest.mark.parametrize(
    "query", ["regoin=x", "region=", "region", "timeout=0", "timeout=soon", "timeout=-1", "timeout=1e3", "timeout=٣"]
)
def test_mistakes(place_of: Callable[[str], Any], url: str, query: str) -> None:
    """What is unknown, empty or no number is told as the store is opened."""
    with pytest.raises(ConfigError, match=query.partition("=")[0]):
        place_of(f"{url}?{query}")
