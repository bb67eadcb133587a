"""The bytes of a spool segment: header page, frames, and how to find the next good frame after a bad one. Pure.

A segment is a header page and then frames, back to back: magic, length, crc32, payload. The crc is seeded with the
writer's id, so that a frame of another spool inside some payload is never taken for one of ours. A frame is put down
by one memory copy and frames are put down in order, which is all that readers rely on: bytes that are no frame are
the end of the log while nothing follows them, damage as soon as a good frame does. Zeros after the last frame.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from otel_agent_journal.mapping.facts import FACTS_VERSION

FORMAT_VERSION: Final = 1
HEADER_BYTES: Final = 4096  # one page: the drainer's and the writer's fields live apart from the frames
FRAME_BYTES: Final = 12
CRC_CHUNK_BYTES: Final = 5 * 1024  # above this zlib.crc32 gives up the GIL, and gets it back 5 ms later

SEGMENT_MAGIC: Final = b"OAJSPOOL"
FRAME_MAGIC: Final = 0xE7A90DF6  # F6 0D A9 E7 on disk: never part of UTF-8 text
FRAME_MAGIC_BYTES: Final = FRAME_MAGIC.to_bytes(4, "little")

FRAME: Final = Struct("<III")
_IDENTITY: Final = Struct("<8sHHI32s")  # magic, format version, facts version, segment number, writer
ACKNOWLEDGED_AT: Final = 64
_ACKNOWLEDGED: Final = Struct("<QQ")  # offset, and its complement
WRITER_STATE_AT: Final = 128
_WRITER_STATE: Final = Struct("<QQQ")  # 1 when sealed, end of the last frame, events refused so far by this writer
WRITER_STATE_BYTES: Final = _WRITER_STATE.size
_COMPLEMENT: Final = (1 << 64) - 1


class Identity(NamedTuple):
    """What the first bytes of a segment say of it."""

    format_version: int
    facts_version: int
    number: int
    writer: str


class WriterState(NamedTuple):
    """What the writer says of a segment and of itself; `end` counts only when it is sealed."""

    sealed: bool
    end: int
    refused: int


class Found(NamedTuple):
    """A good frame in a buffer: where it starts and ends, and what it carries."""

    start: int
    end: int
    payload: bytes


def salt_of(writer: str) -> int:
    """Return the seed of the crc of all frames of this writer."""
    return crc32(writer.encode())


def checksum(payload: bytes, salt: int) -> int:
    """Return the crc of a payload of any size without ever giving up the GIL."""
    if len(payload) <= CRC_CHUNK_BYTES:
        return crc32(payload, salt)
    view = memoryview(payload)
    for start in range(0, len(payload), CRC_CHUNK_BYTES):
        salt = crc32(view[start : start + CRC_CHUNK_BYTES], salt)
    return salt


def frame_of(payload: bytes, salt: int) -> bytes:
    """Return the payload framed. The writer's hot path has this inlined."""
    return FRAME.pack(FRAME_MAGIC, len(payload), checksum(payload, salt)) + payload


def payload_at(buffer: bytes, start: int, salt: int) -> bytes | None:
    """Return the payload of the frame that starts here, or None where there is no whole, undamaged frame."""
    if len(buffer) - start < FRAME_BYTES:
        return None
    magic, length, crc = FRAME.unpack_from(buffer, start)
    if magic != FRAME_MAGIC or length > len(buffer) - start - FRAME_BYTES:
        return None
    payload = buffer[start + FRAME_BYTES : start + FRAME_BYTES + length]
    return payload if crc32(payload, salt) == crc else None


def length_at(buffer: bytes, start: int) -> int | None:
    """Return the size of the whole frame that a header here promises, or None where there is no header."""
    if len(buffer) - start < FRAME_BYTES:
        return None
    magic, length, _ = FRAME.unpack_from(buffer, start)
    return FRAME_BYTES + length if magic == FRAME_MAGIC else None


def next_frame(buffer: bytes, start: int, salt: int) -> Found | None:
    """Return the first good frame at or after `start`, wherever it begins."""
    while (start := buffer.find(FRAME_MAGIC_BYTES, start)) >= 0:
        payload = payload_at(buffer, start, salt)
        if payload is not None:
            return Found(start, start + FRAME_BYTES + len(payload), payload)
        start += 1
    return None


def is_blank(buffer: bytes, start: int) -> bool:
    """Tell whether nothing was ever written here: where a live log ends."""
    return not any(buffer[start : start + FRAME_BYTES])


def header_of(writer: str, number: int) -> bytes:
    """Return a fresh segment's header page, nothing acknowledged, not sealed."""
    page = bytearray(HEADER_BYTES)
    identity = (SEGMENT_MAGIC, FORMAT_VERSION, FACTS_VERSION, number, writer.encode())
    _IDENTITY.pack_into(page, 0, *identity)
    page[ACKNOWLEDGED_AT : ACKNOWLEDGED_AT + _ACKNOWLEDGED.size] = acknowledged_bytes(HEADER_BYTES)
    return bytes(page)


def identity_of(page: bytes) -> Identity | None:
    """Return what a header page says, or None where it is damaged."""
    if len(page) < HEADER_BYTES:
        return None
    magic, version, facts, number, writer = _IDENTITY.unpack_from(page, 0)
    return Identity(version, facts, number, writer.decode("ascii", "replace")) if magic == SEGMENT_MAGIC else None


def acknowledged_bytes(offset: int) -> bytes:
    """Return what the drainer writes at ACKNOWLEDGED_AT."""
    return _ACKNOWLEDGED.pack(offset, offset ^ _COMPLEMENT)


def acknowledged_of(page: bytes) -> int:
    """Return how far the segment is acknowledged; from its start, which is always safe, where that is damaged."""
    if len(page) < HEADER_BYTES:
        return HEADER_BYTES
    offset, complement = _ACKNOWLEDGED.unpack_from(page, ACKNOWLEDGED_AT)
    return max(HEADER_BYTES, offset) if offset ^ complement == _COMPLEMENT else HEADER_BYTES


def writer_state_bytes(state: WriterState) -> bytes:
    """Return what the writer writes at WRITER_STATE_AT."""
    return _WRITER_STATE.pack(*state)


def writer_state_of(page: bytes) -> WriterState:
    """Return what the writer said last, from a header page."""
    return writer_state_at(page[WRITER_STATE_AT : WRITER_STATE_AT + WRITER_STATE_BYTES])


def writer_state_at(state: bytes) -> WriterState:
    """Return what the writer said last, from WRITER_STATE_BYTES at WRITER_STATE_AT."""
    if len(state) < WRITER_STATE_BYTES:
        return WriterState(sealed=False, end=0, refused=0)
    sealed, end, refused = _WRITER_STATE.unpack(state)
    return WriterState(sealed == 1, end, refused)
