"""How much disk a spool may take: its size, and what can go first, which is what is acknowledged already.

The bound is for the root, over all processes; two of them that grow in one instant may pass it by a segment each.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from otel_agent_journal.spool.frames import HEADER_BYTES, acknowledged_of, writer_state_of
from otel_agent_journal.spool.home import HIDDEN, SEGMENT_SUFFIX


def used_bytes(root: Path) -> int:
    """Return what all segments under the root take, preallocated space included."""
    return sum(size for _, size, _ in _segments(root))


def reclaim(root: Path, wanted_bytes: int) -> int:
    """Delete the oldest fully acknowledged segments until so much is free; return what was freed."""
    freed = 0
    for _, size, path in sorted(_segments(root)):
        if freed >= wanted_bytes:
            break
        if _is_done(path):
            with contextlib.suppress(OSError):
                os.unlink(path)
                freed += size
    return freed


def header_page(path: str | Path) -> bytes:
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


def _is_done(path: str) -> bool:
    page = header_page(path)
    state = writer_state_of(page)
    return state.sealed and acknowledged_of(page) >= state.end


def _segments(root: Path) -> list[tuple[float, int, str]]:
    """Return age, size and path of every segment under the root; what vanishes meanwhile is not there."""
    found: list[tuple[float, int, str]] = []
    for folder in _entries(root):
        if folder.name.startswith(HIDDEN) or not folder.is_dir(follow_symlinks=False):
            continue
        for entry in _entries(folder.path):
            if entry.name.endswith(SEGMENT_SUFFIX):
                with contextlib.suppress(OSError):
                    stat = entry.stat()
                    found.append((stat.st_mtime, stat.st_size, entry.path))
    return found


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
