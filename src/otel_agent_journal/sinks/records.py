"""Events as a sink is sent them: lines in records, and what becomes of an event that is too large for one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from otel_agent_journal.codec import encode_line, valid_text
from otel_agent_journal.event import ErrorInfo, JournalEvent
from otel_agent_journal.sinks.port import Limits, Record

AGGREGATE_BYTES: Final = 256 * 1024  # of one record of several events: small beside what a shard takes in a second
AGGREGATE_EVENTS: Final = 500  # as many as Firehose takes apart again
MAX_KEY: Final = 256  # characters of a partition key of Kinesis
WITHHELD: Final = "withheld"  # the mark, in the details of an event that was sent without them
_MAX_TEXT: Final = 500  # characters of what else may be long


def key_of(session_id: str) -> str:
    """Return the key that a session's records have: its id, or of one that no service takes, a digest of it."""
    text = valid_text(session_id)
    return text if 0 < len(text) <= MAX_KEY else f"~{sha256(text.encode()).hexdigest()}"


def line_of(event: JournalEvent) -> bytes:
    """Return an event as a line, its line feed included."""
    return encode_line(event) + b"\n"


def without_details(event: JournalEvent, size_bytes: int, limit_bytes: int, why: str) -> JournalEvent:
    """Return an event without what makes it large, and the mark that says so; its id, time and place stay.

    Its digest goes too: it is that of the whole event, which the store has.
    """
    error = event.error
    if error is not None:
        code = None if error.code is None else error.code[:_MAX_TEXT]
        error = ErrorInfo(type=error.type[:_MAX_TEXT], message=error.message[:_MAX_TEXT], code=code)
    mark = {"bytes": size_bytes, "limit": limit_bytes, "why": why}
    return msgspec.structs.replace(
        event,
        name=None if event.name is None else event.name[:_MAX_TEXT],
        error=error,
        details={WITHHELD: mark},
        digest=None,
    )


class Packed(msgspec.Struct, frozen=True):
    """A record, and how many of its events are without their details."""

    record: Record
    withheld: int = 0


def packed(session_id: str, events: Iterable[JournalEvent], limits: Limits) -> Packed:
    """Return the record that the next events of a session go in: at least one of them, in their order.

    Args:
        session_id: theirs.
        events: from the next one on; at least one.
        limits: of the sink.
    """
    key = key_of(session_id)
    room = limits.record_bytes - len(key.encode())
    most = AGGREGATE_EVENTS if limits.aggregate else 1
    lines: list[bytes] = []
    size = withheld = 0
    for event in events:
        line, is_cut = _fitting(event, room)
        if lines and size + len(line) > min(room, AGGREGATE_BYTES):
            break
        lines.append(line)
        size += len(line)
        withheld += is_cut
        if len(lines) == most:
            break
    return Packed(Record(key, b"".join(lines), len(lines)), withheld)


def _fitting(event: JournalEvent, room: int) -> tuple[bytes, bool]:
    line = line_of(event)
    if len(line) <= room:
        return line, False
    return line_of(without_details(event, len(line), room, "over the limit of one record")), True
