"""A receiver for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.collecting import Collecting
from tests.receiver.serving import Serving


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[Collecting]:
    """A running receiver."""
    with Collecting(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def one() -> Iterator[Serving]:
    """One receiver within this process for all tests of a file that leave it as it was."""
    with Serving() as running:
        yield running


@pytest.fixture
def served(one: Serving) -> Serving:
    """That receiver, with nothing kept."""
    one.log.payloads.clear()
    return one
