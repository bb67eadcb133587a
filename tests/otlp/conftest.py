"""A backend for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.otlp.backend import Backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend that takes everything."""
    server = Backend()
    yield server
    server.close()
