"""Every command, and the Python API, with a secret in a URL: at its place, where there is none, and mistyped."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import otel_agent_journal
from otel_agent_journal.cli.app import COMMANDS
from otel_agent_journal.cli.store import COMMANDS as STORE_COMMANDS
from otel_agent_journal.errors import ConfigError, JournalError
from tests.cli.command_line import cli, program
from tests.cli.conftest import Seeded
from tests.secret_urls import HOST, Secret, secret_urls

PETER: Final = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"  # a public key of Go's examples
SECRET: Final = Secret("1hunter", "", "2hunter")
OF_STORES: Final = (
    ("ls", "--store", "{url}"),
    ("--store", "{url}", "-v", "ls"),
    ("show", "s", "--store", "{url}"),
    ("tail", "--store", "{url}"),
    ("status", "s", "--store", "{url}"),
    ("context", "s@1", "--store", "{url}"),
    ("copy", "s@1", "--store", "{url}"),
    ("overwrite", "s@1", "--store", "{url}", "--yes"),
    ("resume", "s", "--store", "{url}", "--yes", "--", sys.executable, "-c", "pass"),
    ("diff", "s", "t", "--store", "{url}"),
    ("replay", "s", "--store", "{url}", "--", "python", "-c", "0"),
    ("stats", "--store", "{url}"),
    ("profile", "s", "--store", "{url}"),
    ("sweep", "--store", "{url}"),
    ("verify", "--store", "{url}"),
    ("verify", "--sealed", "--key", PETER, "--store", "{url}"),
    ("seal", "s", "--key", "seal.key", "--store", "{url}"),
    ("seal", "log", "--store", "{url}"),
    ("erase", "s", "--store", "{url}", "--yes"),
    ("doctor", "--store", "{url}"),
    ("query", "SELECT 1", "--store", "{url}"),
    ("alerts", "list", "--store", "{url}"),
    ("sinks", "status", "--store", "{url}"),
    ("sinks", "forget", "s", "--store", "{url}", "--yes"),
    ("export", "s", "--store", "{url}", "--otlp", f"http://{HOST}"),
    ("export", "--parquet", "lake", "--store", "{url}"),
    ("compact", "s", "--store", "{url}"),
    ("store", "info", "{url}"),
    ("store", "init", "{url}"),
    ("store", "copy", "{url}", "memory://"),
    ("store", "copy", "memory://", "{url}"),
    ("store", "prune", "{url}", "--older-than", "1d"),
    ("store", "delete", "s", "--store", "{url}", "--yes"),
    ("store", "repair", "{url}"),
    ("import", os.devnull, "--store", "{url}"),
    ("store", "iam-policy", "{url}", "--role", "writer"),
)
OF_OTLP: Final = (
    ("export", "done", "--otlp", "{url}"),
    ("drain", "--otlp", "{url}"),
    ("drain", "--sinks", "{url}"),
    ("sinks", "iam-policy", "{url}"),
    ("sinks", "forget", "{url}", "--yes"),
    ("run", "--otlp", "{url}", "--", sys.executable, "-c", "pass"),
)
# That begin to work where the URL is good: each is tried with those that are not, by hand.
THAT_RUN: Final = (
    ("drain", "--store", "{url}"),
    ("run", "--store", "{url}", "--", sys.executable, "-c", "pass"),
    ("collect", "--no-grpc", "--http", "127.0.0.1:0", "--store", "{url}"),
    ("demo", "--store", "{url}"),
    ("mcp", "--store", "{url}"),
    ("serve", "--port", "0", "--store", "{url}"),
)
MALFORMED: Final = (
    "s3://AKIA:{secret}@bucket/j?region=us-east-1",
    "s3://AKIA:{secret}",
    "dynamodb://K:{secret}@table?region=us-east-1",
    "sqlite://ann:{secret}@x",
    "memory://ann:{secret}@x",
    "postgresql://ann:{secret}/@host/db",
    "elsewhere://ann:{secret}@host?token={secret}",
    "ann:{secret}@host",
)
SOAK: Final = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
# Hypothesis would hold a fixture for all its examples; nothing of it is changed by a command that fails. The short form
# asks the same each time, the long form always something else.
_SETTINGS: Final = settings(
    max_examples=25,
    deadline=None,
    derandomize=not SOAK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def said_by(command: tuple[str, ...], url: str) -> str:
    """Run a command line and return all that it prints."""
    done = cli(*(part.replace("{url}", url) for part in command))
    return done.stdout + done.stderr


def test_every_command_is_tried() -> None:
    """Of a command that comes, somebody has to say how it is tried here."""
    tried = {command[0] for command in (*OF_STORES, *OF_OTLP, *THAT_RUN)}
    assert tried >= COMMANDS.keys()
    assert {command[1] for command in OF_STORES if command[0] == "store"} == STORE_COMMANDS.keys()


@_SETTINGS
@given(secret_urls(), st.sampled_from(OF_STORES))
def test_no_command_prints_a_secret_of_its_store(case: tuple[str, Secret], command: tuple[str, ...]) -> None:
    """Neither on stdout nor on stderr, whatever is wrong with the URL, or nothing."""
    url, secret = case
    assert secret.parts_in(said_by(command, url)) == []


@settings(_SETTINGS, max_examples=15 * (20 if SOAK else 1))
@given(secret_urls())
def test_a_variable_is_no_other_door(case: tuple[str, Secret]) -> None:
    """A URL of the environment is printed as little as one of the command line."""
    url, secret = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_JOURNAL_STORE", url)
        patch.setenv("AGENT_JOURNAL_OTLP", url)
        assert secret.parts_in(said_by(("doctor",), url)) == []
        assert secret.parts_in(said_by(("status", "s"), url)) == []


@settings(_SETTINGS, max_examples=12 * (20 if SOAK else 1))
@given(secret_urls(), st.sampled_from(OF_OTLP))
def test_no_command_prints_a_secret_of_an_endpoint(
    journal: Seeded, case: tuple[str, Secret], command: tuple[str, ...]
) -> None:
    """Where spans go is said without what lets us in there."""
    if journal.store.head("done") is None:
        journal.completed()
    url, secret = case
    assert secret.parts_in(said_by(command, url)) == []


@pytest.mark.parametrize("command", THAT_RUN)
def test_what_would_run_tells_nothing(command: tuple[str, ...]) -> None:
    """A program is not even started where its store's URL cannot be one."""
    for url in MALFORMED:
        text = said_by(command, url.format(secret="".join(SECRET)))
        assert SECRET.parts_in(text) == []
        assert "error: " in text


def test_a_program_under_run_is_told_where_it_is_journaled_without_the_secret() -> None:
    """The line that `run` begins with, and what a store that is away says of itself."""
    url = f"postgresql://ann:{''.join(SECRET)}@{HOST}/db?connect_timeout=1"
    endpoint = f"http://ann:{''.join(SECRET)}@{HOST}?token={''.join(SECRET)}"
    done = program("run", "--store", url, "--otlp", endpoint, "--", sys.executable, "-c", "pass")
    assert done.returncode == 0
    assert f"postgresql://ann:***@{HOST}/db" in done.stderr
    assert SECRET.parts_in(done.stdout + done.stderr) == []


@pytest.mark.parametrize("form", ["http", "grpc"])
@pytest.mark.parametrize("joint", ["", "%0A", "%C3%A9"])
def test_headers_of_an_endpoint_are_never_told(
    journal: Seeded, monkeypatch: pytest.MonkeyPatch, form: str, joint: str
) -> None:
    """Not even those that no client takes."""
    journal.completed()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {SECRET.first}{joint}{SECRET.second}")
    text = said_by(("-v", "export", "done", "--otlp", "{url}"), f"{form}://{HOST}")
    assert "error: " in text
    assert SECRET.parts_in(text) == []


@contextmanager
def _log(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Give what an error's traceback and the log say, with all that caused it."""
    said: list[str] = []
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        try:
            yield said
        except JournalError as error:
            said.extend(traceback.format_exception(error))
    said.append(caplog.text)


@settings(_SETTINGS, max_examples=25 * (20 if SOAK else 1))
@given(secret_urls())
def test_no_error_of_the_api_tells_a_secret(caplog: pytest.LogCaptureFixture, case: tuple[str, Secret]) -> None:
    """Of `open_store` and `configure`: message, causes and log."""
    url, secret = case
    with _log(caplog) as said:
        store = otel_agent_journal.open_store(url)
        said.append(store.url)
        store.close()
    with _log(caplog) as configured:
        otel_agent_journal.configure(url, otlp=url, instrument=False)
        otel_agent_journal.shutdown()
    assert secret.parts_in("".join(said + configured)) == []


@pytest.mark.parametrize(
    "url", ["s3://AKIA:{secret}@bucket/j", "dynamodb://{secret}@table", "s3://b?secret_key={secret}"]
)
def test_an_error_says_where_credentials_belong(url: str) -> None:
    """Somebody who wrote them into the URL learns what to do instead."""
    with pytest.raises(ConfigError, match="no place for credentials; boto3 takes them from AWS_ACCESS_KEY_ID"):
        otel_agent_journal.open_store(url.format(secret="".join(SECRET)))
