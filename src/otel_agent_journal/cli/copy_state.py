"""How far a copy has come, kept in a file so that the next one goes on from there: after Ctrl-C, after `kill -9`.

A line is added for each page once it is in the target, so that what a line says is always true; a line torn by a
crash is cut off, and its page copied again, which changes nothing. The key of the last event tells whether the stores
are still those of which it speaks. One copy at a time holds the file.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.places import make_folder
from otel_agent_journal.spool.locks import FileLock

_FAILED: Final = 1

Key = tuple[str, int, str]


class _Line(msgspec.Struct, omit_defaults=True):
    cursor: str | None = None
    events: int = 0
    blobs: int = 0
    sessions: tuple[str, ...] = ()
    last: Key | None = None
    source: str | None = None  # in the first line only, for whoever looks into the file
    target: str | None = None


class CopyState:
    """The state of copying one store into another.

    `cursor` is None where nothing was copied yet; `last` is the key of the last event that was.
    """

    def __init__(self, folder: Path, source: str, target: str) -> None:
        name = blake2b(f"{source}\n{target}".encode(), digest_size=12).hexdigest()
        self.path = folder / f"{name}.jsonl"
        self.cursor: str | None = None
        self.events = 0
        self.blobs = 0
        self.last: Key | None = None
        self.sessions: set[str] = set()
        make_folder(folder)
        lock = FileLock.take(self.path)
        if lock is None:
            raise CliError(f"{source} is being copied to {target} by another process; let it end", _FAILED)
        self._lock = lock
        self._first = msgspec.json.encode(_Line(source=source, target=target))
        self._load()

    def add(self, cursor: str, events: int, blobs: int, sessions: frozenset[str], last: Key | None = None) -> None:
        """Keep that everything up to a cursor is in the target."""
        new = sessions - self.sessions
        self.cursor = cursor
        self.events += events
        self.blobs += blobs
        self.last = last or self.last
        self.sessions |= new
        line = _Line(cursor=cursor, events=events, blobs=blobs, sessions=tuple(sorted(new)), last=last)
        self._write(msgspec.json.encode(line))

    def start_over(self) -> None:
        """Forget the cursor, for the stores are not those any more of which it speaks."""
        os.ftruncate(self._lock.descriptor, 0)
        self.cursor, self.last, self.events, self.blobs = None, None, 0, 0
        self.sessions.clear()
        self._write(self._first)

    def finish(self) -> None:
        """Remove the file: the next copy begins at the beginning, and finds most of it there."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave the file for the next copy. May be called twice."""
        self._lock.close()

    def _load(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = [msgspec.json.decode(line, type=_Line) for line in whole.splitlines()]
        except msgspec.DecodeError:  # not ours, or damaged: what was copied is copied again
            lines = []
        if not lines:
            self.start_over()
            return
        for line in lines[1:]:
            self.cursor = line.cursor
            self.events += line.events
            self.blobs += line.blobs
            self.last = line.last or self.last
            self.sessions.update(line.sessions)
        os.ftruncate(self._lock.descriptor, len(whole))

    def _write(self, line: bytes) -> None:
        os.lseek(self._lock.descriptor, 0, os.SEEK_END)
        os.write(self._lock.descriptor, line + b"\n")
