"""What was delivered of each session from this machine, so that its next process does not journal it again.

A file a session beside the writers' folders, a line for each time that something was delivered; and a secret of the
installation. It is a cache: whatever is missing, unreadable, too long or a day old costs that a history is journaled
once more, and nothing here raises or waits. The drain writes it, agents read it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec

from otel_agent_journal.projections.request import Kept

KEPT: Final = ".kept"  # hidden, so that it is nobody's folder
MAX_FILE_BYTES: Final = 1024 * 1024  # of one session: some ten thousand messages
MAX_FILES: Final = 2_000
BELIEVED_S: Final = 24 * 3600.0  # what rested for longer may have been pruned, by whom we do not hear of
_KEY: Final = "key"
_KEY_BYTES: Final = 32
_LOOK_EACH: Final = 256  # files made: then it is looked whether there are too many
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Kept).decode


class KeptFiles:
    """The files below a spool's root. Safe from any thread and any process.

    Args:
        root: of the spool.
        store: the URL of the store; what went to a database file that is not there any more counts no longer.
    """

    def __init__(self, root: Path, store: str = "") -> None:
        self._folder = os.path.join(root, KEPT)
        self._made = 0
        scheme, _, path = store.partition("?")[0].partition(":///")
        self._database = unquote(path) if scheme == "sqlite" else ""
        self._key: bytes | None = None

    def key(self) -> bytes:
        """Return the installation's secret; where there is none and none can be made, one of this process alone."""
        if self._key is None:
            self._key = self._shared_key() or os.urandom(_KEY_BYTES)
        return self._key

    def read(self, session_id: str) -> Iterator[Kept]:
        """Yield what was delivered of a session, if the store that it went to is there still."""
        with contextlib.suppress(OSError, ValueError):
            path = self._path(session_id)
            about = os.stat(path)
            if about.st_size > MAX_FILE_BYTES or not 0 <= time.time() - about.st_mtime + 1 <= BELIEVED_S:
                os.unlink(path)
                return
            with open(path, "rb") as file:
                place, *lines = file.read().split(b"\n")
            if place.decode("utf-8", "replace") != self._place():
                os.unlink(path)
                return
            for line in filter(None, lines):
                with contextlib.suppress(msgspec.DecodeError):
                    yield _decode(line)

    def add(self, session_id: str, kept: Kept) -> None:
        """Note what was delivered of a session."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            path, line = self._path(session_id), _encode(kept) + b"\n"
            try:
                _append(path, line)
            except FileNotFoundError:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                self._make_room()
                _append(path, f"{self._place()}\n".encode() + line, os.O_CREAT)

    def forget(self, session_id: str | None = None) -> None:
        """Forget a session, or all: they were deleted from the store."""
        with contextlib.suppress(OSError, ValueError):
            if session_id is not None:
                os.unlink(self._path(session_id))
                return
            for name in os.listdir(self._folder):
                if not name.startswith(_KEY):
                    os.unlink(os.path.join(self._folder, name))

    def _place(self) -> str:
        """Return what tells a database file from another one under its name."""
        if not self._database:
            return ""
        found = os.stat(self._database)
        return f"{found.st_dev}:{found.st_ino}"

    def _path(self, session_id: str) -> str:
        name = blake2b(session_id.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()
        return os.path.join(self._folder, name)

    def _make_room(self) -> None:
        """Remove the half of the files that were not added to for longest, where there are too many."""
        self._made += 1
        if self._made % _LOOK_EACH != 1:
            return
        with os.scandir(self._folder) as entries:
            found = [entry for entry in entries if entry.name != _KEY]
        if len(found) < MAX_FILES:
            return
        ages: list[tuple[float, str]] = []
        for entry in found:
            with contextlib.suppress(OSError):  # another process has just removed it
                ages.append((entry.stat().st_mtime, entry.path))
        for _, path in sorted(ages)[: MAX_FILES // 2]:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _shared_key(self) -> bytes | None:
        path = os.path.join(self._folder, _KEY)
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            if not os.path.exists(path):
                made = f"{path}.{os.getpid()}"
                _append(made, os.urandom(_KEY_BYTES), os.O_CREAT | os.O_TRUNC)
                try:
                    with contextlib.suppress(FileExistsError):
                        os.link(made, path)  # whole or not at all, and the first one stays
                finally:
                    os.unlink(made)
            with open(path, "rb") as file:
                key = file.read()
            return key if len(key) == _KEY_BYTES else None
        return None


def _append(path: str, data: bytes, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | flags, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
