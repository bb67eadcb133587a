"""The parts of a day as one: what many exports have left in small files, in as few as there can be.

A part has the sessions that began on one day. Their files of each table and day become one, in order; the store is not
asked. What was there goes in the same move in which the new files come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from otel_agent_journal.lake.files import OldFile, PartWriter
from otel_agent_journal.lake.manifest import Entry, File, Lake, Move, Part


class Compacted(NamedTuple):
    """What a compaction did: parts that became one, sessions in it, files before and after, and bytes of these."""

    parts: int
    sessions: int
    files_before: int
    files: int
    size_bytes: int


def compact(
    lake: Lake, day: str, progress: Callable[[int, int], object] = lambda _done, _total: None
) -> Compacted | None:
    """Make one part of those of a day; None: there is nothing to gain.

    One with a session that another one has, too, as it was deleted in the store and begun anew, stays apart.

    Args:
        lake: which is there.
        day: as its partitions are named, UTC.
        progress: called with how many rows were written, and of how many.

    Raises:
        LakeError: the lake cannot be read or written; what was there stays.
    """
    lake.recover()
    entries: dict[str, Entry] = {}
    parts: list[Part] = []
    for part in lake.parts():
        if part.day == day and entries.keys().isdisjoint(one.session_id for one in part.sessions):
            parts.append(part)
            entries |= {one.session_id: one for one in part.sessions}
    if len(parts) < 2:
        return None
    name = parts[0].name
    files = _merged(lake, name, parts, len(entries), progress)
    paths = {file.path(name) for file in files}
    old = [file.path(part.name) for part in parts for file in part.files]
    sessions = tuple(entries[one] for one in sorted(entries))
    gone = tuple(path for path in old if path not in paths)
    move = Move(files, gone, tuple(part.name for part in parts[1:]))
    lake.commit(Part(name=name, day=day, files=files, sessions=sessions, move=move))
    return Compacted(len(parts), len(sessions), len(old), len(files), sum(file.size_bytes for file in files))


def _merged(
    lake: Lake, name: str, parts: Sequence[Part], sessions: int, progress: Callable[[int, int], object]
) -> tuple[File, ...]:
    """Write the files of parts as those of one, session by session in order, and return them."""
    writer, done, total = PartWriter(lake.place, name, sessions), 0, sum(part.rows for part in parts)
    tables = sorted({(file.table, file.day) for part in parts for file in part.files})
    for table, day in tables:
        of_day = ((file, part.name) for part in parts for file in part.files if (file.table, file.day) == (table, day))
        files = [OldFile(lake.place, table, file.path(part)) for file, part in of_day]
        while True:
            left = sorted((one.next_session, at) for at, one in enumerate(files) if one.next_session is not None)
            if not left:
                break
            behind = left[1][0] if len(left) > 1 else None  # no two have rows of one session
            for batch in files[left[0][1]].before(behind):
                writer.add(table, batch)
                done += batch.num_rows
                progress(done, total)
    return writer.close()
