"""One segment file as its writer has it open: memory-mapped where that is possible, else written with `os.pwrite`.

Space is really allocated before it is mapped: touching a hole on a full disk is a SIGBUS, which kills the agent. (On
a copy-on-write file system nothing can promise that a second write to a block finds room.) Of segments, numbers,
folders and refusals as a whole knows `writer`.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from otel_agent_journal.descriptors import Descriptor, keep_for_ever
from otel_agent_journal.spool.frames import (
    HEADER_BYTES,
    WRITER_STATE_AT,
    WriterState,
    acknowledged_of,
    header_of,
    writer_state_bytes,
)

_CANNOT_MAP: Final = frozenset(
    (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENODEV, errno.EINVAL, errno.EPERM, errno.ENOMEM)
)


class Segment(Protocol):
    """A segment that is being written, by one thread at a time."""

    number: int
    size: int
    put: Callable[[bytes], object]
    """Append a whole frame. Raises ValueError where it does not fit, OSError where it cannot be written."""

    @property
    def is_open(self) -> bool:
        """Tell whether nobody has closed its descriptor."""
        ...

    @property
    def is_there(self) -> bool:
        """Tell whether nobody has removed its file."""
        ...

    def end(self) -> int:
        """Return where the last frame ends."""
        ...

    def state(self, state: WriterState) -> None:
        """Write the writer's fields of the header."""
        ...

    def sync(self) -> None:
        """Return once everything put so far survives a power loss."""
        ...

    def close(self, *, shrink: bool = False) -> None:
        """Let go of the file; `shrink` gives the unused space back. Never raises."""
        ...

    def discard(self) -> None:
        """Let go of the file and delete it. Never raises."""
        ...

    def unacknowledged(self) -> bytes:
        """Return the frames that no drainer has acknowledged."""
        ...


class _OpenFile:
    """What both kinds share: the file itself."""

    def __init__(self, path: Path, file: Descriptor, number: int, size: int) -> None:
        self.path = path
        self.number = number
        self.size = size
        self._file = file
        self._closed = False

    def end(self) -> int:
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        return self._file.is_open

    @property
    def is_there(self) -> bool:
        return self._file.is_named(self.path)

    def sync(self) -> None:
        if not self._closed:  # a closed segment was synced before it was closed
            getattr(os, "fdatasync", os.fsync)(self._file.number)

    def unacknowledged(self) -> bytes:
        start = acknowledged_of(os.pread(self._file.number, HEADER_BYTES, 0))
        return os.pread(self._file.number, max(0, self.end() - start), start)

    def close(self, *, shrink: bool = False) -> None:
        self._closed = True
        if shrink:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.number, self.end())
        self._file.close()

    def discard(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


class MappedSegment(_OpenFile):
    """A segment in memory.

    `put` is `mmap.write`: one memory copy within one C call, so that no frame is ever half reserved. A signal handler
    or finalizer that appends comes before it or after it, never inside.
    """

    def __init__(self, path: Path, file: Descriptor, number: int, mapped: mmap.mmap) -> None:
        super().__init__(path, file, number, len(mapped))
        self._map = mapped
        self._map.seek(HEADER_BYTES)
        self.put: Callable[[bytes], object] = self._map.write

    def end(self) -> int:
        return self._map.tell()

    def state(self, state: WriterState) -> None:
        packed = writer_state_bytes(state)
        self._map[WRITER_STATE_AT : WRITER_STATE_AT + len(packed)] = packed

    def unacknowledged(self) -> bytes:
        return self._map[acknowledged_of(self._map[:HEADER_BYTES]) : self.end()]

    def close(self, *, shrink: bool = False) -> None:
        taken = not self._closed and not self.is_open
        super().close(shrink=shrink)
        if taken:  # and so is the map's own copy of the number, which it would close, whosever it is by now
            keep_for_ever(self._map)
            return
        with contextlib.suppress(ValueError, BufferError):
            self._map.close()


class WrittenSegment(_OpenFile):
    """A segment where mapping cannot be had. Slower beside busy threads: each write gives up the GIL."""

    def __init__(self, path: Path, file: Descriptor, number: int, size: int) -> None:
        super().__init__(path, file, number, size)
        self._end = HEADER_BYTES
        self._broken = False
        self.put: Callable[[bytes], object] = self._write

    def _write(self, frame: bytes) -> None:
        start, end = self._end, self._end + len(frame)
        if self._broken or end > self.size:
            raise ValueError("segment is full")
        self._end = end
        try:
            self._write_at(start, frame)
        except BaseException:
            if self._end == end:
                self._end = start
            else:  # a signal handler appended behind us: leave this segment to the reader's search
                self._broken = True
            raise

    def _write_at(self, start: int, data: bytes) -> None:
        written = os.pwrite(self._file.number, data, start)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"wrote {written} of {len(data)} bytes", str(self.path))

    def end(self) -> int:
        return self._end

    def state(self, state: WriterState) -> None:
        self._write_at(WRITER_STATE_AT, writer_state_bytes(state))


def create_segment(path: Path, writer: str, number: int, size: int) -> Segment:
    """Return a new segment file of `size` bytes, header included, mapped where that can be had.

    Raises:
        OSError: no space, no permission, no folder; nothing is left behind.
    """
    file = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        os.pwrite(file.number, header_of(writer, number), 0)
        mapped = _map(file.number, size)
        if mapped is not None:
            return MappedSegment(path, file, number, mapped)
        os.ftruncate(file.number, HEADER_BYTES)
        return WrittenSegment(path, file, number, size)
    except BaseException:
        file.close()
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _map(descriptor: int, size: int) -> mmap.mmap | None:
    """Return the file in memory, all of it allocated, or None where that cannot be had."""
    try:
        _allocate(descriptor, size)
        return mmap.mmap(descriptor, size)
    except OSError as error:
        if error.errno in _CANNOT_MAP:
            return None
        raise


def sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    blank = bytes(64 * 1024)
    for start in range(HEADER_BYTES, size, len(blank)):
        os.pwrite(descriptor, blank[: size - start], start)
