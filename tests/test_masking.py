"""URLs as they are printed: whatever is in them and however they are mistyped, no secret is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.errors import ConfigError, JournalError, StoreUnreachable, UnknownScheme
from otel_agent_journal.masking import has_credentials, is_secret_parameter, masked, masked_within, no_url
from otel_agent_journal.store.registry import open_store
from tests.secret_urls import SCHEMES, Secret, secret_urls


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("postgresql://ann:s3cr:et@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
        ("postgresql://:pw@host/db", "postgresql://:***@host/db"),
        ("postgresql://host/db?password=x&sslmode=y", "postgresql://host/db?password=***&sslmode=y"),
        ("s3://bucket?aws_secret_access_key=x&token=y", "s3://bucket?aws_secret_access_key=***&token=***"),
        ("postgresql://ann:a/b@c@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann:pa?ss@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann:pa#ss@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann:p?a@s#s@host/db?sslmode=y", "postgresql://ann:***@host/db?sslmode=y"),
        ("postgresql://ann@corp:pw@host/db", "postgresql://ann@corp:***@host/db"),
        ("postgresql://ann:pw@host/db?password=x@y", "postgresql://ann:***@***"),
        ("postgresql://ann:pa?key=s@host/db", "postgresql://ann:***@***"),
        ("postgresql://host/db?password=x@y&sslmode=z", "postgresql://host/db?password=***&sslmode=z"),
        ("postgresql:/ann:pw@host/db", "***@host/db"),
        ("ann:pw@host/db", "***@host/db"),
        ("sqlite:////tmp/a:b@c.db", "sqlite:////tmp/a:b@c.db"),
        ("dynamodb://table?profile=a@b&endpoint_url=http://localhost:8000", None),
        ("s3://bucket/team@a?endpoint_url=http://localhost:9000", None),
        (
            "dynamodb://table?endpoint_url=http://u:p@localhost:8000",
            "dynamodb://table?endpoint_url=http://***@localhost:8000",
        ),
        ("s3://AKIA:a/b@bucket/j?region=r", "s3://***@bucket/j?region=r"),
        ("s3://AKIA:secret", "s3://AKIA:***"),
        ("sqlite://ann:pw@x", "sqlite://***@x"),
        ("https://token@host:4318/v1", "https://***@host:4318/v1"),
        ("http://[::1]:4318/v1/traces", None),
        ("http://ann:pw@[::1]:4318", "http://***@[::1]:4318"),
        ("http://host:port", "http://host:***"),
        ("postgresql://one:5432,two:5433/db?target_session_attrs=read-write", None),
        ("elsewhere://host?colour=blue&region=eu", "elsewhere://host?colour=***&region=eu"),
        ("s3://bucket?secret", "s3://bucket?***"),
        ("s3://bucket?region=a;token=b", "s3://bucket?region=a;token=***"),
        ("postgresql://host/db#password=a&b", "postgresql://host/db#password=***&***"),
        ("sqlite:/journal.db", None),
        ("ann:secret", "ann:***"),
        ("not a url", None),
    ],
)
def test_masked(url: str, printed: str | None) -> None:
    """A URL is printed without its password and secrets, and otherwise as it is."""
    assert masked(url) == (url if printed is None else printed)


@given(secret_urls())
def test_no_part_of_a_secret_is_left(case: tuple[str, Secret]) -> None:
    """Of a password, a token or a key nothing is printed, wherever it stands and whatever is in it."""
    url, secret = case
    assert secret.parts_in(masked(url)) == []


@given(secret_urls() | st.tuples(st.text(), st.none()) | st.tuples(st.text("ab:@/?&;#=%.[]1 "), st.none()))
def test_masking_again_changes_nothing(case: tuple[str, object]) -> None:
    """What is masked may be masked once more on its way."""
    shown = masked(case[0])
    assert masked(shown) == shown


@given(secret_urls(spaces=False))
def test_urls_within_a_text_are_masked(case: tuple[str, Secret]) -> None:
    """So that an error, or a line, that repeats what somebody else has said tells no secret."""
    url, secret = case
    if "://" in url:
        for text in (f"no answer from {url}: refused", f"('{url}'), {url}; then", url):
            assert secret.parts_in(masked_within(text)) == []


def test_a_text_around_a_url_stays() -> None:
    """What stands after a URL in a sentence is none of it."""
    text = "as in 'http://localhost:4318' (or grpc://localhost:4317), see https://host/a."
    assert masked_within(text) == text


@pytest.mark.parametrize("error", [JournalError, ConfigError, StoreUnreachable])
def test_no_error_tells_a_secret(error: type[JournalError]) -> None:
    """Not even where who raised it has forgotten."""
    assert str(error("store s3://K:secret@bucket: refused")) == "store s3://***@bucket: refused"
    assert "secret" not in str(UnknownScheme("x://u:secret@h", ()))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3://K:S@bucket", True),
        ("s3://K:S/T@bucket/prefix", True),
        ("s3://token@bucket", True),
        ("s3://K:S", True),
        ("s3://bucket?aws_secret_access_key=S", True),
        ("s3://bucket?endpoint_url=http://u:p@host", True),
        ("s3://bucket/team@a?endpoint_url=http://host:9000&profile=a@b", False),
        ("dynamodb://table?region=eu-west-1", False),
        ("sqlite:////tmp/a:b@c.db?timeout=2", False),
        ("sqlite://u:p@x", True),
        ("memory://", False),
    ],
)
def test_credentials_are_seen(url: str, found: bool) -> None:
    """In URLs that have no place for them."""
    assert has_credentials(url) is found


def test_what_is_no_url_is_answered_with_one() -> None:
    """The form of one, with the file that was named, unless that may be a secret."""
    assert no_url("--store", "a.db") == "--store is 'a.db', which is not a URL; a file is named as sqlite:///a.db"
    assert no_url("--store", "u:s@h").endswith("sqlite:///journal.db")
    assert no_url("--store", "").endswith("sqlite:///journal.db")


@pytest.mark.parametrize("place", ["s3://bucket", "dynamodb://table", "sqlite:///a.db"])
def test_options_of_our_stores_are_shown(place: str) -> None:
    """An option that a store of ours comes to have is no secret, unless somebody makes it one."""
    with pytest.raises(ConfigError, match="'colour' is no option; there are") as refused:
        open_store(f"{place}?colour=red")
    options = re.findall(r"\w+", str(refused.value).partition("there are")[2].replace(" and ", " "))
    assert len(options) >= 2
    for name in options:
        assert masked(f"{place}?{name}=1") == f"{place}?{name}=1"


def test_every_scheme_is_tried() -> None:
    """The cases above are of every backend there is."""
    from otel_agent_journal.store.registry import BUILT_IN, EXPORTERS

    assert set(SCHEMES) >= BUILT_IN.keys() | EXPORTERS.keys()


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("api_key", "openai_api_key", "access_token", "authorization", "default_headers")),
        *((name, False) for name in ("max_tokens", "max_completion_tokens", "temperature", "stop", "tool_choice")),
    ],
)
def test_parameters_of_a_model(name: str, secret: bool) -> None:
    """A parameter that seems to be a secret is known by its name; one that counts tokens is none."""
    assert is_secret_parameter(name) is secret
