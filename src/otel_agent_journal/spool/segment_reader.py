"""One segment file as its reader sees it: the next good frames, what is damaged, how far it is acknowledged.

What is no frame is waited for while the writer may still be at it, and skipped as damage once a good frame follows
or nothing more can come. Of other segments, and of the writer's life, knows `folder`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from otel_agent_journal.descriptors import Descriptor
from otel_agent_journal.mapping.facts import FACTS_VERSION
from otel_agent_journal.spool.frames import (
    ACKNOWLEDGED_AT,
    FORMAT_VERSION,
    FRAME_BYTES,
    HEADER_BYTES,
    WRITER_STATE_AT,
    WRITER_STATE_BYTES,
    WriterState,
    acknowledged_bytes,
    acknowledged_of,
    identity_of,
    is_blank,
    length_at,
    next_frame,
    payload_at,
    writer_state_at,
)

_SEARCH_EVERY_S: Final = 1.0  # behind a half-written tail of a live writer, how often a good frame is looked for
_LEAST_READ_BYTES: Final = 64 * 1024


class Frames(NamedTuple):
    """What one read found: `(end, payload)` of each good frame, how many bytes that was, how many damaged places.

    `damaged` are the bytes that lay between two good frames: what was there once was whole.
    """

    frames: list[tuple[int, bytes]]
    size: int
    corrupt: int
    damaged: bytes = b""


class Pending(NamedTuple):
    """What is not acknowledged yet."""

    records: int
    size: int


class SegmentReader:
    """Read one segment from what is acknowledged on. Made by `open`."""

    def __init__(self, path: Path, number: int, salt: int, descriptor: int) -> None:
        self.path = path
        self.number = number
        self.exhausted = False
        self._failed = False
        self._salt = salt
        self._file = Descriptor(descriptor)
        self._searched_at = float("-inf")
        page = self._header()
        identity = identity_of(page)
        self.newer = identity is not None and (
            identity.format_version > FORMAT_VERSION or identity.facts_version > FACTS_VERSION
        )
        self.acknowledged = self.offset = acknowledged_of(page)

    @classmethod
    def open(cls, path: Path, number: int, salt: int) -> SegmentReader | None:
        """Return a reader, or None where the file is not there.

        Raises:
            OSError: it cannot be read now.
        """
        try:
            try:
                descriptor = os.open(path, os.O_RDWR)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                descriptor = os.open(path, os.O_RDONLY)  # delivered, though never acknowledged
        except FileNotFoundError:
            return None
        return cls(path, number, salt, descriptor)

    @property
    def done(self) -> bool:
        """Tell whether nothing more can come and all of it is acknowledged; never of what could not be read."""
        return self.exhausted and not self._failed and self.acknowledged >= self.offset

    @property
    def is_open(self) -> bool:
        """Tell whether the file is still ours to read: a program may have closed our descriptors."""
        return self._file.is_open

    def state(self) -> WriterState:
        """Return what the writer said last: whether the segment is sealed, how many events it had to refuse."""
        return writer_state_at(self._bytes(WRITER_STATE_AT, WRITER_STATE_BYTES))

    def read(self, max_bytes: int, *, over: bool) -> Frames:
        """Return the next frames, about `max_bytes` of them. `over`: nobody writes here any more."""
        if not over and is_blank(self._bytes(self.offset, FRAME_BYTES), 0):  # most looks at a live log find nothing
            return Frames([], 0, 0)
        data = self._from(self.offset, max(max_bytes, _LEAST_READ_BYTES))
        frames, at = self._whole_frames(data)
        if frames:
            return self._advance(frames, at, 0)
        if not data:
            self.exhausted = over
            return Frames([], 0, 0)
        return self._search(over)

    def acknowledge(self, offset: int) -> None:
        """Note how far the segment is delivered, in the file too where it can be written."""
        if offset > self.acknowledged:
            self.acknowledged = offset
            with contextlib.suppress(OSError):
                os.pwrite(self._file.number, acknowledged_bytes(offset), ACKNOWLEDGED_AT)

    def pending(self) -> Pending:
        """Return the number and size of all whole frames after what is acknowledged."""
        records, at = 0, self.acknowledged
        while data := self._from(at, 1024 * 1024):
            frames, size = self._whole_frames(data)
            if not frames:
                break
            records, at = records + len(frames), at + size
        return Pending(records, at - self.acknowledged)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def delete(self) -> None:
        """Let go of the file and delete it; where that is not permitted it stays, acknowledged."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _whole_frames(self, data: bytes) -> tuple[list[tuple[int, bytes]], int]:
        frames: list[tuple[int, bytes]] = []
        at, base, salt = 0, self.offset, self._salt
        while (payload := payload_at(data, at, salt)) is not None:
            at += FRAME_BYTES + len(payload)
            frames.append((base + at, payload))
        return frames, at

    def _search(self, over: bool) -> Frames:
        """Look for a good frame behind what is none: it proves that this is damage, not a tail."""
        now = time.monotonic()
        if not over and now - self._searched_at < _SEARCH_EVERY_S:
            return Frames([], 0, 0)
        self._searched_at = now
        data = self._bytes(self.offset, self._size() - self.offset)
        if payload_at(data, 0, self._salt) is not None:  # it was only being written
            return self._advance(*self._whole_frames(data), 0)
        found = next_frame(data, 1, self._salt)
        if found is not None:
            self._searched_at = float("-inf")
            damaged = data[: found.end - FRAME_BYTES - len(found.payload)]
            return self._advance([(self.offset + found.end, found.payload)], found.end, 1, damaged)
        if not over:
            return Frames([], 0, 0)
        self.exhausted = True
        return Frames([], 0, int(data.count(0) < len(data)))

    def _advance(self, frames: list[tuple[int, bytes]], size: int, corrupt: int, damaged: bytes = b"") -> Frames:
        self.offset += size
        return Frames(frames, size, corrupt, damaged)

    def _from(self, offset: int, about_bytes: int) -> bytes:
        """Return the bytes from here on, enough of them for one whole frame."""
        data = self._bytes(offset, about_bytes)
        wanted = length_at(data, 0)
        if wanted is not None and len(data) < wanted <= self._size() - offset:
            return self._bytes(offset, wanted)
        return data

    def _size(self) -> int:
        return os.fstat(self._file.number).st_size

    def _header(self) -> bytes:
        return self._bytes(0, HEADER_BYTES)

    def _bytes(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file.number, max(0, size), offset)
        except OSError:
            self._failed = True
            return b""
