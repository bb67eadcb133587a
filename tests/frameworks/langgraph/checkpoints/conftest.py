"""A saver over SQLite, and another process's over the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_agent_journal import JournalSaver


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The store of a test."""
    return f"sqlite:///{tmp_path}/journal.db?synchronous=normal"


@pytest.fixture
def another(url: str) -> Iterator[Callable[..., JournalSaver]]:
    """Makes savers that have read nothing yet, as another process's."""
    made: list[JournalSaver] = []

    def make(**options: object) -> JournalSaver:
        made.append(JournalSaver(url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for saver in made:
        saver.close()


@pytest.fixture
def saver(another: Callable[..., JournalSaver]) -> JournalSaver:
    """A saver."""
    return another()
