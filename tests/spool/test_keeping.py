"""What was delivered of a session, for its next process: a cache that may be wrong in no other way than by missing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from otel_agent_journal.projections.request import Kept
from otel_agent_journal.spool import keeping
from otel_agent_journal.spool.keeping import KEPT, KeptFiles


def held(files: KeptFiles, session: str = "s") -> list[str]:
    return [digest for kept in files.read(session) for digest in kept.held]


def test_another_process_reads_what_was_left(tmp_path: Path) -> None:
    """Lines are read in the order in which they were left, of each session its own."""
    files = KeptFiles(tmp_path)
    for digest in "abc":
        files.add("s", Kept(held=[digest]))
    files.add("other", Kept(held=["x"]))
    assert held(KeptFiles(tmp_path)) == ["a", "b", "c"]
    assert held(KeptFiles(tmp_path), "\udc80/.. none") == []
    files.forget("s")
    assert held(files) == []
    assert held(files, "other") == ["x"]
    files.forget()
    assert held(files, "other") == []


def test_a_database_in_the_place_of_another(tmp_path: Path) -> None:
    """What went to a database file that is not there any more counts no longer."""
    database = tmp_path / "journal db.sqlite"
    url = f"sqlite:///{tmp_path}/journal%20db.sqlite?timeout=3"
    files = KeptFiles(tmp_path, url)
    files.add("s", Kept(held=["a"]))  # there is none yet: nothing is noted
    database.write_text("one")
    files.add("s", Kept(held=["b"]))
    assert held(files) == ["b"]
    database.rename(tmp_path / "moved")
    assert held(files) == []
    database.write_text("two")
    assert held(files) == []


def test_a_file_that_is_damaged_or_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is none is passed over; a file over its limit is begun anew."""
    files = KeptFiles(tmp_path)
    files.add("s", Kept(held=["a"]))
    (path,) = (tmp_path / KEPT).iterdir()
    path.write_bytes(path.read_bytes() + b'{"held": [\n')
    files.add("s", Kept(held=["b"]))
    assert held(files) == ["a", "b"]
    monkeypatch.setattr(keeping, "MAX_FILE_BYTES", 10)
    assert held(files) == []
    assert not path.exists()


def test_what_rested_for_long_is_not_believed(tmp_path: Path) -> None:
    """A session that nobody wrote to for a day may have been pruned: its history is journaled once more."""
    files = KeptFiles(tmp_path)
    files.add("s", Kept(held=["a"]))
    (path,) = (tmp_path / KEPT).iterdir()
    hour_s = 3600
    for age_s, found in ((23 * hour_s, ["a"]), (25 * hour_s, []), (-hour_s, [])):
        if not path.exists():
            files.add("s", Kept(held=["a"]))
        os.utime(path, (time.time() - age_s,) * 2)
        assert held(files) == found


def test_there_are_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many files those that were not added to for longest go."""
    monkeypatch.setattr(keeping, "MAX_FILES", 8)
    monkeypatch.setattr(keeping, "_LOOK_EACH", 4)
    files = KeptFiles(tmp_path)
    for number in range(40):
        files.add(f"s{number}", Kept(held=["a"]))
    assert len(list((tmp_path / KEPT).iterdir())) <= 12


def test_the_installation_has_one_key(tmp_path: Path) -> None:
    """Processes share a key that nobody else can read; where none can be kept each has its own."""
    assert KeptFiles(tmp_path).key() == KeptFiles(tmp_path).key()
    assert (tmp_path / KEPT / "key").stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    assert KeptFiles(tmp_path / "file").key() != KeptFiles(tmp_path / "file").key()
