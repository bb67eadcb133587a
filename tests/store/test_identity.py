"""Which store a URL names: one spelling for all URLs of one place, another for every other place."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import assume, example, given

from otel_agent_journal.config import spool_of
from otel_agent_journal.store.identity import identity_of
from tests.secret_urls import Secret, secret_urls

ENV = {"AWS_REGION": "eu-1", "PGHOST": "db", "PGDATABASE": "agents"}
SAME = [
    ("otlp://h", "otlp://H:4317/", "otlp://u:p@h", "OTLP://u:other@h:4317?timeout=3"),
    ("otlp+http://h:80", "otlp+http://u:p@h", "otlp+http://h/?key=s3cr3t"),
    ("otlp+https://h/base", "otlp+https://h:443/base/"),
    (
        "postgresql://u:old@db/agents",
        "postgresql://u:new@db:5432/agents",
        "postgresql://other@DB/agents/?timeout=3&sslmode=require",
        "postgresql+psycopg://db/agents",
        "postgresql:///agents?host=db",
        "postgresql://",
        "postgresql://u:p/a@ss@db/agents",
        "postgresql://u:12?a@db/agents?timeout=3",
    ),
    ("postgresql://a:1,b:2/d", "postgresql://b:2,a:1/d", "postgresql://u:p@a,b/d?port=1,2"),
    ("dynamodb://Agents", "dynamodb://Agents?region=eu-1", "dynamodb://Agents?ttl_days=3&profile=me&bucket=b"),
    ("dynamodb://t?endpoint_url=http://h:80/", "dynamodb://t?endpoint_url=http%3A%2F%2FH"),
    ("s3://b/a/c", "s3://b/a/c/?region=x&timeout=3", "s3://b//a/c?profile=me"),
    ("s3://b?endpoint_url=https://u:p@m", "s3://b/?endpoint_url=https://m:443/"),
    ("redis://u:p@H:1/0", "redis://h:1/0/"),
]
OTHERS = [
    "otlps://h",
    "otlp://h:4318",
    "otlp://h2",
    "otlp+http://h:4318",
    "otlp+https://h/other",
    "postgresql://db/agents2",
    "postgresql://db/Agents",
    "postgresql://db:5433/agents",
    "postgresql://db2/agents",
    "postgresql://db/agents?schema=mine",
    "postgresql://db/agents?options=-c%20search_path%3Dmine2",
    "postgresql://db/agents?service=s",
    "dynamodb://agents",
    "dynamodb://Agents?region=eu-2",
    "dynamodb://Agents?endpoint_url=http://h:8000",
    "s3://b",
    "s3://b/a",
    "s3://b/A/c",
    "s3://b2/a/c",
    "s3://b/a/c?endpoint_url=http://m",
    "redis://h:1/1",
    "redis://h:1/0?db=1",
    "memory://a",
    "memory://b",
]


@pytest.mark.parametrize("urls", SAME)
def test_urls_of_one_place(urls: tuple[str, ...]) -> None:
    """User, password, options, a trailing slash, the case of a host and a default port name no place."""
    assert len({identity_of(url, ENV) for url in urls}) == 1
    assert len({spool_of(url, ENV) for url in urls}) == 1


def test_every_other_place_is_another() -> None:
    """No two stores share a spool."""
    urls = [*(group[0] for group in SAME), *OTHERS]
    for one, other in combinations(urls, 2):
        assert spool_of(one, ENV) != spool_of(other, ENV), (one, other)


def test_the_variables_of_a_client_fill_in_what_a_url_leaves_out() -> None:
    """Region, endpoint, host and database: changed in the environment, it is another store."""
    for url, variable in (
        ("dynamodb://t", "AWS_REGION"),
        ("dynamodb://t", "AWS_DEFAULT_REGION"),
        ("dynamodb://t", "AWS_ENDPOINT_URL_DYNAMODB"),
        ("dynamodb://t", "AWS_PROFILE"),  # it has a region of its own, which is not read here
        ("s3://b", "AWS_ENDPOINT_URL"),
        ("postgresql:///d", "PGHOST"),
        ("postgresql://h/d", "PGPORT"),
        ("postgresql://h", "PGDATABASE"),
        ("postgresql://h", "PGUSER"),
    ):
        assert identity_of(url, {}) != identity_of(url, {variable: "x1"})


def test_a_spool_s_name_tells_the_place_and_no_secret() -> None:
    """For people who list the folder."""
    name = spool_of("postgresql://me:s3cr3t@db.example:5432/agents?password=s3cr3t", {}).name
    assert name.startswith("spool-postgresql-db.example-5432-agents-")
    assert "s3cr3t" not in name
    assert len(spool_of(f"s3://b/{'p' * 500}", {}).name) < 100


@given(secret_urls())
@example(("postgresql://ann:1jjjjj,2jjjjj", Secret("1jjjjj", ",", "2jjjjj")))
@example(("dynamodb://host/name#token=1jjjjj@2jjjjj", Secret("1jjjjj", "@", "2jjjjj")))
def test_a_spool_s_name_tells_no_secret_of_a_mistyped_url(case: tuple[str, Secret]) -> None:
    """What is taken for a host may be the rest of a password."""
    url, secret = case
    assume(not url.lower().startswith("sqlite:"))  # a file's name is no secret
    assert secret.parts_in(spool_of(url, {}).name) == []
