"""A writer's own folder in the spool: made so that no reader ever sees it without its lock held.

The folder is built under a hidden name, locked, and then renamed: a reader that finds a folder whose lock is free
knows that its writer is dead. Also the names of everything in a spool.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from otel_agent_journal.places import make_folder
from otel_agent_journal.spool.known import remember
from otel_agent_journal.spool.locks import FileLock, is_held
from otel_agent_journal.spool.processes import process_of

WRITER_LOCK: Final = "writer.lock"
DRAIN_LOCK: Final = "drain.lock"
CLOSED: Final = "closed"
INFO: Final = "writer.json"
ANSWER: Final = "flushed.json"
SEGMENT_SUFFIX: Final = ".seg"
SET_ASIDE: Final = "set-aside"
HIDDEN: Final = "."  # folders still being made start with it
_OURS: Final = frozenset((WRITER_LOCK, DRAIN_LOCK, CLOSED, INFO, f"{HIDDEN}{INFO}", ANSWER, f"{HIDDEN}{ANSWER}"))
_HIDDEN_HOME: Final = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{32}")
_ABANDONED_AFTER_S: Final = 3600.0
_WRITER: Final = re.compile(r"[0-9a-f]{32}")


class WriterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `writer.json` says of a process; `pid` 0 where it is not known. `process` tells it from every other."""

    writer: str
    pid: int = 0
    process: str = ""
    host: str = ""
    started_ns: int = 0
    version: int = 1
    argv0: str = ""
    resource: Mapping[str, Any] = {}


class FlushAnswer(msgspec.Struct, frozen=True):
    """What whoever drains a folder leaves there for a writer that waits for a flush: which, and what spans wait."""

    number: int = 0
    spans_pending: int | None = None


def answer_in(folder: Path) -> FlushAnswer:
    """Return the last answer that a drainer has left."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / ANSWER).read_bytes(), type=FlushAnswer)
    return FlushAnswer()


def leave_answer(folder: Path, answer: FlushAnswer) -> None:
    """Leave an answer, whole or not at all. Never raises."""
    with contextlib.suppress(OSError):
        if answer != answer_in(folder):
            _write(folder / f"{HIDDEN}{ANSWER}", msgspec.json.encode(answer))
            os.replace(folder / f"{HIDDEN}{ANSWER}", folder / ANSWER)


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:06d}{SEGMENT_SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, in order; none where there is no folder.

    Raises:
        OSError: it cannot be read now, which is not to be mistaken for an empty one.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    stems = (name[: -len(SEGMENT_SUFFIX)] for name in names if name.endswith(SEGMENT_SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def prepare_home(root: Path, info: WriterInfo) -> tuple[Path, FileLock]:
    """Make a writer's folder under a hidden name, and lock it; `publish_home` gives it its name.

    Raises:
        OSError: the folder cannot be made.
    """
    make_folder(root)
    remember(root)
    hidden = root / f"{HIDDEN}{info.writer}.{uuid4().hex}"
    hidden.mkdir(mode=0o700)
    try:
        lock = _locked(hidden)
        _write(hidden / INFO, msgspec.json.encode(info))
    except BaseException:
        remove_home(hidden)  # `shutil.rmtree` closes a number twice where it is interrupted
        raise
    return hidden, lock


def check_home(root: Path) -> None:
    """Raise OSError where a writer could make no folder here."""
    make_folder(root)
    probe = root / f"{HIDDEN}{'0' * 32}.{uuid4().hex}"
    probe.mkdir(mode=0o700)
    probe.rmdir()


def publish_home(hidden: Path, folder: Path, lock: FileLock) -> FileLock:
    """Give a prepared folder its name, or where one is there already, take that over; return the lock that holds.

    Raises:
        OSError: another process writes it, or the name cannot be given.
    """
    try:
        if folder.exists():
            return _locked(folder)
        lock.move(folder / WRITER_LOCK)
        os.rename(hidden, folder)
        return lock
    finally:
        remove_home(hidden)


def is_home(path: Path) -> bool:
    """Tell whether a folder is a writer's and nothing else: named as one, with nothing in it that is not ours."""
    if _WRITER.fullmatch(path.name) is None:
        return False
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return all(name in _OURS or name.endswith(SEGMENT_SUFFIX) for name in names)


def remove_home(path: Path) -> bool:
    """Delete a writer's folder and only what is ours in it; tell whether it is gone. Never raises."""
    try:
        for name in sorted(os.listdir(path), key=_removal):
            if name in _OURS or name.endswith(SEGMENT_SUFFIX):
                (path / name).unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        return not path.exists()
    return True


def remove_abandoned(root: Path, now_s: float) -> None:
    """Delete folders that a writer died in the middle of preparing. Never raises."""
    with contextlib.suppress(OSError):
        for name in os.listdir(root):
            path = root / name
            if (
                _HIDDEN_HOME.fullmatch(name)
                and now_s - path.stat().st_mtime > _ABANDONED_AFTER_S
                and is_held(path / WRITER_LOCK) is False
            ):
                remove_home(path)


def is_remnant(path: Path) -> bool:
    """Tell whether somebody's removal left this: nothing, or a folder with no log and no writer to it any more."""
    try:
        names = os.listdir(path)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return WRITER_LOCK not in names and not any(name.endswith(SEGMENT_SUFFIX) for name in names)


def _removal(name: str) -> int:
    """Order a removal so that whoever finds it half done can tell: the log first, then the writer's lock, then ours."""
    return {INFO: 1, WRITER_LOCK: 2, CLOSED: 3, DRAIN_LOCK: 4}.get(name, 0)


def info_of(folder: Path) -> WriterInfo:
    """Return what is known of the writer of a folder, at least its id."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        info = msgspec.json.decode((folder / INFO).read_bytes(), type=WriterInfo)
        if info.writer == folder.name:
            return info
    return WriterInfo(writer=folder.name)


def info_written(folder: Path) -> tuple[int, int] | None:
    """Return what tells one version of `writer.json` from another; None where there is none."""
    with contextlib.suppress(OSError):
        found = (folder / INFO).stat()
        return found.st_ino, found.st_mtime_ns
    return None


def describe(folder: Path, resource: Mapping[str, Any]) -> None:
    """Say of a writer's folder what its resource is, whole or not at all; nothing where there is none yet.

    Raises:
        OSError: it cannot be written.
    """
    if not (folder / INFO).exists():
        return
    info = msgspec.structs.replace(info_of(folder), resource=dict(resource))
    _write(folder / f"{HIDDEN}{INFO}", msgspec.json.encode(info))
    os.replace(folder / f"{HIDDEN}{INFO}", folder / INFO)


def info_here(writer: str, resource: Mapping[str, Any]) -> WriterInfo:
    """Return what this process says of itself."""
    argv0 = sys.argv[0] if getattr(sys, "argv", None) else ""
    return WriterInfo(
        writer=writer,
        pid=os.getpid(),
        process=process_of(os.getpid()),
        host=socket.gethostname(),
        started_ns=time.time_ns(),
        argv0=argv0.encode("utf-8", "replace").decode(),
        resource=dict(resource),
    )


def _locked(folder: Path) -> FileLock:
    lock = FileLock.take(folder / WRITER_LOCK, recover=True)
    if lock is None:
        raise FileExistsError(f"spool folder {folder} has a writer already")
    return lock


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
