"""Text that is no Unicode, in requests that could not be read for it: each bad stretch becomes U+FFFD. Pure.

Senders cut texts within a character, or hand on bytes that were never text. Protobuf refuses such a request as a whole,
as JSON does one with half of a surrogate pair; mended it can be read, and what was good in it is as it was. Called only
where reading failed; linear in the request.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final, NoReturn, cast

MENDED: Final = "\ufffd"
MAX_MESSAGES: Final = 2_000_000  # within a request, as many as 64 MiB of spans have; one of more is not mended


def mended_json(data: bytes) -> bytes:
    """Return a JSON text with U+FFFD for what is no UTF-8, and for each half of a surrogate pair.

    Raises:
        ValueError: it is no JSON all the same.
        RecursionError: it is nested too deep.
    """
    read = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse)
    text = json.dumps(read, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def mended_protobuf(data: bytes, message: type[Any]) -> bytes:
    """Return a message as it is sent with U+FFFD for what is no UTF-8 in its text fields.

    Args:
        data: as it was sent.
        message: what it should be.

    Raises:
        DecodeError: of protobuf: it is no such message all the same.
        ValueError: there are more messages in it than are looked at.
    """
    from google.protobuf.message import Message

    as_bytes, texts = _with_bytes(message)
    whole = as_bytes.FromString(data)
    pending, looked_at = [whole], 0
    while pending:
        one = pending.pop()
        looked_at += 1
        if looked_at > MAX_MESSAGES:
            raise ValueError(f"more than {MAX_MESSAGES:,} messages within one, and text that is no UTF-8")
        for field, value in one.ListFields():
            if isinstance(value, bytes):
                if not value.isascii() and field.full_name in texts:
                    setattr(one, field.name, _mended(value))
            elif isinstance(value, Message):
                pending.append(value)
            elif field.message_type is not None:
                pending += value
            elif field.full_name in texts:
                value[:] = [_mended(text) for text in value]
    return whole.SerializeToString()


def _mended(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode()


@cache
def _with_bytes(message: type[Any]) -> tuple[type[Any], frozenset[str]]:
    """Return the same message with bytes for text, which are one on the wire, and the names of fields that are text."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    pool, texts = DescriptorPool(), set[str]()

    def add(file: Any) -> None:
        for needed in file.dependencies:
            add(needed)
        copy = FileDescriptorProto()
        file.CopyToProto(copy)
        within = [(copy.package, each) for each in copy.message_type]
        while within:
            around, each = within.pop()
            name = f"{around}.{each.name}"
            within += [(name, nested) for nested in each.nested_type]
            for field in each.field:
                if field.type == field.TYPE_STRING:
                    field.type = field.TYPE_BYTES
                    texts.add(f"{name}.{field.name}")
        pool.Add(copy)

    add(message.DESCRIPTOR.file)
    made = GetMessageClass(pool.FindMessageTypeByName(message.DESCRIPTOR.full_name))
    return cast("type[Any]", made), frozenset(texts)
