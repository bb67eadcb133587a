"""The agent's end of the spool: `SpoolWriter.append`, safe from kill -9 when it returns, and never in the agent's way.

An append is one memory copy into a mapped segment, under a lock that the same thread may take again: a signal handler
or a finalizer appends before or after it, never within. Everything that takes longer (folders, new segments, what to
do when there is no space) is in `_append_slowly`. Of events, stores and draining this module knows nothing.
"""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4
from zlib import crc32

from otel_agent_journal import forks
from otel_agent_journal.descriptors import put_back_all
from otel_agent_journal.spool.frames import CRC_CHUNK_BYTES, FRAME, FRAME_MAGIC, checksum, salt_of
from otel_agent_journal.spool.group_commit import GroupCommit
from otel_agent_journal.spool.home import DRAIN_LOCK, describe
from otel_agent_journal.spool.locks import is_held, is_held_here
from otel_agent_journal.spool.segments import LEAST_SEGMENT_BYTES, Refused, SegmentSequence, TooDeep
from otel_agent_journal.threads import RLock, Thread

_log = logging.getLogger("otel_agent_journal.spool")
_pack: Final = FRAME.pack

DEFAULT_SEGMENT_BYTES: Final = 8 * 1024 * 1024
DEFAULT_CAP_BYTES: Final = 1024 * 1024 * 1024
SAY_EVERY_S: Final = 60.0
RETRY_EVERY_S: Final = 1.0  # after a refusal, how often space and permissions are tried again
_ELSEWHERE: Final = "set AGENT_JOURNAL_SPOOL to a folder that can be written, in AWS Lambda one below /tmp"
_ATTEMPTS: Final = 8  # threads and signal handlers may fill a fresh segment before we get to it


class SpoolWriter:
    """Append records to this process's folder of a spool.

    Thread-safe; re-entrant from signal handlers and finalizers; a forked child goes on under a new `writer`, in a
    folder of its own. The folder is made by the first append. Nothing here raises, but a KeyboardInterrupt or the
    like that hits while it runs passes, and leaves the log readable.

    Args:
        root: the spool, shared by all processes of a journal; made where missing.
        writer: 32 hex digits, one for each process start.
        segment_bytes: size of a segment file; the first of a process is at most 1 MiB.
        cap_bytes: what all segments under `root` may take.
        fsync: return from `append` only when the record survives a power loss; threads share one sync.
        resource: OTel resource attributes, for whoever drains.
        retry_s: after a refusal, seconds until space is looked for again.
    """

    def __init__(
        self,
        root: Path,
        *,
        writer: str,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        cap_bytes: int = DEFAULT_CAP_BYTES,
        fsync: bool = False,
        resource: Mapping[str, Any] | None = None,
        retry_s: float = RETRY_EVERY_S,
    ) -> None:
        self.root = Path(root)
        self.appended = 0
        self.refused = 0
        self.forks = 0
        self.last_refusal: str | None = None
        self._segments = SegmentSequence(self.root, segment_bytes, cap_bytes, resource or {}, fsync=fsync)
        self._commit = GroupCommit() if fsync else None
        self._retry_s = retry_s
        self._begin(writer)
        forks.join(self, forks.Place.SPOOL)

    def _begin(self, writer: str) -> None:
        self.writer = writer
        self.folder = self.root / writer
        self._salt = salt_of(writer)
        self._lock = RLock()
        self._segments.begin(writer)
        self._room = 0
        self._low = -1  # when so little room is left, the next segment is made ready; -1: it is being made
        self._closed = False
        self._retry_at = 0.0
        self._say_at = 0.0

    @property
    def vanished(self) -> int:
        """How often the folder was gone and had to be made again."""
        return self._segments.vanished

    def append(self, payload: bytes) -> bool:
        """Append one record; return whether it is safe from the death of this process (with `fsync`, of the machine).

        False: it was refused, and counted; `last_refusal` says why.
        """
        try:
            length = len(payload)
            crc = crc32(payload, self._salt) if length <= CRC_CHUNK_BYTES else checksum(payload, self._salt)
            frame = _pack(FRAME_MAGIC, length, crc) + payload
            try:
                with self._lock:
                    self._segments.put(frame)
                    self.appended += 1
                    self._room = room = self._room - length
            except (ValueError, OSError):
                return self._append_slowly(frame)
            if room < self._low:
                self._prepare_next()
            return True if self._commit is None else self._synced()
        except Exception as error:  # noqa: BLE001 - nothing here is ever raised into the agent
            return self._refuse(f"{type(error).__name__}: {error}")

    def describe(self, resource: Mapping[str, Any]) -> None:
        """Say from here on what this process's OTel resource is. Never raises."""
        self._segments.resource = resource
        try:
            describe(self.folder, resource)
        except Exception:  # noqa: BLE001 - nothing here is ever raised into the agent
            _log.debug("folder=<%s> | its resource could not be said", self.folder, exc_info=True)

    def drained_by_other(self) -> bool:
        """Tell whether another process drains this writer's folder now."""
        lock = self.folder / DRAIN_LOCK
        return is_held(lock) is True and not is_held_here(lock)

    def look_after(self) -> None:
        """Go on with a new segment, lock or folder where the program, or a person, took ours. Cheap; never raises.

        What is in hand and not delivered moves to where it is safe. Said in the log.
        """
        lost, problem = False, None
        try:
            with self._lock:
                lost = not self._closed and self._segments.current is not None and not self._segments.is_whole()
                if lost:
                    put_back_all()
                    problem = self._rotate(0)
        except Exception as error:  # noqa: BLE001 - as for an append
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            self._refuse(
                f"{self.folder} was removed, or is no longer ours to write, and cannot be made anew: {problem}"
            )
        elif lost:
            _log.warning(
                "writer=<%s> | spool folder, lock or descriptors were taken away; the writer goes on anew", self.writer
            )

    def is_stranded(self) -> bool:
        """Tell whether what is in hand is in a file that somebody deleted undelivered: `look_after` moves it."""
        with self._lock:
            return self._segments.is_stranded()

    def close(self) -> None:
        """Seal the log and say that this writer ended in order. Idempotent; appends after it are refused."""
        if self.is_stranded():
            self.look_after()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._segments.close(self.refused)
        forks.leave(self)

    def after_fork(self) -> None:
        """Go on, in a forked child, as a writer of its own; everything inherited stays with the parent."""
        closed = self._closed
        self._segments.drop()
        self.appended = self.refused = 0
        self.forks += 1
        if self._commit is not None:
            self._commit = GroupCommit()
        self._begin(uuid4().hex)
        self._closed = closed

    def _append_slowly(self, frame: bytes) -> bool:
        with self._lock:
            problem = self._find_room(frame)
        if problem is not None:
            return self._refuse(problem)
        return True if self._commit is None else self._synced()

    def _find_room(self, frame: bytes) -> str | None:
        problem: str | None = None
        for _ in range(_ATTEMPTS):
            try:
                self._segments.put(frame)
            except OSError as error:
                return _reason(error)
            except ValueError:
                problem = self._rotate(len(frame))
                if problem is not None:
                    return problem
            else:
                self.appended += 1
                return None
        return "segments fill faster than they are made"

    def _rotate(self, need_bytes: int) -> str | None:
        if self._closed:
            return "the writer is closed"
        if time.monotonic() < self._retry_at:
            return self.last_refusal or "refused a moment ago"
        try:
            self._segments.advance(need_bytes, self.refused)
        except (Refused, OSError) as error:
            # A record so large, or so deep in signal handlers, may be the only one that finds no room.
            if need_bytes < LEAST_SEGMENT_BYTES and not isinstance(error, TooDeep):
                self._retry_at = time.monotonic() + self._retry_s
            return _reason(error)
        segment = self._segments.in_use()
        self._room = segment.size - segment.end()
        self._low = self._room // 4
        return None

    def _prepare_next(self) -> None:
        with self._lock:
            if self._low < 0:
                return
            self._low = -1
        try:
            Thread(functools.partial(self._segments.prepare, self._lock))
        except RuntimeError:  # the interpreter is shutting down: the next segment is made when it is needed
            return

    def _synced(self) -> bool:
        try:
            if self._commit is not None:
                self._commit.sync(self._segments.in_use)
        except OSError as error:
            return self._refuse(_reason(error))
        return True

    def _refuse(self, reason: str) -> bool:
        """Count it and say it; outside our lock, since a logging handler has locks of its own."""
        with self._lock:
            self.refused += 1
            self.last_refusal = reason
            self._segments.note_refused(self.refused)
            now = time.monotonic()
            silent = now < self._say_at or self._closed  # what comes after the end is counted, not complained of
            if not silent:
                self._say_at = now + SAY_EVERY_S
        if not silent:
            _log.warning(
                "writer=<%s>, refused=<%d>, reason=<%s> | spool refuses events; the agent goes on",
                self.writer,
                self.refused,
                reason,
            )
        return False


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    said = f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)
    return f"{said}; {_ELSEWHERE}" if error.errno in (errno.EROFS, errno.EACCES) else said
