"""Which folders of a spool this drainer looks after: taken under their drain lock, one drainer at a time.

A live writer's folder is taken by whoever comes first; a dead one's too, to be finished. What cannot be finished (no
permission to delete, or written by a newer version) is left alone for good by this process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import DRAIN_LOCK, is_remnant, remove_abandoned, remove_home
from otel_agent_journal.spool.locks import FileLock
from otel_agent_journal.spool.survey import pending_records, writer_folders

_log = logging.getLogger("otel_agent_journal.spool")

_LOOK_FIRST_S: Final = 0.001
_LOOK_EVERY_S: Final = 0.02


def wait_delivered(folder: Path, deadline: float, is_done: Callable[[], bool] = lambda: False) -> int | None:
    """Wait until whoever drains a writer's folder has delivered it; return how many records are pending then.

    Args:
        folder: the writer's.
        deadline: by the monotonic clock.
        is_done: tells that all is delivered that is waited for, though more may have come since.
    """
    pause_s = _LOOK_FIRST_S
    while True:
        pending = 0 if is_done() else pending_records(folder)
        left = deadline - time.monotonic()
        if pending == 0 or left <= 0:
            return pending
        time.sleep(min(pause_s, left))
        pause_s = min(2 * pause_s, _LOOK_EVERY_S)


class Adoption:
    """The folders in hand. Used by one thread at a time, but for `wait_for_other`.

    Args:
        root: the spool.
        only_writer: of live writers, take this one alone.
        adopt_dead: take the folders of dead writers too.
    """

    def __init__(self, root: Path, *, only_writer: str | None, adopt_dead: bool) -> None:
        self._root = root
        self._only_writer = only_writer
        self._adopt_dead = adopt_dead
        self._held: dict[str, tuple[SpoolFolder, FileLock]] = {}
        self._left_alone: set[str] = set()
        self._corrupt = 0
        self._refused: dict[str, int] = {}
        self._tidied = False
        self.held_by_others = 0

    def __iter__(self) -> Iterator[SpoolFolder]:
        return iter([folder for folder, _ in list(self._held.values())])  # others may ask for figures meanwhile

    @property
    def corrupt(self) -> int:
        """Damaged places met so far."""
        return self._corrupt + sum(folder.corrupt for folder in self)

    @property
    def refused(self) -> int:
        """What the writers met so far had to refuse."""
        known = self._refused | {folder.writer: folder.refused for folder in self}
        return sum(known.values())

    def look(self, dead: frozenset[str] = frozenset()) -> None:
        """Take every folder that is free and ours to take. `dead`: writers known to be, whatever their lock says."""
        held_by_others = 0
        if self._adopt_dead and not self._tidied:
            self._tidied = True
            remove_abandoned(self._root, time.time())
        for folder, lock in list(self._held.values()):
            if not lock.holds and folder.path.exists():  # the program closed our descriptors: all of it is taken anew
                self.release(folder)
        for path in writer_folders(self._root):
            if path.name in self._left_alone or path.name in self._held:
                continue
            folder = SpoolFolder(path)
            if path.name in dead:
                folder.declare_dead()
            if self._is_ours(folder) and not self._take(folder):
                held_by_others += 1
        self.held_by_others = held_by_others

    def get(self, writer: str) -> SpoolFolder | None:
        """Return the folder of a writer, if it is in hand."""
        held = self._held.get(writer)
        return held[0] if held else None

    def holds(self, folder: SpoolFolder) -> bool:
        """Tell whether a folder in hand is still the one that was taken: nobody deleted it since."""
        return self._held[folder.writer][1].holds

    def release(self, folder: SpoolFolder, *, leave_alone: bool = False) -> None:
        """Let go of a folder; with `leave_alone`, never take it again."""
        _, lock = self._held.pop(folder.writer)
        self._corrupt += folder.corrupt
        self._refused[folder.writer] = folder.refused
        folder.close()
        lock.close()
        if leave_alone:
            self._left_alone.add(folder.writer)

    def let_go(self) -> None:
        """Release everything: another drainer may go on."""
        for folder in self:
            self.release(folder)

    def wait_for_other(self, deadline: float) -> int | None:
        """Wait until whoever else drains our one writer's folder has delivered it; return what is pending then."""
        writer = self._only_writer
        return 0 if writer is None or writer in self._held else wait_delivered(self._root / writer, deadline)

    def _is_ours(self, folder: SpoolFolder) -> bool:
        if folder.writer == self._only_writer:
            return True
        alive = folder.is_alive()
        return self._adopt_dead if not alive else self._only_writer is None

    def _take(self, folder: SpoolFolder) -> bool:
        try:
            lock = FileLock.take(folder.path / DRAIN_LOCK)
        except OSError as error:
            if folder.path.exists():
                self._left_alone.add(folder.writer)
                _log.warning("writer=<%s>, error=<%s> | spool folder cannot be drained", folder.writer, error)
            return True
        if lock is None:
            return False
        if is_remnant(folder.path):  # another drainer is just removing it, or died while it did
            remove_home(folder.path)
            lock.close()
            return True
        self._held[folder.writer] = (folder, lock)
        return True
