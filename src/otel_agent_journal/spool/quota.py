"""How much disk a spool may take: its size, and what can go first, which is what is acknowledged already.

The bound is for the root, over all processes. Two that grow in the same instant may pass it by a segment each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from otel_agent_journal.spool.frames import HEADER_BYTES, acknowledged_of, writer_state_of
from otel_agent_journal.spool.home import SEGMENT_SUFFIX


def used_bytes(root: Path) -> int:
    """Return what all segments under the root take, preallocated space included."""
    total = 0
    for path in _segments(root):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def reclaim(root: Path, wanted_bytes: int) -> int:
    """Delete the oldest fully acknowledged segments until so much is free; return what was freed."""
    freed = 0
    for path in sorted(_segments(root), key=_age):
        if freed >= wanted_bytes:
            break
        with contextlib.suppress(OSError):
            if _is_done(path):
                size = path.stat().st_size
                path.unlink()
                freed += size
    return freed


def header_page(path: Path) -> bytes:
    """Return a segment's header page, or less where the file is shorter or gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, HEADER_BYTES, 0)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _is_done(path: Path) -> bool:
    page = header_page(path)
    state = writer_state_of(page)
    return state.sealed and acknowledged_of(page) >= state.end


def _segments(root: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for folder in os.scandir(root):
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder.path) if folder.is_dir(follow_symlinks=False) else ():
                    if entry.name.endswith(SEGMENT_SUFFIX):
                        yield Path(entry.path)


def _age(path: Path) -> tuple[float, str]:
    try:
        return (path.stat().st_mtime, path.name)
    except OSError:
        return (0.0, path.name)
