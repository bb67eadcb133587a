"""A journal in a file, and a process that records to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_agent_journal


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a journal that the environment names."""
    url = f"sqlite:///{tmp_path}/journal.db"
    monkeypatch.setenv("AGENT_JOURNAL_STORE", url)
    monkeypatch.chdir(tmp_path)
    return url


@pytest.fixture
def recording(url: str) -> Iterator[str]:
    """The URL of a journal that this process records to."""
    otel_agent_journal.configure(url, instrument=False)
    yield url
    otel_agent_journal.shutdown()
