"""A journal as teams have them, and a lake of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_agent_journal.store.memory import MemoryStore
from tests.lake.lakes import a_journal


@pytest.fixture
def store() -> MemoryStore:
    """Sessions of several days, one of which has gone silent in the middle."""
    return a_journal()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the lake will be."""
    return tmp_path / "lake"
