"""A writer whose folder, lock, files or descriptors are taken away goes on, says so, and is not taken for dead."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import INFO, WRITER_LOCK, info_of
from otel_agent_journal.spool.locks import is_held
from otel_agent_journal.spool.processes import process_of, still_runs
from otel_agent_journal.spool.writer import SpoolWriter
from tests.spool.spooling import everything, new_writer, noted


def descriptors_of(folder: Path) -> list[int]:
    """Return the numbers of this process's descriptors on files of a folder."""
    found: list[int] = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            target = path.readlink()
        except OSError:
            continue
        if str(target).startswith(str(folder)):
            found.append(int(path.name))
    return found


def close_all(writer: SpoolWriter) -> None:
    """Close every descriptor of the writer, as a daemon does."""
    for number in descriptors_of(writer.folder):
        os.close(number)


def close_lock(writer: SpoolWriter) -> None:
    """Close the lock's alone."""
    for number in descriptors_of(writer.folder / WRITER_LOCK):
        os.close(number)


def remove_folder(writer: SpoolWriter) -> None:
    """Remove the whole spool."""
    shutil.rmtree(writer.root)


def remove_segments(writer: SpoolWriter) -> None:
    """Remove its segments alone."""
    for path in writer.folder.glob("*.seg"):
        path.unlink()


TAKEN: tuple[Callable[[SpoolWriter], None], ...] = (close_all, close_lock, remove_folder, remove_segments)


@pytest.mark.parametrize("take", TAKEN)
def test_it_goes_on_and_says_so(tmp_path: Path, take: Callable[[SpoolWriter], None], caplog: pytest.LogCaptureFixture):
    """What was appended before, meanwhile and after is in a folder that is locked again, under the same writer."""
    writer = new_writer(tmp_path / "spool")
    name = writer.writer
    assert writer.append(noted(1))
    take(writer)
    assert writer.append(noted(2))
    writer.look_after()
    assert "taken away" in caplog.text
    assert is_held(writer.folder / WRITER_LOCK)
    assert writer.append(noted(3))
    assert everything(writer.folder) == [noted(1), noted(2), noted(3)]
    assert writer.writer == name
    writer.look_after()
    assert caplog.text.count("taken away") == 1
    writer.close()


@pytest.mark.parametrize("take", TAKEN)
def test_it_is_not_taken_for_dead_meanwhile(tmp_path: Path, take: Callable[[SpoolWriter], None]) -> None:
    """Whoever adopts finds the process alive, though the lock is free; once it has ended in order it is dead."""
    writer = new_writer(tmp_path / "spool")
    writer.append(noted(1))
    take(writer)
    assert SpoolFolder(writer.folder).is_alive()
    writer.look_after()
    writer.close()
    assert not SpoolFolder(writer.folder).is_alive()


def test_files_of_the_program_are_left_alone(tmp_path: Path) -> None:
    """Files that got the numbers of ours are neither written nor closed, by the writer or by a reader."""
    writer = new_writer(tmp_path / "spool")
    writer.append(noted(1))
    reader = SpoolFolder(writer.folder)
    records = reader.read()
    numbers = descriptors_of(writer.folder)
    theirs = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
    for number in numbers:
        os.dup2(theirs, number)
    reader.acknowledge(records[-1][0])
    assert [payload for _, payload in reader.read()] == [noted(1)]  # taken anew, and so given again
    writer.append(noted(2))
    writer.look_after()
    writer.close()
    reader.close()
    inode = (tmp_path / "theirs").stat().st_ino
    assert all(os.fstat(number).st_ino == inode for number in numbers)
    assert (tmp_path / "theirs").read_bytes() == b""
    for number in (*numbers, theirs):
        os.close(number)


def test_what_cannot_go_on_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no folder can be made any more, that is said and counted, and tried again."""
    writer = new_writer(tmp_path / "spool", retry_s=0.0)
    writer.append(noted(1))
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("in the way")
    writer.look_after()
    assert "cannot be made anew" in caplog.text
    (tmp_path / "spool").unlink()
    writer.look_after()
    assert everything(writer.folder) == [noted(1)]
    writer.close()


# --- which process it is ------------------------------------------------------------------------------------------


def left_by(tmp_path: Path, **changes: object) -> Path:
    """Return the folder of a writer that another program left without ending, with changes of what it says."""
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom otel_agent_journal.spool.writer import SpoolWriter\n"
        f"writer = SpoolWriter(Path({str(tmp_path)!r}), writer='a' * 32)\nwriter.append(b'x')\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    folder = tmp_path / ("a" * 32)
    info = msgspec.structs.replace(info_of(folder), **changes)
    (folder / INFO).write_bytes(msgspec.json.encode(info))
    return folder


def test_a_process_that_has_ended_is_dead(tmp_path: Path) -> None:
    """Its lock is free and it runs no more."""
    assert not SpoolFolder(left_by(tmp_path)).is_alive()


def test_another_process_of_that_id_is_not_the_writer(tmp_path: Path) -> None:
    """The id was given out again: who has it now began at another time, or runs another program."""
    other = subprocess.Popen(["sleep", "60"])
    try:
        assert not SpoolFolder(left_by(tmp_path, pid=other.pid)).is_alive()
        assert SpoolFolder(left_by(tmp_path, pid=other.pid, process=process_of(other.pid))).is_alive()
    finally:
        other.kill()
        other.wait()


def test_of_another_boot_or_machine_nothing_is_known() -> None:
    """There a process id says nothing; here one that is nobody's says that it has ended."""
    import socket

    host, process = socket.gethostname(), process_of(os.getpid())
    assert still_runs(process, os.getpid(), host) is True
    assert still_runs(process, os.getpid(), "elsewhere") is None
    assert still_runs("0-0:1:" + process.partition(":")[2], os.getpid(), host) is None
    assert still_runs("", 2**22 + 1, host) is False
