"""What a store refuses by itself, and what nobody can read: set aside in numbered files beside the writers' folders.

One file each, `set-aside/NUMBER.DIGEST.json`: when, whose, why, and the event, or the bytes of a record of the spool.
A file is written under a hidden name and then renamed, so that it is there whole or not at all, and since its name
tells its content, drainers of several processes never write over anything. What is there already, after a drain that
died before it acknowledged, is not added again. `delivery.redelivery` tries it again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from otel_agent_journal.codec import decode_line, encode_line, format_timestamp, valid_text
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.places import make_folder
from otel_agent_journal.spool.home import HIDDEN, SET_ASIDE

_NAME: Final = re.compile(r"(\d{6,})\.([0-9a-f]{32})\.json")


class Kept(NamedTuple):
    """One thing set aside: an event, or else a record as it was in the spool of `writer`."""

    writer: str
    why: str
    event: JournalEvent | None
    record: bytes


class _File(msgspec.Struct, omit_defaults=True):
    at: str
    writer: str
    why: str
    event: msgspec.Raw = msgspec.Raw()
    record: bytes = b""


class SetAside:
    """Add to what a spool has set aside. Used by one thread; other processes may do so at once."""

    def __init__(self, root: Path) -> None:
        self._folder = root / SET_ASIDE
        self._known: dict[str, Path] | None = None
        self._last = 0

    def add_event(self, event: JournalEvent, why: str, now_ns: int) -> bool:
        """Keep an event; tell whether it was not there yet. Raises OSError where it cannot be kept."""
        line = encode_line(event)
        return self._add(line, _File(format_timestamp(now_ns), event.writer or "", valid_text(why), msgspec.Raw(line)))

    def add_record(self, payload: bytes, writer: str, why: str, now_ns: int) -> bool:
        """Keep a record of a writer's spool. As `add_event`."""
        file = _File(format_timestamp(now_ns), writer, valid_text(why), record=payload)
        return self._add(writer.encode() + payload, file)

    def _add(self, content: bytes, file: _File) -> bool:
        digest = blake2b(content, digest_size=16).hexdigest()
        known = self._look()
        if digest in known and known[digest].exists():
            return False
        self._last += 1
        path = self._folder / f"{self._last:06d}.{digest}.json"
        hidden = self._folder / f"{HIDDEN}{uuid4().hex}"
        try:
            with open(hidden, "xb", opener=_private) as made:
                made.write(msgspec.json.encode(file))
                made.flush()
                os.fsync(made.fileno())
            os.replace(hidden, path)
        finally:
            hidden.unlink(missing_ok=True)
        known[digest] = path
        return True

    def _look(self) -> dict[str, Path]:
        if self._known is None:
            make_folder(self._folder)
            found = _files(self._folder)
            self._last = max((number for number, _, _ in found), default=0)
            self._known = {digest: path for _, digest, path in found}
        return self._known


def count(root: Path, writer: str | None = None) -> int:
    """Return how much a spool has set aside, of all writers or one; 0 where there is no spool.

    A file is read once, whoever asks how often: each flush under `run` does. One that cannot be read may be anybody's.
    """
    paths = [path for _, _, path in _files(root / SET_ASIDE)]
    return len(paths) if writer is None else sum(_may_be_of(path, writer) for path in paths)


def kept(root: Path) -> Iterator[tuple[Path, Kept | None]]:
    """Yield the files of what a spool has set aside, the oldest first, and what is in each; None: it cannot be read."""
    for _, _, path in _files(root / SET_ASIDE):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
            event = decode_line(bytes(file.event)) if bytes(file.event) else None
        except FileNotFoundError:  # another process has just delivered it
            continue
        except (OSError, msgspec.DecodeError, CodecError):
            yield path, None
        else:
            yield path, Kept(file.writer, file.why, event, file.record)


def forget_sessions(root: Path, sessions: Collection[str]) -> int:
    """Delete what a spool has set aside of some sessions' events, and return how many files that was."""
    found = [path for path, one in kept(root) if one is not None and one.event and one.event.session_id in sessions]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _may_be_of(path: Path, writer: str) -> bool:
    try:
        return _writer_in(path) == writer
    except FileNotFoundError:  # another process has just delivered it
        return False
    except (OSError, msgspec.DecodeError):
        return True


@lru_cache(maxsize=16_384)
def _writer_in(path: Path) -> str:
    return msgspec.json.decode(path.read_bytes(), type=_File).writer


def _files(folder: Path) -> list[tuple[int, str, Path]]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    matches = (_NAME.fullmatch(name) for name in names)
    return sorted((int(found[1]), found[2], folder / found[0]) for found in matches if found)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
