"""What a spool holds right now, for people and for `doctor`, `sweep` and readers that judge liveness. Read-only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from otel_agent_journal.spool import set_aside
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.frames import writer_state_of
from otel_agent_journal.spool.home import DRAIN_LOCK, is_home, is_remnant, segment_name, segment_numbers
from otel_agent_journal.spool.locks import is_held
from otel_agent_journal.spool.quota import header_page


class FolderSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """One writer's folder. `refused` is what the writer had to turn away, as far as it could leave word."""

    writer: str
    path: Path
    pid: int
    host: str
    argv0: str
    alive: bool
    closed: bool
    drained_now: bool
    pending_bytes: int
    disk_bytes: int
    refused: int

    @property
    def waits(self) -> bool:
        """Tell whether events of this writer may still come: its silence in the store proves nothing."""
        return self.alive or self.pending_bytes > 0

    @property
    def is_left(self) -> bool:
        """Tell whether its writer is gone, and nobody is taking in what it left."""
        return not self.alive and not self.drained_now

    @property
    def is_taken_in(self) -> bool:
        """Tell whether its writer is gone, and somebody is just taking in what it left."""
        return not self.alive and self.drained_now and self.pending_bytes > 0


class SpoolSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """A whole spool."""

    root: Path
    folders: tuple[FolderSurvey, ...]
    set_aside: int

    @property
    def pending_bytes(self) -> int:
        """How much is not delivered yet."""
        return sum(folder.pending_bytes for folder in self.folders)

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk."""
        return sum(folder.disk_bytes for folder in self.folders)

    @property
    def refused(self) -> int:
        """How many events writers that are still known had to turn away."""
        return sum(folder.refused for folder in self.folders)

    @property
    def waiting_writers(self) -> frozenset[str]:
        """Writers of which more may come."""
        return frozenset(folder.writer for folder in self.folders if folder.waits)


def writer_folders(root: Path) -> list[Path]:
    """Return the writers' folders under a spool's root; none where there is no spool."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    return [path for name in names if is_home(path := root / name)]


def survey(root: Path) -> SpoolSurvey:
    """Return what is in a spool now, without what goes meanwhile. An absent spool is an empty one."""
    return SpoolSurvey(
        root=root,
        folders=tuple(folder for path in writer_folders(root) if (folder := _folder(path)) is not None),
        set_aside=set_aside.count(root),
    )


def pending_bytes(root: Path) -> int:
    """Return how much under this root is not delivered yet."""
    return sum(SpoolFolder(path).pending_bytes for path in writer_folders(root))


def pending_records(folder: Path) -> int | None:
    """Return how many records of one writer are not delivered yet; None where that cannot be told."""
    try:
        return SpoolFolder(folder).pending().records
    except OSError:
        return None


def _folder(path: Path) -> FolderSurvey | None:
    """Look at a folder; None where it is gone by now: a drainer may remove it, file by file, at any line here."""
    folder, disk, refused = SpoolFolder(path), 0, 0
    for number in segment_numbers(path):
        segment = path / segment_name(number)
        refused = max(refused, writer_state_of(header_page(segment)).refused)
        with contextlib.suppress(FileNotFoundError):
            disk += segment.stat().st_size
    info = folder.info
    found = FolderSurvey(
        writer=folder.writer,
        path=path,
        pid=info.pid,
        host=info.host,
        argv0=info.argv0,
        alive=folder.is_alive(),
        closed=folder.is_closed(),
        drained_now=is_held(path / DRAIN_LOCK) is True,
        pending_bytes=folder.pending_bytes,
        disk_bytes=disk,
        refused=refused,
    )
    return None if is_remnant(path) else found
