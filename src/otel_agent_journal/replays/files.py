"""A recording as one file to commit: the session's JSON lines, without what differs from machine to machine.

The same session gives the same file. `agent-journal import` takes it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import decode_line, encode_line
from otel_agent_journal.errors import CodecError, ConfigError
from otel_agent_journal.event import PROCESS, JournalEvent
from otel_agent_journal.reading.written_out import Import, lines_of
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore

_KEPT: Final = ("entry_point", "packages", "python", "commit")  # of what a process says of itself
_BLOB: Final = b'"blob"'

Changed = Callable[[JournalEvent], JournalEvent]


def recording_lines(store: JournalStore, session_id: str, changed: Changed = lambda event: event) -> Iterator[bytes]:
    """Yield the lines of a recording, without line ends.

    Args:
        store: where the session is.
        session_id: the session.
        changed: what an event is before it is written, as a redactor makes it.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    for line in lines_of(store, session_id):
        if _BLOB in line[:16]:
            yield line
            continue
        event = changed(decode_line(line))
        process: Any = event.details.get(PROCESS)
        if isinstance(process, Mapping):
            told = cast("Mapping[str, Any]", process)
            kept = {name: told[name] for name in _KEPT if name in told}
            event = msgspec.structs.replace(event, details={**event.details, PROCESS: kept})
        yield encode_line(msgspec.structs.replace(event, digest=None))


def write_recording(store: JournalStore, session_id: str, file: Path, changed: Changed = lambda event: event) -> int:
    """Write a recording, and return how many bytes it has; a file that is there is replaced by a whole one alone.

    Raises:
        OSError: it cannot be written.
        StoreUnreachable: and other errors of the store.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("wb") as out:
            for line in recording_lines(store, session_id, changed):
                out.write(line + b"\n")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def read_recording(file: Path) -> tuple[MemoryStore, str]:
    """Return a store in memory that has a recording, and the session.

    Raises:
        ConfigError: it is none.
        OSError: it cannot be read.
    """
    store = MemoryStore()
    wrong: list[str] = []
    taking = Import(store, insist=lambda call: call(), told=lambda number, why: wrong.append(f"line {number}: {why}"))
    with file.open("rb") as lines:
        for _ in taking.take(lines):
            pass
    if wrong:
        raise ConfigError(
            f"{file} is no recording: {wrong[0]}; agent-journal export SESSION --recording FILE writes one"
        )
    sessions = sorted(taking.taken.sessions)
    if not sessions:
        raise ConfigError(f"{file} has no session in it; agent-journal export SESSION --recording FILE writes one")
    return store, _first_session(file, sessions)


def _first_session(file: Path, sessions: list[str]) -> str:
    """Return the session that the first event is of: others are parts of it."""
    with file.open("rb") as lines:
        for line in lines:
            if _BLOB not in line[:16]:
                try:
                    return decode_line(line).session_id
                except CodecError:
                    break
    return sessions[0]
