"""Where events go that the store refuses for good, and records that nobody can read: a file beside the spool.

One JSON object a line: when, whose, why, and the event, or the record's bytes in base64. Nothing here ever blocks the
rest of the journal.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import format_timestamp, to_neutral
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.spool.home import DEAD_LETTERS

_log = logging.getLogger("otel_agent_journal.spool")

MAX_FILE_BYTES: Final = 64 * 1024 * 1024  # then it is set aside once, as dead-letter.1.jsonl
_OLDER: Final = "dead-letter.1.jsonl"


class DeadLetters:
    """Append to a spool's dead-letter file; drainers of several processes may do so at once."""

    def __init__(self, root: Path) -> None:
        self.path = root / DEAD_LETTERS

    def add_event(self, event: JournalEvent, why: str, now_ns: int) -> None:
        """Keep an event that the store refuses."""
        self._add({"at": format_timestamp(now_ns), "writer": event.writer, "why": why, "event": to_neutral(event)})

    def add_record(self, payload: bytes, writer: str, why: str, now_ns: int) -> None:
        """Keep a record that is no fact, or a blob that the store refuses."""
        raw = base64.b64encode(payload).decode()
        self._add({"at": format_timestamp(now_ns), "writer": writer, "why": why, "raw": raw})

    def _add(self, letter: dict[str, Any]) -> None:
        try:
            line = msgspec.json.encode(letter) + b"\n"
            self._make_room()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except (OSError, TypeError, ValueError) as error:
            _log.error("path=<%s>, error=<%s>, lost=<%.500r> | dead letter could not be kept", self.path, error, letter)

    def _make_room(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > MAX_FILE_BYTES:
                os.replace(self.path, self.path.with_name(_OLDER))


def set_aside_of(root: Path, writer: str) -> int | None:
    """Return how many of a writer's events were set aside; None where that cannot be told."""
    mark, found = f'"writer":"{writer}"'.encode(), 0
    for name in (_OLDER, DEAD_LETTERS):
        try:
            with (root / name).open("rb") as lines:
                found += sum(mark in line for line in lines)
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return found


def count_dead_letters(root: Path) -> int:
    """Return how many events are in a spool's dead-letter file."""
    try:
        with (root / DEAD_LETTERS).open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0
