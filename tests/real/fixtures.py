"""The real stores' servers as fixtures, for tests and exporters alike: one of each a session (of an xdist worker)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.servers import AWS, DynamoDB, Minio, Moto, PostgreSQL, Server, path_of, running


def server_program(name: str) -> Path:
    """Return where a server is; the test is skipped without it, unless `make test` said that it has to be there."""
    program = path_of(name)
    if program is None:
        why = f"{name} is not there: scripts/real_servers.sh {name}"
        if name in os.environ.get("AGENT_JOURNAL_TEST_SERVERS", "").split():
            pytest.fail(why)
        pytest.skip(why)
    return program


def _serve(kind: type[Server], factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(kind(server_program(kind.name), factory.mktemp(kind.name))) as server:
        yield server


@pytest.fixture(scope="session")
def dynamodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A DynamoDB Local."""
    yield from _serve(DynamoDB, tmp_path_factory)


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MinIO."""
    yield from _serve(Minio, tmp_path_factory)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL."""
    yield from postgresql_of_its_own()


def postgresql_of_its_own() -> Iterator[PostgreSQL]:
    """Yield a running PostgreSQL.

    Not in pytest's folder: whichever run of pytest starts next closes that to all but its user, whom as root the
    server is not.
    """
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(server_program("postgresql"), Path(folder))
        with running(server):
            yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A moto server."""
    yield from _serve(Moto, tmp_path_factory)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the local servers, and nothing of the machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def browsers() -> Iterator[Any]:
    """Playwright, one a process; see `bare_loop` of the root's conftest."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver
