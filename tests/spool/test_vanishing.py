"""Who looks at a spool while a drainer finishes with a folder of it: before any call, the log or the folder may go."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
from otel_agent_journal.spool.segments import FIRST_SEGMENT_BYTES
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
    """A drainer that holds a dead writer's folder, has stored all of it, and is to acknowledge that and remove it."""

    def __init__(self, root: Path) -> None:
        writer = new_writer(root)
        assert writer.append(started(1, "cut"))
        die(writer)
        self.path = writer.folder
        self.lock = FileLock.take(self.path / DRAIN_LOCK)
        assert self.lock is not None
        self.reader = SpoolFolder(self.path)
        ((self.end, _),) = self.reader.read()
        assert [path.name for path in self.path.glob("*.seg")] == ["000001.seg"]

    def acknowledge(self) -> None:
        """Acknowledge all, which deletes the log."""
        self.reader.acknowledge(self.end)
        assert not list(self.path.glob("*.seg"))
        assert self.reader.finished

    def remove(self) -> None:
        """Remove the folder."""
        assert self.reader.remove()

    def remove_files(self) -> None:
        """Remove all but the folder itself, which the system is slow to do."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "rmdir", lambda _: None)
            self.remove()
        assert self.path.is_dir()

    def close(self) -> None:
        """Let go."""
        self.reader.close()
        assert self.lock is not None
        self.lock.close()


def takes_nothing_in(root: Path) -> bool:
    """Tell whether a reader takes in nothing, and finds that nobody else is at it either."""

    def taken() -> None:
        pytest.fail("another is at it")

    return Journal(MemoryStore(), root, take_in=taken).take_in_dead()


def of_all(root: Path) -> list[int | None]:
    """Return how many records of each writer are pending."""
    return [pending_records(path) for path in writer_folders(root)]


Look = Callable[[Path], bool]
WHILE_DELIVERED: dict[str, Look] = {
    "survey": lambda root: not any(folder.is_left for folder in survey(root).folders),
    "take_in_dead": lambda root: takes_nothing_in(root) in (True, False),
    "pending_records": lambda root: of_all(root) in ([1], [0], []),
    "used_bytes": lambda root: used_bytes(root) <= FIRST_SEGMENT_BYTES,
    "reclaim": lambda root: reclaim(root, 1) == 0,
    "drain": lambda root: Drain(root, MemoryStore()).drain_once().delivered == 0,
}
ONCE_DELIVERED: dict[str, Look] = {
    "survey": lambda root: not any(folder.waits or folder.is_left for folder in survey(root).folders),
    "has_dead": lambda root: not has_dead(root),
    "take_in_dead": takes_nothing_in,
    "pending_bytes": lambda root: pending_bytes(root) == 0,
    "pending_records": lambda root: of_all(root) in ([0], []),
    "used_bytes": lambda root: used_bytes(root) == 0,
    "drain": lambda root: Drain(root, MemoryStore()).drain_once().pending_bytes == 0,
}


def look_before_each_call(folder_of: Callable[[Path], tuple[Finishing, Callable[[], object]]], look: Look, at: Path):
    """Look once for each call that looking makes, and have a drainer go on right before it."""
    for number in range(1, MOST_CALLS):
        root = at / str(number)
        folder, go_on = folder_of(root)
        with Interposed(number, go_on) as interposed:
            answer = look(root)
        assert answer, f"before call {number}"
        folder.close()
        if interposed.left > 0:
            break
    assert 1 < number < MOST_CALLS - 1


@pytest.mark.parametrize("look", WHILE_DELIVERED)
def test_a_log_that_goes(tmp_path: Path, look: str) -> None:
    """Nothing fails, and nobody takes in what another is at, as it acknowledges and so deletes the log."""

    def held(root: Path) -> tuple[Finishing, Callable[[], object]]:
        folder = Finishing(root)
        return folder, folder.acknowledge

    look_before_each_call(held, WHILE_DELIVERED[look], tmp_path)


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "slowly"])
@pytest.mark.parametrize("look", ONCE_DELIVERED)
def test_a_folder_that_goes(tmp_path: Path, look: str, is_slow: bool) -> None:
    """Nothing fails, what is delivered does not wait, and nobody takes in what another has finished with."""

    def delivered(root: Path) -> tuple[Finishing, Callable[[], object]]:
        folder = Finishing(root)
        folder.acknowledge()
        return folder, folder.remove_files if is_slow else folder.remove

    look_before_each_call(delivered, ONCE_DELIVERED[look], tmp_path)


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
