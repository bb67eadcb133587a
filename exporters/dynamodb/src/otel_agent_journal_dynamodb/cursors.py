"""The cursor of who follows all sessions, as a value and as text. Pure.

It is a time up to which activity was read, and where the follower stands in the sessions that were active around that
time. Whoever begins, or comes back after days, walks through all sessions first: then it has the place of that, too.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from hashlib import blake2b
from typing import Final

import msgspec

PREFIX: Final = "all."
_CHECK_BYTES: Final = 6
_encode: Final = msgspec.msgpack.Encoder().encode


class Stand(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a follower stands in a session, given by its hash: as `arrivals.Place`; and when it last mattered."""

    session: bytes
    number: int
    keys: int
    at_s: int


class Walk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a walk through all sessions is, which gives what was announced before a time.

    `partition` is the last session that was come by, the beginning where it is empty; `number` and `keys` are the place
    in it where it is not done. `stands` are where following is to begin in sessions that were active around that time.
    """

    until_ns: int
    partition: str = ""
    number: int = 0
    keys: int = 0
    is_within: bool = False
    stands: tuple[Stand, ...] = ()


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far activity was read: from then on the whole of it, and lately the latest alone; 0 for the beginning."""

    whole_ns: int = 0
    latest_ns: int = 0
    stands: tuple[Stand, ...] = ()
    walk: Walk | None = None


_decode: Final = msgspec.msgpack.Decoder(Cursor).decode


def hash_of(partition: str) -> bytes:
    """Return what a session is known by in cursors, which are short."""
    return blake2b(partition.encode(), digest_size=9).digest()


def is_of_all(text: str | None) -> bool:
    """Tell whether a cursor is one of all sessions."""
    return text is not None and text.startswith(PREFIX)


def text_of_cursor(cursor: Cursor, table: str) -> str:
    """Return the text of a cursor of a table."""
    body = _encode(cursor)
    return PREFIX + urlsafe_b64encode(_check(body, table) + body).rstrip(b"=").decode()


def cursor_of(text: str, table: str) -> Cursor | None:
    """Return the cursor of a text; None where it was not made for this table."""
    encoded = text.removeprefix(PREFIX)
    try:
        said = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (NotBase64, ValueError):
        return None
    check, body = said[:_CHECK_BYTES], said[_CHECK_BYTES:]
    if not text.startswith(PREFIX) or check != _check(body, table):
        return None
    try:
        return _decode(body)
    except msgspec.MsgspecError:
        return None


def _check(body: bytes, table: str) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, key=table.encode()[:64]).digest()
