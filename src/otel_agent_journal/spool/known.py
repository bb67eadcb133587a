"""The spools of this user on this machine: a note of each where it was made, so that `doctor` finds what waits there.

A spool lies where an agent ran, or beside its journal, and is found by whoever names the same store in the same place.
Notes are kept in `$XDG_STATE_HOME/agent-journal/spools`, by default below `~/.local/state`. They are for people alone:
nothing depends on them, and no failure to write or read one is anybody's concern.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

MAX_NOTES: Final = 1000  # beyond it nothing is noted before `doctor` has thrown away those of spools that are gone


def remember(root: Path) -> None:
    """Note that there is a spool. Never raises."""
    try:
        place, path = _notes(), os.fsencode(root.absolute())
        note = place / blake2b(path, digest_size=8).hexdigest()
        if note.exists():
            return
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(os.listdir(place)) < MAX_NOTES:
            descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, path)
            finally:
                os.close(descriptor)
    except (OSError, RuntimeError, ValueError):  # no home, or no right to write there
        return


def others(root: Path) -> list[Path]:
    """Return other spools that were noted, or lie beside this one, and are there still. Never raises."""
    here = root.absolute()
    found = {path: None for path in (*_noted(), *_beside(here)) if path != here}
    return sorted(found)


def _noted() -> Iterator[Path]:
    try:
        notes = list(_notes().iterdir())
    except (OSError, RuntimeError):
        return
    for note in notes:
        with contextlib.suppress(OSError, ValueError):  # another `doctor` has just thrown it away, or it is no note
            path = Path(os.fsdecode(note.read_bytes()))
            if path.is_dir():
                yield path
            else:
                note.unlink(missing_ok=True)


def _beside(here: Path) -> Iterator[Path]:
    try:
        yield from (
            path
            for path in here.parent.iterdir()
            if (path.name.startswith("spool") or path.name.endswith(".spool")) and path.is_dir()
        )
    except OSError:
        return


def _notes() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "agent-journal" / "spools"
