"""A receiver for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.collecting import Collecting


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[Collecting]:
    """A running receiver."""
    with Collecting(tmp_path) as running:
        yield running
