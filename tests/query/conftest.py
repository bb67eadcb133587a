"""Stores with the same six sessions in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.sqlite import SqliteStore
from tests.query.journals import Counted, a_session, keep

SESSIONS = 6
DIALOG: list[JournalEvent] = [event for number in range(SESSIONS) for event in a_session(number).events]


def _filled(store: JournalStore) -> None:
    for number in range(SESSIONS):
        keep(store, a_session(number).events)


@pytest.fixture
def dialog() -> MemoryStore:
    """Six sessions in memory."""
    store = MemoryStore("memory://")
    _filled(store)
    return store


@pytest.fixture
def counted() -> Counted:
    """Six sessions in a store that counts."""
    store = Counted()
    _filled(store)
    store.forget()
    return store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalStore]:
    """Six sessions, in memory and in a file."""
    made: JournalStore = MemoryStore("memory://") if request.param == "memory" else SqliteStore(tmp_path / "j.db")
    _filled(made)
    yield made
    made.close()
