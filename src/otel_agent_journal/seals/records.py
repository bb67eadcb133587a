"""What the log of a store's seals says, a record a leaf: sealed, deleted, erased, a key followed another. Pure.

A record is a line of JSON; its bytes are the leaf. So the log, signed as one, tells a session that was deleted by its
keeper from one that is gone, and content that was erased from content that was taken out.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from otel_agent_journal.errors import CodecError

MOST_NAMED: Final = 200  # events that one record names


class Sealed(msgspec.Struct, frozen=True, kw_only=True, tag="sealed", tag_field="is"):
    """A session was sealed: its seal's number, how many events that and those before it cover, and their root."""

    session: str
    seal: int
    size: int
    root: str
    at: str


class Deleted(msgspec.Struct, frozen=True, kw_only=True, tag="deleted", tag_field="is"):
    """A session was about to be deleted, whole, by its keeper."""

    session: str
    why: str
    at: str


class Erased(msgspec.Struct, frozen=True, kw_only=True, tag="erased", tag_field="is", omit_defaults=True):
    """Content of sealed events was about to be erased: of these, or of all that the session had."""

    session: str
    events: tuple[str, ...] = ()
    all: bool = False
    at: str


class Followed(msgspec.Struct, frozen=True, kw_only=True, tag="key", tag_field="is"):
    """A key followed another: a note that both have signed, and that names both."""

    note: str
    at: str


Record: TypeAlias = Sealed | Deleted | Erased | Followed

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(Record).decode


def line_of(record: Record) -> bytes:
    """Return the bytes of a record."""
    return _encode(record)


def record_of(line: bytes) -> Record:
    """Return the record of bytes.

    Raises:
        CodecError: they are none.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, ValueError) as error:
        raise CodecError(f"not a record of the log of seals: {error}") from error
