"""Bodies of segments and journals: events to lines and back, and the key by which a line is known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.codec import decode_line, digest, encode_line, format_timestamp, parse_timestamp
from otel_agent_journal.errors import CodecError, NewerSchema
from otel_agent_journal.event import JournalEvent

# `{"timestamp":"2026-01-31T12:00:00.000000000Z",`: where the time stands in each line that `codec` wrote
_HEAD: Final = b'{"timestamp":"'
TIME_BYTES: Final = 30
_TIME: Final = slice(len(_HEAD), len(_HEAD) + TIME_BYTES)


class Line(NamedTuple):
    """One line of JSON without its end. `key`: its time, thirty characters of fixed width, and its id.

    Keys sort as `(timestamp_ns, event_id)` do.
    """

    key: bytes
    text: bytes


class _Known(msgspec.Struct):
    timestamp: str
    event_id: str
    instance_id: str | None = None
    seq: int | None = None
    digest: str | None = None


_known: Final = msgspec.json.Decoder(_Known).decode


def line_of(event: JournalEvent) -> Line:
    """Return an event's line."""
    text = encode_line(event)
    return Line(text[_TIME] + event.event_id.encode("utf-8", "backslashreplace"), text)


def key_at(timestamp_ns: int, event_id: str) -> bytes:
    """Return the key of an event of this time and id."""
    return format_timestamp(timestamp_ns).encode() + event_id.encode("utf-8", "backslashreplace")


def earliest_of(lines: Iterable[Line]) -> int:
    """Return the time of the earliest of these lines; 0 where it says none, or there is no line."""
    first = min((line.key for line in lines), default=b"")
    try:
        return max(0, parse_timestamp(first[:TIME_BYTES].decode()))
    except (CodecError, ValueError):
        return 0


def body_of(lines: Iterable[Line]) -> bytes:
    """Return the body of an object that holds these lines."""
    texts = [line.text for line in lines]
    return b"\n".join(texts) + b"\n" if texts else b""


class Read(NamedTuple):
    """What stands in a line, as far as a writer must know it."""

    line: Line
    event_id: str
    instance_id: str | None
    seq: int | None
    digest: str


def read_body(body: bytes) -> Iterator[Read]:
    """Yield what stands in each line of a body, of this package or of another writer; what is no event is left out.

    A line of another writer, without an id or with a time of another precision, is given in this package's form.

    Raises:
        NewerSchema: a newer version of this package wrote it.
    """
    for text in body.splitlines():
        if not text.strip():
            continue
        try:
            known = _known(text)
            if len(known.timestamp) != TIME_BYTES or not text.startswith(_HEAD) or not known.event_id:
                raise ValueError
            line = Line(text[_TIME] + known.event_id.encode(), text)
        except (ValueError, msgspec.MsgspecError):
            foreign = _foreign(text)
            if foreign is not None:
                yield foreign
            continue
        found = known.digest or ""
        if known.seq is not None and not found:
            found = digest(decode_line(text))
        yield Read(line, known.event_id, known.instance_id, known.seq, found)


def events_of(body: bytes) -> list[JournalEvent]:
    """Return the events of a segment, in the order they were written."""
    return [decode_line(text) for text in body.splitlines() if text]


def _foreign(text: bytes) -> Read | None:
    try:
        event = decode_line(text)
    except NewerSchema:
        raise
    except CodecError:
        return None
    line = line_of(event)
    return Read(line, event.event_id, event.instance_id, event.seq, event.digest or digest(event))
