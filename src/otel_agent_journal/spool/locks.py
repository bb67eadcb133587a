"""Locks between processes: who writes a spool folder, who drains it.

An flock ends with its holder, however that dies. It belongs to the open file, so forked children close their copy.
Where a file system has no flock, a lock is always granted and never seen held; `SpoolFolder` then goes by process id.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final
from weakref import WeakSet

from otel_agent_journal import forks
from otel_agent_journal.descriptors import Descriptor

_BUSY: Final = (errno.EWOULDBLOCK, errno.EACCES)


_held_here: WeakSet[FileLock] = WeakSet()


class FileLock:
    """An exclusive lock that this process holds; made by `take` alone."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._file = Descriptor(descriptor)
        _held_here.add(self)
        forks.join(self, forks.Place.LOCKS)

    @property
    def holds(self) -> bool:
        """Tell whether the lock is still held, on the file of that name: nobody closed it, or removed the file."""
        return self._file.is_open and self._file.is_named(self.path)

    @classmethod
    def take(cls, path: Path, *, recover: bool = False) -> FileLock | None:
        """Return the lock on this file, made where missing, or None where somebody else holds it.

        `recover`: take over a lock that this process holds and has forgotten, because a KeyboardInterrupt hit between
        opening and remembering it. Only for a file that no other thread locks.

        Raises:
            OSError: the file cannot be made or opened.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                ours = _forgotten(descriptor) if recover else None
                os.close(descriptor)
                return None if ours is None else cls(path, ours)
        if os.fstat(descriptor).st_nlink == 0:  # its folder was removed between our open and our lock
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def move(self, path: Path) -> None:
        """Note that the locked file was renamed."""
        self.path = path

    def close(self) -> None:
        """Release the lock. May be called twice."""
        self.descriptor = -1
        _held_here.discard(self)
        forks.leave(self)
        self._file.close()

    def __del__(self) -> None:
        self.close()

    def after_fork(self) -> None:
        """Close the child's copy, which leaves the lock with the parent."""
        self.close()


def is_held(path: Path) -> bool | None:
    """Tell whether anybody holds this lock, this process included; None where that cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:  # no descriptors left, say: that proves nobody dead
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _BUSY else None
    finally:
        os.close(descriptor)
    return False


def is_held_here(path: Path) -> bool:
    """Tell whether this process itself holds this lock."""
    return any(lock.path == path and lock.holds for lock in list(_held_here))


def _forgotten(descriptor: int) -> int | None:
    """Return a descriptor of this process on the same file, opened as locks are, that no lock object knows."""
    wanted = os.fstat(descriptor)
    known = {lock.descriptor for lock in list(_held_here)} | {descriptor}
    with contextlib.suppress(OSError, ValueError):
        for number in map(int, os.listdir("/dev/fd")):
            with contextlib.suppress(OSError):
                same = number not in known and os.path.samestat(os.fstat(number), wanted)
                if same and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:  # probes only read
                    return number
    return None
