"""A recording for each test, checked at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.frameworks.langgraph.recording import Recording, recording_at


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """Record with a TracerProvider of the program's own; afterwards check what is true of every recording."""
    with recording_at(tmp_path / "spool", provider=TracerProvider()) as made:
        yield made
        made.check()
