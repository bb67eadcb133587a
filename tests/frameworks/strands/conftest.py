"""A recording for each test: of every way in which spans come about, or of adopted spans alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from syrupy.extensions.amber import AmberSnapshotExtension

from tests.frameworks.strands.recording import WAYS, StrandsRecording, strands_recording_at


class OfEveryWay(AmberSnapshotExtension):
    """Keeps one snapshot for the tests that differ only in how spans come about: their journals are the same."""

    @classmethod
    def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:
        """Return the snapshot's name, without the way."""
        name = super().get_snapshot_name(test_location=test_location, index=index)
        for way in WAYS:
            name = name.replace(f"[{way}-", "[").replace(f"[{way}]", "", 1).replace(f"-{way}]", "]")
        return name


@pytest.fixture
def snapshot(snapshot: Any) -> Any:
    """Snapshots that all the ways share."""
    return snapshot.use_extension(OfEveryWay)


@pytest.fixture(params=WAYS)
def scenario(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[StrandsRecording]:
    """Record in each of the ways, afterwards check what is true of every recording."""
    with strands_recording_at(tmp_path / "spool", request.param) as made:
        yield made
        made.check()
    assert_nothing_complained(caplog)


@pytest.fixture
def recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[StrandsRecording]:
    """Record with a TracerProvider of the program's own, whose native spans are adopted; afterwards check."""
    with strands_recording_at(tmp_path / "spool") as made:
        yield made
        made.check()
    assert_nothing_complained(caplog)


@pytest.fixture
def recording_without_content(tmp_path: Path) -> Iterator[StrandsRecording]:
    """Record without content."""
    with strands_recording_at(tmp_path / "spool", content=False) as made:
        yield made
        made.check()


def assert_nothing_complained(caplog: pytest.LogCaptureFixture) -> None:
    """Assert that neither OpenTelemetry nor we said that anything went wrong: a context that was not detached, say."""
    said = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING
        and record.name.startswith(("opentelemetry", "otel_agent_journal"))
        and record.getMessage() != "Attempting to instrument while already instrumented"  # Strands, for each provider
    ]
    assert said == []
