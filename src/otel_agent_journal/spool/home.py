"""A writer's own folder in the spool: made so that no reader ever sees it without its lock held.

The folder is built under a hidden name, locked, and then renamed: a reader that finds a folder whose lock is free
knows that its writer is dead. Also the names of everything in a spool.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from otel_agent_journal.spool.locks import FileLock

WRITER_LOCK: Final = "writer.lock"
DRAIN_LOCK: Final = "drain.lock"
CLOSED: Final = "closed"
INFO: Final = "writer.json"
SEGMENT_SUFFIX: Final = ".seg"
DEAD_LETTERS: Final = "dead-letter.jsonl"
HIDDEN: Final = "."  # folders still being made start with it


class WriterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `writer.json` says of a process; `pid` 0 where it is not known."""

    writer: str
    pid: int = 0
    host: str = ""
    started_ns: int = 0
    version: int = 1
    argv0: str = ""
    resource: Mapping[str, str] = {}


def segment_name(number: int) -> str:
    """Return the file name of a segment."""
    return f"{number:06d}{SEGMENT_SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, in order; none where it cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    stems = (name[: -len(SEGMENT_SUFFIX)] for name in names if name.endswith(SEGMENT_SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def make_home(root: Path, info: WriterInfo) -> FileLock:
    """Make the folder `root/writer`, or take it over where it is there, and return its lock.

    Raises:
        OSError: the folder cannot be made, or another process writes it.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = root / info.writer
    hidden = root / f"{HIDDEN}{info.writer}.{os.getpid()}"
    hidden.mkdir(mode=0o700, exist_ok=True)
    try:
        lock = _locked(hidden)
        _write(hidden / INFO, msgspec.json.encode(info))
        if not folder.exists():
            os.rename(hidden, folder)
            lock.move(folder / WRITER_LOCK)
            return lock
        lock.close()
        return _locked(folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Tell whether the folder and the lock in it are still there."""
    return (folder / WRITER_LOCK).exists()


def info_of(folder: Path) -> WriterInfo:
    """Return what is known of the writer of a folder, at least its id."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        info = msgspec.json.decode((folder / INFO).read_bytes(), type=WriterInfo)
        if info.writer == folder.name:
            return info
    return WriterInfo(writer=folder.name)


def info_here(writer: str, resource: Mapping[str, str]) -> WriterInfo:
    """Return what this process says of itself."""
    argv0 = sys.argv[0] if getattr(sys, "argv", None) else ""
    return WriterInfo(
        writer=writer,
        pid=os.getpid(),
        host=socket.gethostname(),
        started_ns=time.time_ns(),
        argv0=argv0.encode("utf-8", "replace").decode(),
        resource=dict(resource),
    )


def _locked(folder: Path) -> FileLock:
    lock = FileLock.take(folder / WRITER_LOCK)
    if lock is None:
        raise FileExistsError(f"spool folder {folder} has a writer already")
    return lock


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
