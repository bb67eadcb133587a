"""Anchors: checkpoints of the log kept where who can write to the store cannot: a file, a bucket, a time stamp.

An anchor says that the log was so by then. Whoever has the key can rewrite all that came after it, and nothing before.
`s3://` is an entry point of the group `otel_agent_journal.anchors`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol

from otel_agent_journal.codec import format_timestamp, parse_timestamp
from otel_agent_journal.errors import CodecError, ConfigError, MissingExtra
from otel_agent_journal.masking import masked
from otel_agent_journal.seals.notes import BadNote, read_note
from otel_agent_journal.seals.verifying import Anchored

GROUP: Final = "otel_agent_journal.anchors"
EXPORTERS: Final = {"s3": "otel-agent-journal[aws]"}
_COMMENT: Final = "# "  # with the time, in front of a checkpoint in a file


class Anchor(Protocol):
    """Keeps checkpoints. `shown` may be printed."""

    @property
    def shown(self) -> str:
        """Where it keeps them."""
        ...

    def put(self, note: str, size: int, now_ns: int) -> None:
        """Keep the checkpoint of a log of so many records; durable when it returns. Raises JournalError."""
        ...

    def kept(self) -> Iterator[Anchored]:
        """Yield what is kept. Raises JournalError."""
        ...


class FileAnchor:
    """A file, in a repository or on a disk elsewhere: checkpoints one behind the other, each below its time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shown = str(path)

    def put(self, note: str, size: int, now_ns: int) -> None:
        """Add a checkpoint to the file."""
        del size
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{_COMMENT}{format_timestamp(now_ns)}\n{note}\n")
            file.flush()
            os.fsync(file.fileno())

    def kept(self) -> Iterator[Anchored]:
        """Yield the checkpoints of the file; raises ConfigError where there are none, or one cannot be read."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"anchor {self.shown} cannot be read: {error}") from error
        blocks = [block for block in f"\n{text}".split(f"\n{_COMMENT}") if block.strip()]
        if not blocks:
            raise ConfigError(f"anchor {self.shown} is empty; `seal anchor --to {self.shown}` writes to it")
        for block in blocks:
            yield self._anchored(block)

    def _anchored(self, block: str) -> Anchored:
        when, line_end, note = block.lstrip("\n").partition("\n")
        try:
            at_ns = parse_timestamp(when)
        except CodecError:  # a checkpoint that was put there by hand
            at_ns, note = 0, when + line_end + note
        try:
            return Anchored(self.shown, at_ns, read_note(note.rstrip("\n") + "\n"))
        except BadNote as error:
            raise ConfigError(f"anchor {self.shown} has something that is no checkpoint: {error}") from error


def open_anchor(where: str) -> Anchor:
    """Return the anchor of a path, or of a URL that an installed package knows.

    Raises:
        ConfigError: nobody knows it.
        MissingExtra: its package is not installed.
    """
    scheme, colon, _ = where.partition("://")
    if not colon or scheme == "file":
        return FileAnchor(Path(where.removeprefix("file://")))
    for entry in entry_points(group=GROUP, name=scheme):
        return entry.load()(where)
    if scheme in EXPORTERS:
        raise MissingExtra(f"the anchor {scheme}", EXPORTERS[scheme])
    raise ConfigError(f"anchor {masked(where)}: a file, or a URL of s3, is expected")
