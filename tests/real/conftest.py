"""The real servers that tests of this folder talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.backends import NAMES, SERVERS, Backend
from tests.real.jaeger import Jaeger, binary

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is `real`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def jaeger_program() -> Path:
    """The built binary; tests are skipped without it, unless `make test` said that it has to be there."""
    program = binary()
    if program is None:
        why = "Jaeger is not built: scripts/real_servers.sh jaeger"
        if "jaeger" in os.environ.get("AGENT_JOURNAL_TEST_SERVERS", "").split():
            pytest.fail(why)
        pytest.skip(why)
    return program


@pytest.fixture(scope="session")
def jaeger(jaeger_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """A Jaeger shared by all tests of a session (of an xdist worker)."""
    server = Jaeger(jaeger_program, tmp_path_factory.mktemp("jaeger"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, aws: None) -> Backend:
    """Each store that is on a server."""
    return Backend(request.param, request.getfixturevalue(SERVERS[request.param]))
