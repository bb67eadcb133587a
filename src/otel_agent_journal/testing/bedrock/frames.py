"""Frames of `application/vnd.amazon.eventstream`, written byte by byte as AWS specifies them.

A frame is a prelude (total length, headers length, crc of both), headers, a payload, and the crc of all before it. It
knows nothing of what is said in them.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">II")  # total length, length of the headers
_CRC: Final = struct.Struct(">I")
_STRING_HEADER: Final = struct.Struct(">BH")  # type of the value, its length
_STRING: Final = 7
_AROUND_BYTES: Final = _PRELUDE.size + 2 * _CRC.size


def event_frame(event_type: str, payload: Mapping[str, Any]) -> bytes:
    """Return the frame of an event, its payload as JSON."""
    return _json_frame({":message-type": "event", ":event-type": event_type}, payload)


def exception_frame(exception_type: str, payload: Mapping[str, Any]) -> bytes:
    """Return the frame of an exception that the service model names: clients raise it in the middle of the stream."""
    return _json_frame({":message-type": "exception", ":exception-type": exception_type}, payload)


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return any frame; all headers are strings, as all of Bedrock's are."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = _PRELUDE.pack(_AROUND_BYTES + len(head) + len(payload), len(head))
    message = prelude + _CRC.pack(zlib.crc32(prelude)) + head + payload
    return message + _CRC.pack(zlib.crc32(message))


def _json_frame(headers: Mapping[str, str], payload: Mapping[str, Any]) -> bytes:
    return frame({**headers, ":content-type": "application/json"}, json.dumps(payload).encode())


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return bytes([len(key)]) + key + _STRING_HEADER.pack(_STRING, len(text)) + text
