"""The segments of one writer, one after the other: which is in use, which is next, and whether there may be another.

Numbers are given out in order and a segment is put in use at most once, in that order. Readers rely on it: a segment
is over when it is sealed, its writer is dead, or a later one holds a frame; so nothing that interrupts us here, at
any point, can leave a log that never goes on. Called under the writer's lock, but for `prepare`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from otel_agent_journal.spool.frames import HEADER_BYTES, WriterState
from otel_agent_journal.spool.home import CLOSED, info_here, prepare_home, publish_home, segment_name
from otel_agent_journal.spool.locks import FileLock
from otel_agent_journal.spool.quota import reclaim, used_bytes
from otel_agent_journal.spool.segment import Segment, create_segment, sync_folder

FIRST_SEGMENT_BYTES: Final = 1024 * 1024  # most processes write little
LEAST_SEGMENT_BYTES: Final = 64 * 1024  # on a nearly full disk, what is still worth a file
_MAX_DEPTH: Final = 4  # of signal handlers within signal handlers, each needing a segment
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


_here: WeakSet[SegmentSequence] = WeakSet()


def writes_here(writer: str) -> bool:
    """Tell whether this writer is one of this program's, and has not ended."""
    return any(sequence.writer == writer for sequence in list(_here))


class Refused(Exception):
    """There is no room for this record, though nothing is broken."""


class TooDeep(Refused):
    """Signal handlers append within signal handlers; the next one may do better."""


class SegmentSequence:
    """Hand out segment after segment for one writer at a time."""

    def __init__(
        self, root: Path, segment_bytes: int, cap_bytes: int, resource: Mapping[str, Any], *, fsync: bool
    ) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self._cap_bytes = cap_bytes
        self.resource = resource
        self._fsync = fsync
        self.vanished = 0

    def begin(self, writer: str) -> None:
        """Start over as this writer, with nothing open."""
        self.writer = writer
        self.folder = self._root / writer
        self.current: Segment | None = None
        self.put: Callable[[bytes], object] = _no_segment
        self._spare: Segment | None = None
        self._lock: FileLock | None = None
        self._retired: list[Segment] = []
        self._last_number = 0
        self._depth = 0
        self._over = False
        _here.add(self)

    def in_use(self) -> Segment:
        """Return the segment in use. Raises OSError where there is none."""
        if self.current is None:
            raise OSError(errno.EBADF, "no segment is open")
        return self.current

    def is_whole(self) -> bool:
        """Tell whether folder, lock and segment are still there, and our descriptors ours."""
        segment, lock = self.current, self._lock
        if lock is None or lock.path.parent != self.folder:  # a folder that an interrupt left under its hidden name
            return False
        return lock.holds and (segment is None or (segment.is_open and segment.is_there))

    def is_stranded(self) -> bool:
        """Tell whether the segment holds what nobody will read: its file was removed before it was delivered."""
        segment = self.current
        return segment is not None and not segment.is_there and segment.unacknowledged() != b""

    def advance(self, need_bytes: int, refused: int) -> None:
        """Put the next segment in use, with room for a frame of `need_bytes`, and seal the one before.

        A signal handler may append, and advance, at any point of it; then the segment that it put in use stays.

        Raises:
            Refused: the cap.
            OSError: the disk, or the permissions.
        """
        self._depth += 1
        try:
            if self._depth > _MAX_DEPTH:
                raise TooDeep("signal handlers append faster than a segment is made")
            self._advance(need_bytes, refused)
        finally:
            self._depth -= 1

    def _advance(self, need_bytes: int, refused: int) -> None:
        before = self.current
        self._settle()
        segment, carried = self._take_spare(need_bytes), b""
        if segment is None:
            carried = before.unacknowledged() if before is not None and not before.is_there else b""
            segment = self._create(self._next_number(), need_bytes + len(carried))
        if carried:  # the file had vanished: what it still held goes into the new one
            segment.put(carried)
        if before is not None and self._fsync:
            before.sync()
        if self.current is not before:  # a signal handler appended meanwhile and was here first
            segment.discard()
            return
        self.current, self.put = segment, segment.put  # no call between the two: nothing can come in between
        if before is not None:
            self._seal(before, refused)
            self._retired.append(before)
        if refused:
            self.note_refused(refused)

    def prepare(self, lock: AbstractContextManager[object]) -> None:
        """Make the next segment ready and close the last, in a thread of its own.

        So no append waits for the disk, or for the GIL that every system call gives up.
        """
        with lock:
            retired, self._retired = self._retired, []
            number = self._next_number()
        for segment in retired:
            segment.close()
        with contextlib.suppress(Exception):
            segment = self._create(number, 0)
            with lock:
                late = used_bytes(self._root) > self._cap_bytes  # the thread that appends grew meanwhile
                # No call between here and there: a finalizer that appends may put a later segment in use.
                late = late or self._over or self._spare is not None
                if late or self.current is None or number < self.current.number:
                    late = True
                else:
                    self._spare = segment
            if late:
                segment.discard()

    def note_refused(self, refused: int) -> None:
        """Leave the count where the drainer, another process, finds it."""
        if self.current is not None:
            with contextlib.suppress(OSError, ValueError):
                self.current.state(WriterState(sealed=False, end=0, refused=refused))

    def close(self, refused: int) -> None:
        """Seal the log, mark it closed, release the lock. Never raises."""
        self._over = True
        _here.discard(self)
        segment, self.current, self.put = self.current, None, _no_segment
        spare, self._spare = self._spare, None
        if segment is not None:
            self._seal(segment, refused)
            segment.close(shrink=True)
        for retired in self._retired:
            retired.close()
        if spare is not None:
            spare.discard()
        if self._lock is not None:
            with contextlib.suppress(OSError):
                (self.folder / CLOSED).touch(mode=0o600)
            self._lock.close()

    def drop(self) -> None:
        """Let go of everything without touching the files: they are the parent's."""
        _here.discard(self)
        for segment in (self.current, self._spare, *self._retired):
            if segment is not None:
                segment.close()
        if self._lock is not None:
            self._lock.close()

    def _next_number(self) -> int:
        self._last_number = number = self._last_number + 1
        return number

    def _settle(self) -> None:
        """Make the folder, or take it up again, where it is not there or not ours."""
        if self.is_whole():
            return
        vanished = self._lock is not None
        self._lock = None
        if self._spare is not None:
            self._spare.discard()
            self._spare = None
        hidden, lock = prepare_home(self._root, info_here(self.writer, self.resource))
        self._lock = lock  # before it is published: a signal handler that appends then finds it, or makes its own
        try:
            self._lock = publish_home(hidden, self.folder, lock)
        except OSError:
            if self._lock is lock or not self.is_whole():
                self._lock = None
                raise
        self.vanished += vanished

    def _take_spare(self, need_bytes: int) -> Segment | None:
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        if spare.size - HEADER_BYTES >= need_bytes:
            return spare
        spare.discard()
        return None

    def _create(self, number: int, need_bytes: int) -> Segment:
        """Return a new segment, smaller than usual where cap or disk leave no more."""
        least = HEADER_BYTES + need_bytes
        usual = self._segment_bytes if self.current is not None else min(self._segment_bytes, FIRST_SEGMENT_BYTES)
        largest = self._within_cap(max(usual, least), max(least, min(usual, LEAST_SEGMENT_BYTES)))
        sizes = sorted({max(least, size) for size in (largest, largest // 8, LEAST_SEGMENT_BYTES) if size <= largest})
        while True:
            size = sizes.pop()
            try:
                segment = create_segment(self.folder / segment_name(number), self.writer, number, size)
            except OSError as error:
                if error.errno not in _NO_SPACE or not sizes:
                    raise
            else:
                break
        if self._fsync:
            sync_folder(self.folder)
        return segment

    def _within_cap(self, wanted: int, least: int) -> int:
        free = self._cap_bytes - used_bytes(self._root)
        if free < wanted:
            free += reclaim(self._root, wanted - free)
        if free < least:
            raise Refused(
                f"the spool {self._root} is at its cap of {self._cap_bytes:,} bytes and nothing in it is delivered yet;"
                " run 'agent-journal drain', or see 'agent-journal doctor' for why the store takes nothing"
            )
        return min(wanted, free)

    def _seal(self, segment: Segment, refused: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            segment.state(WriterState(sealed=True, end=segment.end(), refused=refused))


def _no_segment(frame: bytes) -> None:
    raise ValueError("no segment is open")
