"""A file that this process holds open, by a number that others may close and use again.

A program that makes itself a daemon closes every descriptor from 3 on, ours too, and what it opens next gets our
numbers. So each use looks first whether the number is still our file's, and a number that is not is never closed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakSet


class Descriptor:
    """An open file, closed once: by `close`, or with its last owner, whatever interrupts whom."""

    __slots__ = ("_identity", "_number")

    def __init__(self, number: int) -> None:
        self._identity = _identity(number)
        self._number = number

    @property
    def number(self) -> int:
        """The number, to be used at once. Raises OSError where it was closed, or is another file's by now."""
        if self._number < 0 or _identity(self._number) != self._identity:
            raise OSError(errno.EBADF, "the descriptor was closed by the program")
        return self._number

    @property
    def is_open(self) -> bool:
        """Tell whether it is still our file's."""
        with contextlib.suppress(OSError):
            return self.number >= 0
        return False

    def is_named(self, path: Path | str) -> bool:
        """Tell whether it is, or was, the file of that name: not one that was removed or replaced since."""
        key = _key_of(path)
        return key is not None and key == self._identity

    def close(self) -> None:
        """Close it, if it is still ours to close. May be called twice."""
        number, self._number = self._number, -1  # in one step: whoever interrupts us here closes nothing twice
        if number >= 0 and _identity(number) == self._identity:
            with contextlib.suppress(OSError):
                os.close(number)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # one that was interrupted as it was made
            self.close()


class Borrowed:
    """The numbers under which a library holds files open that cannot be asked for them, as SQLite its database.

    Made with those that are open on the files now, but for those that were `before`. `lost` once some were closed.
    """

    def __init__(self, paths: Iterable[Path], before: Container[int] = ()) -> None:
        wanted = {key: path for path in paths if (key := _key_of(path)) is not None}
        open_now = [(number, _identity(number)) for number in _open_numbers() if number not in before]
        self.numbers = {number: key for number, key in open_now if key is not None and key in wanted}
        self._paths = {number: wanted[key] for number, key in self.numbers.items()}
        self.lost = False
        _borrowed.add(self)

    @property
    def are_there(self) -> bool:
        """Tell whether all of them are still what they were."""
        return all(_identity(number) == key for number, key in self.numbers.items())

    def put_back(self) -> bool:
        """Open the files again under their numbers, so that the library can close them; not where others have one."""
        lost = [number for number, key in self.numbers.items() if _identity(number) != key]
        self.lost = self.lost or bool(lost)
        if any(_identity(number) is not None for number in lost):
            return False
        for number in lost:
            opened = os.open(self._paths[number], os.O_RDWR)
            aside = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, max(lost) + 1)
            os.close(opened)
            os.dup2(aside, number, inheritable=False)
            os.close(aside)
        return True


_borrowed: WeakSet[Borrowed] = WeakSet()


def put_back_all() -> None:
    """Put back what libraries have lost, before we open anything: our own files would get their numbers."""
    for borrowed in list(_borrowed):
        with contextlib.suppress(OSError):
            borrowed.put_back()


def open_here() -> set[tuple[int, int] | None]:
    """Return which files this process has open, by device and inode; empty where that cannot be told."""
    return {_identity(number) for number in _open_numbers()} - {None}


def _open_numbers() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(path.name) for path in Path("/dev/fd").iterdir() if path.name.isdecimal()]
    return []


def keep_for_ever(owner: Any) -> None:
    """Never let go of what would close numbers that are no longer its own, or wait for a thread that is gone."""
    with contextlib.suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


def _identity(number: int) -> tuple[int, int] | None:
    try:
        return _key(os.fstat(number))
    except OSError:
        return None


def _key_of(path: Path | str) -> tuple[int, int] | None:
    try:
        return _key(Path(path).stat())
    except OSError:
        return None


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
