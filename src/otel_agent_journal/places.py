"""Where a journal lies by itself: the folder `.agent-journal`, found from below it, and made for its owner alone.

Who writes and who reads look for it in the same way, as git looks for `.git` (docs/adr/0044). What a journal holds are
prompts and answers: nothing that is made here can be read by others, whatever the umask, and the folder keeps itself
out of git. What somebody made before us stays as it is. Knows nothing of stores and spools.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

HOME: Final = ".agent-journal"

_FOLDER: Final = 0o700
_FILE: Final = 0o600
_IGNORE: Final = "# Prompts and answers are no part of a repository.\n*\n"


def found_from(start: Path) -> Path:
    """Return the journal's folder: the one in `start`, else the nearest above, else that which `start` would have.

    `start` is absolute. Above it count the folders of its project: up to the root of the checkout (with `.git`), and
    none that is the home folder, the root, on another file system, or may be written to by anybody; in these only a
    journal's folder that this user owns.
    """
    own = start / HOME
    if own.is_dir():
        return own
    with suppress(OSError):
        return next((folder / HOME for folder in _above(start) if _is_ours(folder / HOME)), own)
    return own


def file_from(start: Path, name: str) -> Path | None:
    """Return the file of this name in `start`, else the nearest above, looked for as the journal's folder is; or None.

    Above `start` only one counts that this user owns.
    """
    if (start / name).is_file():
        return start / name
    with suppress(OSError):
        found = (folder / name for folder in _above(start))
        return next((file for file in found if file.is_file() and file.stat().st_uid == os.geteuid()), None)
    return None


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone; what is there stays as it is.

    Raises:
        OSError: it cannot be made, or is no folder.
    """
    if path.is_dir():
        return
    if path.parent.exists() and not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode=_FOLDER)
    except FileExistsError:
        if not path.is_dir():  # else another process was first
            raise
        return
    if path.name == HOME:
        with suppress(OSError):
            make_file(path / ".gitignore")
            (path / ".gitignore").write_text(_IGNORE)


def make_file(path: Path) -> None:
    """Make an empty file for its owner alone; one that is there stays as it is. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE))


def _above(start: Path) -> Iterator[Path]:
    device, home = start.stat().st_dev, Path(os.path.realpath(os.path.expanduser("~")))  # noqa: PTH111 - never raises
    below = start
    for folder in start.parents:
        if below == home or (below / ".git").exists():
            return
        status = folder.stat()
        if folder in (home, folder.parent) or status.st_dev != device or status.st_mode & stat.S_IWOTH:
            return
        yield folder
        below = folder


def _is_ours(path: Path) -> bool:
    return path.is_dir() and path.stat().st_uid == os.geteuid()
