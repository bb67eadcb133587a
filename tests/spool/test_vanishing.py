"""Who looks at a spool while a drainer finishes with a folder of it: at any call, any part of the folder may go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Self

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.reading.journal import Journal, has_dead
from otel_agent_journal.spool import known, set_aside
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import DRAIN_LOCK
from otel_agent_journal.spool.locks import FileLock
from otel_agent_journal.spool.quota import reclaim, used_bytes
from otel_agent_journal.spool.set_aside import SetAside
from otel_agent_journal.spool.survey import pending_bytes, pending_records, survey, writer_folders
from otel_agent_journal.store.memory import MemoryStore
from tests.spool.spooling import die, new_writer, started

SYSTEM_CALLS = ("posix", "fcntl", "io", "_io")
MOST_CALLS = 400


class Interposed:
    """Do something right before the n-th call of this thread to the operating system."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.left, self._act = number, act

    def __enter__(self) -> Self:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, _frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__module__", "") in SYSTEM_CALLS:
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                self._act()


class Finishing:
    """A drainer that has delivered all of a dead writer's folder and is removing it, step by step."""

    def __init__(self, root: Path) -> None:
        writer = new_writer(root)
        assert writer.append(started(1, "cut"))
        die(writer)
        self.path = writer.folder
        self.lock = FileLock.take(self.path / DRAIN_LOCK)
        assert self.lock is not None
        reader = SpoolFolder(self.path)
        while records := reader.read():
            reader.acknowledge(records[-1][0])
        assert reader.finished
        self.reader = reader

    def remove(self) -> None:
        """Remove all of it."""
        assert self.reader.remove()

    def remove_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Remove all but the folder itself, which the system is slow to do."""
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rmdir", lambda _: None)
            self.remove()
        assert self.path.is_dir()

    def close(self) -> None:
        """Let go."""
        self.reader.close()
        assert self.lock is not None
        self.lock.close()


def not_ours(root: Path) -> None:
    """A reader finds nothing that it would have to take in."""

    def taken() -> None:
        pytest.fail("another is at it")

    assert Journal(MemoryStore(), root, take_in=taken).take_in_dead(patience_s=1)


LOOKS: dict[str, Callable[[Path], object]] = {
    "survey": lambda root: [folder for folder in survey(root).folders if folder.waits or folder.is_left] == [],
    "has_dead": lambda root: not has_dead(root),
    "take_in_dead": lambda root: not_ours(root) is None,
    "pending_bytes": lambda root: pending_bytes(root) == 0,
    "pending_records": lambda root: [pending_records(path) for path in writer_folders(root)] in ([0], []),
    "used_bytes": lambda root: used_bytes(root) >= 0,
    "reclaim": lambda root: reclaim(root, 1) >= 0,
    "drain": lambda root: Drain(root, MemoryStore()).drain_once().pending_bytes == 0,
}


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "slowly"])
@pytest.mark.parametrize("look", LOOKS)
def test_a_folder_that_goes(tmp_path: Path, look: str, is_slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails, what is delivered does not wait, and nobody takes in what another has finished with."""
    for number in range(1, MOST_CALLS):
        root = tmp_path / str(number)
        folder = Finishing(root)
        remove = partial(folder.remove_files, monkeypatch) if is_slow else folder.remove
        with Interposed(number, remove) as interposed:
            answer = LOOKS[look](root)
        assert answer, f"before call {number}"
        folder.close()
        if interposed.left > 0:
            break
    assert 1 < number < MOST_CALLS - 1


def test_what_was_set_aside_and_goes(tmp_path: Path) -> None:
    """A file that another process delivers meanwhile is not there, whoever counts or reads."""
    looks = (
        set_aside.count,
        lambda root: set_aside.count(root, "w"),
        lambda root: list(set_aside.kept(root)),
        lambda root: set_aside.forget_sessions(root, ("s",)) == 0,
    )
    for look in looks:
        for number in range(1, MOST_CALLS):
            root = tmp_path / str(number)
            SetAside(root).add_record(b"x", "w", "why", number)
            (file,) = (path for path, _ in set_aside.kept(root))
            with Interposed(number, file.unlink) as interposed:
                look(root)
            if interposed.left > 0:
                break
        assert 1 < number < MOST_CALLS - 1


def test_a_note_that_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other spools those that are there are named, though another `doctor` throws the note of one away."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    there = [tmp_path / name for name in ("a", "b", "c")]
    for path in there:
        path.mkdir()
    for number in range(1, MOST_CALLS):
        for path in there:
            known.remember(path)
        note, *_ = (tmp_path / "state").rglob("spools/*")
        gone = Path(note.read_text())
        with Interposed(number, note.unlink) as interposed:
            found = known.others(tmp_path / "here")
        assert set(there) - {gone} <= set(found) <= set(there)
        if interposed.left > 0:
            break
    assert 1 < number < MOST_CALLS - 1
