"""Notes of spools: found by `doctor` wherever they lie, of no consequence to anybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_agent_journal.spool import known
from otel_agent_journal.spool.known import others, remember
from tests.spool.spooling import new_writer, noted


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where notes are kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "agent-journal" / "spools"


def test_spools_that_agents_made_are_found(tmp_path: Path, state: Path) -> None:
    """Elsewhere, or beside the one that is asked for, which is not named; each once; gone ones no more."""
    here, elsewhere, gone = tmp_path / "a" / "spool", tmp_path / "b" / "x.db.spool", tmp_path / "c" / "spool"
    for root in (here, elsewhere, gone):
        for _ in range(2):
            new_writer(root).append(noted(1))
    beside = tmp_path / "a" / "spool-otlp-h-1"
    beside.mkdir()
    (tmp_path / "a" / "other").mkdir()
    gone.rename(tmp_path / "moved")
    assert others(here) == [beside, elsewhere]
    assert len(list(state.iterdir())) == 2
    assert (state.stat().st_mode & 0o777, next(state.iterdir()).stat().st_mode & 0o777) == (0o700, 0o600)


def test_notes_are_bounded(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where agents run in ever new folders, they do not grow for ever."""
    monkeypatch.setattr(known, "MAX_NOTES", 3)
    for number in range(5):
        remember(tmp_path / str(number))
    assert len(list(state.iterdir())) == 3


def test_nothing_depends_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home, or with one that may not be written, an agent records as ever."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert new_writer(tmp_path / "spool").append(noted(1))
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert new_writer(tmp_path / "spool").append(noted(1))
    assert others(tmp_path / "other") == [tmp_path / "spool"]
