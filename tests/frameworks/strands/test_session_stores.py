"""Strands' sessions in memory and in SQLite: manager, repository and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from tests.frameworks.strands.session_checks import CHECKS, storage_keeps_bytes


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalStore]:
    """A store that needs no server."""
    made = MemoryStore() if request.param == "memory" else open_store(f"sqlite:///{tmp_path}/j.db?synchronous=normal")
    yield made
    made.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_sessions(check: Callable[[JournalStore], None], store: JournalStore) -> None:
    """What `session_checks` says of each."""
    check(store)


async def test_storage(store: JournalStore) -> None:
    """Bytes under keys."""
    await storage_keeps_bytes(store)
