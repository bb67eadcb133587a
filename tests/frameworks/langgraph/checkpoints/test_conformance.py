"""The checkpointer conforms to LangGraph's suite, on the stores that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_agent_journal.bootstrap.checkpoints import JournalSaver
from otel_agent_journal.store.memory import MemoryStore
from tests.frameworks.langgraph.checkpoints.conformance import BySyncMethods, conforms


@pytest.mark.parametrize("kind", [JournalSaver, BySyncMethods])
async def test_on_sqlite(kind: type[JournalSaver], tmp_path: Path) -> None:
    """All capabilities are detected and pass, delta histories too, by async and by sync methods."""
    await conforms(lambda: kind(f"sqlite:///{tmp_path}/journal.db?synchronous=normal"))


async def test_in_memory() -> None:
    """So they do over a store in memory."""
    await conforms(lambda: JournalSaver(MemoryStore()))
