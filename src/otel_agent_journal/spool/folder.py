"""A reader's view of one writer's folder: what is not acknowledged yet, in order, and whether more can come.

Reads with `os.pread` alone, never through a map: a file that somebody truncates must not kill the drainer. Used by
one thread, under the folder's drain lock. Damage is skipped and counted; nothing here raises for what is in a file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from otel_agent_journal.spool.frames import HEADER_BYTES, salt_of
from otel_agent_journal.spool.home import (
    CLOSED,
    WRITER_LOCK,
    FlushAnswer,
    WriterInfo,
    info_of,
    info_written,
    leave_answer,
    remove_home,
    segment_name,
    segment_numbers,
)
from otel_agent_journal.spool.locks import is_held
from otel_agent_journal.spool.processes import process_of, still_runs
from otel_agent_journal.spool.segment_reader import Pending, SegmentReader
from otel_agent_journal.spool.segments import writes_here

_LOOK_AGAIN_S: Final = 0.5  # how often a folder is searched for a later segment while the current one is quiet


class Position(NamedTuple):
    """Just after a record: where reading goes on."""

    segment: int
    offset: int


class SpoolFolder:
    """Read and acknowledge what one writer put into its spool.

    Args:
        path: the writer's folder; its name is the writer's id.

    `alive_ns` is when the writer was last found alive, 0 if it never was; `corrupt` counts damaged places, `refused`
    what the writer had to refuse, as far as it could leave word; `has_more` tells whether the last `read` stopped at
    its limit.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = path.name
        self.alive_ns = 0
        self.corrupt = 0
        self._damaged: list[bytes] = []
        self.refused = 0
        self.has_more = False
        self._salt = salt_of(self.writer)
        self._readers: dict[int, SegmentReader] = {}
        self._current: SegmentReader | None = None
        self._read_last = 0
        self._looked_at = float("-inf")
        self._later = False
        self._dead = False
        self._info: tuple[tuple[int, int] | None, WriterInfo] = (None, WriterInfo(writer=path.name))

    @property
    def info(self) -> WriterInfo:
        """What `writer.json` says of the writer, now; its id alone where that is damaged."""
        written = info_written(self.path)
        if written != self._info[0]:
            self._info = (written, info_of(self.path))
        return self._info[1]

    @property
    def from_newer(self) -> bool:
        """Tell whether a newer version of this package wrote it, which leaves it untouched."""
        return any(reader.newer for reader in self._readers.values())

    def is_closed(self) -> bool:
        """Tell whether the writer ended in order."""
        return (self.path / CLOSED).exists()

    def is_alive(self) -> bool:
        """Tell whether the writer's process still runs. Once dead it stays dead."""
        if self._dead:
            return False
        held = is_held(self.path / WRITER_LOCK)
        alive = held or self._runs(by_id_alone=held is None)
        if alive:
            self.alive_ns = time.time_ns()
        else:
            self._dead = True
        return alive

    def _runs(self, *, by_id_alone: bool) -> bool:
        """Tell whether the process runs, of one that holds no lock: a program may have closed our descriptors."""
        info = self.info
        if writes_here(self.writer):
            return True
        if info.process and info.process == process_of(os.getpid()):  # of this very program, and it has ended
            return False
        runs = still_runs(info.process, info.pid, info.host)
        return runs is not False if by_id_alone else runs is True and not self.is_closed()

    def declare_dead(self) -> None:
        """Take the writer for dead, whatever its lock says: its parent saw it end."""
        self._dead = True

    def read(self, max_bytes: int = 1024 * 1024) -> list[tuple[Position, bytes]]:
        """Return the next whole records not read yet, about `max_bytes` of them; empty where there are none now.

        A fresh object starts at what is acknowledged. `rewind` starts there again.

        Raises:
            OSError: the folder or its next segment cannot be read now.
        """
        records: list[tuple[Position, bytes]] = []
        if not all(reader.is_open for reader in self._readers.values()):  # the program closed our descriptors
            self.rewind()
        try:
            self.has_more = self._read_into(records, max_bytes)
        except OSError:
            if not records:
                raise
            self.has_more = True  # what was read is given first; the next call meets the error again
        if not records:
            self._collect()
        return records

    def _read_into(self, records: list[tuple[Position, bytes]], max_bytes: int) -> bool:
        left = max_bytes
        while left > 0:
            reader = self._reader()
            if reader is None or reader.newer:
                return False
            over = self._is_over(reader)  # asked before reading: what is written afterwards is read next time
            found = reader.read(left, over=over)
            self.corrupt += found.corrupt
            if found.damaged:
                self._damaged.append(found.damaged)
            records.extend((Position(reader.number, end), payload) for end, payload in found.frames)
            left -= found.size
            if not found.frames:
                if not (over and reader.exhausted):
                    return False
                self._read_last, self._current = reader.number, None
        return True

    def take_damaged(self) -> list[bytes]:
        """Return what lay between good records of those read since the last call."""
        taken, self._damaged = self._damaged, []
        return taken

    def rewind(self) -> None:
        """Go back to what is acknowledged, to read the rest again."""
        self._forget()
        self._damaged.clear()
        self._read_last = 0

    def acknowledge(self, position: Position) -> None:
        """Note that everything up to a position is delivered; what is wholly delivered is deleted.

        Survives this process, though not a power loss, after which records are read again.
        """
        for number, reader in self._readers.items():
            if number < position.segment:
                reader.acknowledge(reader.offset)
            elif number == position.segment:
                reader.acknowledge(position.offset)
        self._collect()

    def answer(self, answer: FlushAnswer) -> None:
        """Tell the writer, which waits for a flush, how it stands."""
        leave_answer(self.path, answer)

    @property
    def pending_bytes(self) -> int:
        """How much is not acknowledged yet, at least one byte where that cannot be read.

        Reads the tail: for people, not for loops.
        """
        try:
            return self.pending().size
        except OSError:
            return 1

    def pending(self) -> Pending:
        """Return what is not acknowledged yet; reads the tail. Raises OSError where that cannot be told."""
        found = [self._pending_of(number) for number in segment_numbers(self.path)]
        return Pending(sum(one.records for one in found), sum(one.size for one in found))

    def _pending_of(self, number: int) -> Pending:
        reader = self._readers.get(number)
        if reader is not None:
            return reader.pending()
        fresh = SegmentReader.open(self.path / segment_name(number), number, self._salt)
        if fresh is None:
            return Pending(0, 0)
        try:
            return fresh.pending()
        finally:
            fresh.close()

    @property
    def drained(self) -> bool:
        """Tell whether the writer is gone and all it wrote was read. Raises OSError where that cannot be told."""
        return not self.is_alive() and all(number <= self._read_last for number in segment_numbers(self.path))

    @property
    def finished(self) -> bool:
        """Tell whether it is drained and all of it is acknowledged: the folder can be removed."""
        return self.drained and all(reader.done for reader in self._readers.values())

    def remove(self) -> bool:
        """Delete the folder; its caller holds the drain lock and knows that it is `finished`. Tells whether it went."""
        self.close()
        return remove_home(self.path)

    def close(self) -> None:
        """Let go of all files."""
        self._forget()

    def _forget(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._current = None

    def _reader(self) -> SegmentReader | None:
        if self._current is not None:
            return self._current
        for number in segment_numbers(self.path):
            if number > self._read_last:
                reader = SegmentReader.open(self.path / segment_name(number), number, self._salt)
                if reader is None:  # it vanished, or may not be read
                    continue
                self._readers[number] = self._current = reader
                self._later, self._looked_at = False, float("-inf")
                return reader
        return None

    def _is_over(self, reader: SegmentReader) -> bool:
        state = reader.state()
        self.refused = max(self.refused, state.refused)
        return state.sealed or self._later_holds_frames(reader.number) or not self.is_alive()

    def _later_holds_frames(self, current: int) -> bool:
        now = time.monotonic()
        if not self._later and now - self._looked_at >= _LOOK_AGAIN_S:
            self._looked_at = now
            later = [number for number in segment_numbers(self.path) if number > current]
            self._later = any(_holds_frames(self.path / segment_name(number)) for number in later)
        return self._later

    def _collect(self) -> None:
        for number in [number for number, reader in self._readers.items() if reader.done and number <= self._read_last]:
            self._readers.pop(number).delete()


def _holds_frames(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return any(os.pread(descriptor, 16, HEADER_BYTES))
    except OSError:
        return False
    finally:
        os.close(descriptor)
