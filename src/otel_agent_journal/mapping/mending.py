"""Text that is no Unicode, in requests that could not be read for it: each bad stretch becomes U+FFFD. Pure.

Senders cut texts within a character, or hand on bytes that were never text. Protobuf refuses such a request as a whole,
as JSON does one with half of a surrogate pair; mended it can be read, and what was good in it is as it was. Called only
where reading failed. Iterative, and linear in the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

MENDED: Final = "\ufffd"
MAX_FIELDS: Final = 4_000_000  # looked at in a request, twice what 64 MiB of spans have; one of more is not mended
MAX_DEPTH: Final = 100  # of messages within messages, as protobuf's own

_SHORT_BYTES: Final = 1024  # such a message is looked at as a whole first: most attributes are ASCII
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # wire types; groups are none of OTLP's
_Pieces = list[Any]  # bytes, and lists of these


def mended_json(data: bytes) -> bytes:
    """Return a JSON text with U+FFFD for what is no UTF-8, and for each half of a surrogate pair.

    Raises:
        ValueError: it is no JSON all the same.
        RecursionError: it is nested too deep.
    """
    read = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse)
    return _whole(json.dumps(read, ensure_ascii=False, allow_nan=False)).encode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _whole(text: str) -> str:
    """Return text with U+FFFD for lone surrogates: of UTF-16 they alone are no characters."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mended_protobuf(data: bytes, message: type[Any]) -> bytes:
    """Return a message as it is sent with U+FFFD for what is no UTF-8 in its text fields.

    Args:
        data: as it was sent.
        message: what it should be.

    Raises:
        ValueError: it is no such message all the same, or has more fields than are looked at.
    """
    texts: dict[str, Mapping[int, Any]] = {}
    top = _Open(_fields_of(message.DESCRIPTOR, texts), 0, len(data), 0)
    open_, looked_at = [top], 0
    while True:
        here = open_[-1]
        if here.at == here.end:
            if len(open_) == 1:
                return b"".join(_flat(top.close(data))) if top.pieces else data
            open_.pop()
            if here.pieces:
                open_[-1].put(data, here.began, here.close(data), here.size)
            continue
        looked_at += 1
        if looked_at > MAX_FIELDS:
            raise ValueError(f"more than {MAX_FIELDS:,} fields, and text that is no UTF-8")
        tag, at = _varint(data, here.at, here.end)
        size_at = at
        if tag & 7 == _BYTES:
            size, at = _varint(data, at, here.end)
        elif tag & 7 == _VARINT:
            size, at = 0, _varint(data, at, here.end)[1]
        else:
            size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(tag & 7, len(data) + 1)
        here.at = at + size
        if here.at > here.end:
            raise ValueError("a field goes on beyond its message")
        field = here.fields.get(tag >> 3) if tag & 7 == _BYTES else None
        if field is None or (size <= _SHORT_BYTES and data[at : here.at].isascii()):
            continue
        if field is _TEXT:
            mended = _mended(data[at : here.at])
            if mended is not None:
                here.put(data, size_at, [mended], len(mended))
        else:
            if len(open_) > MAX_DEPTH:
                raise ValueError(f"messages are more than {MAX_DEPTH} deep")
            open_.append(_Open(_fields_of(field, texts), at, here.at, size_at))


_TEXT: Final = object()


class _Open:
    """A message that is being looked at. `began` is where the size stands that is said of it."""

    __slots__ = ("at", "began", "end", "fields", "kept", "pieces", "size")

    def __init__(self, fields: Mapping[int, Any], at: int, end: int, began: int) -> None:
        self.fields = fields
        self.at = at
        self.end = end
        self.began = began
        self.kept = at  # up to where it is in the pieces
        self.pieces: _Pieces = []  # what it is made of by now; none: it is as it was
        self.size = 0  # of the pieces

    def put(self, data: bytes, size_at: int, content: _Pieces, size: int) -> None:
        """Take another content for the field that was just passed, whose size stands at a place."""
        said = _as_varint(size)
        self.pieces += (data[self.kept : size_at], said, content)
        self.size += size_at - self.kept + len(said) + size
        self.kept = self.at

    def close(self, data: bytes) -> _Pieces:
        """Return all of it in pieces."""
        self.pieces.append(data[self.kept : self.end])
        self.size += self.end - self.kept
        return self.pieces


def _fields_of(descriptor: Any, known: dict[str, Mapping[int, Any]]) -> Mapping[int, Any]:
    """Return a message's fields that are text, or messages that may have some, by number."""
    fields = known.get(descriptor.full_name)
    if fields is None:
        of_text = (field for field in descriptor.fields if field.type in (field.TYPE_STRING, field.TYPE_MESSAGE))
        fields = {field.number: _TEXT if field.type == field.TYPE_STRING else field.message_type for field in of_text}
        known[descriptor.full_name] = fields
    return fields


def _mended(text: bytes) -> bytes | None:
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace").encode()
    return None


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number goes on beyond its message")


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _flat(pieces: _Pieces) -> list[bytes]:
    """Return pieces within pieces one after the other."""
    found: list[bytes] = []
    pending: _Pieces = [pieces]
    while pending:
        piece = pending.pop()
        if isinstance(piece, bytes):
            found.append(piece)
        else:
            pending += reversed(cast("_Pieces", piece))
    return found
