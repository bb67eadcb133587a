"""The real servers that tests of this folder talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.backends import NAMES, SERVERS, Backend
from tests.real.fixtures import server_program
from tests.real.jaeger import Jaeger
from tests.real.servers import Server, running

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is `real`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def jaeger_program() -> Path:
    """The built binary."""
    return server_program("jaeger")


@pytest.fixture(scope="session")
def jaeger(jaeger_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jaeger shared by all tests of a session (of an xdist worker)."""
    with running(Jaeger(jaeger_program, tmp_path_factory.mktemp("jaeger"))) as server:
        yield server


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, aws: None) -> Backend:
    """Each store that is on a server."""
    return Backend(request.param, request.getfixturevalue(SERVERS[request.param]))
