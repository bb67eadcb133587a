"""Pictures, sounds and documents in what a model was asked or has answered: kept apart as bytes, with their type. Pure.

They come as bytes, as data URLs, or as base64 under the names that providers have for it. In their place stands
`{"$blob": digest, "bytes": n, "media_type": t}`, with `before` what a text began with before the base64. Each is
kept once a session, however often it is shown, and what it stood for is written again exactly as it was.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import DIGEST_BYTES
from otel_agent_journal.foreign import type_of

BLOB: Final = "$blob"
MEDIA_TYPE: Final = "media_type"
WITHIN: Final = "media"  # of a reference: the digests of what is kept apart again within the value that it refers to
MIN_BYTES: Final = 1024  # what is smaller stays where it is: a reference takes 150 bytes, and a read
MAX_BYTES: Final = 64 * 1024 * 1024  # what is over this is not kept; its reference says so
BEFORE: Final = "before"
_MIN_TEXT: Final = MIN_BYTES * 4 // 3
_MAX_DEPTH: Final = 32
_DATA_URL: Final = "data:"
_HEAD: Final = 200  # characters in which a data URL says what it is
_ENCODED: Final = frozenset(("b64_json", "base64", "bytes", "data", "file_data", "result"))  # names of base64
_TYPES: Final = ("mime_type", "media_type", "mimeType", "mediaType")
_KINDS: Final = {"image": "image/", "audio": "audio/", "input_audio": "audio/", "video": "video/"}
UNKNOWN: Final = "application/octet-stream"


class Medium(NamedTuple):
    """What is kept apart."""

    data: bytes
    media_type: str


class Decoded(NamedTuple):
    """What base64 is: its bytes, the type that a data URL says, and what stands before the base64."""

    data: bytes
    media_type: str
    before: str


def decoded(text: str) -> Decoded | None:
    """Return what a data URL or base64 is; None of what is neither, or would not be written the same again."""
    before = media_type = ""
    if text.startswith(_DATA_URL):
        head = text[:_HEAD].partition(";base64,")
        if not head[1]:
            return None
        before, media_type = head[0] + head[1], head[0][len(_DATA_URL) :].partition(";")[0]
    encoded = text[len(before) :]
    try:
        data = a2b_base64(encoded.encode("ascii"), strict_mode=True)
    except ValueError:
        return None
    if b2a_base64(data, newline=False).decode() != encoded:  # with bits that it would not be written with again
        return None
    return Decoded(data, media_type, before)


def hints_at_media(encoded: bytes) -> bool:
    """Tell whether encoded details may hold media: one of these words stands beside each of them in JSON."""
    return len(encoded) > MIN_BYTES and (b"base64" in encoded or b"image" in encoded or b"audio" in encoded)


def is_medium(reference: Mapping[str, Any]) -> bool:
    """Tell whether a reference to what is kept apart is one to a medium, which is no JSON."""
    return MEDIA_TYPE in reference and isinstance(reference.get(BLOB), str)


def as_it_stood(reference: Mapping[str, Any], data: bytes) -> str:
    """Return the text that a reference to a medium stands for; of bytes the base64 that they are as JSON."""
    return f"{reference.get(BEFORE, '')}{b2a_base64(data, newline=False).decode()}"


def without_media(value: Any, most: int) -> tuple[Any, dict[str, Medium]]:
    """Return a value with references in the place of media, and these by their digests.

    Args:
        value: of any kind; dicts and lists in it are looked into, others left alone. It is not changed, and returned
            itself where no media are in it.
        most: how many values are looked at.
    """
    search = _Search(most)
    return search.of(value, "", "", 0), search.found


def media_within(value: Any) -> Iterator[str]:
    """Yield the digests of the media that a value refers to."""
    pending: list[Any] = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            mapping = cast("Mapping[str, Any]", one)
            if is_medium(mapping):
                yield mapping[BLOB]
            else:
                pending.extend(mapping.values())
        elif isinstance(one, list | tuple):
            pending.extend(cast("list[Any]", one))


class _Search:
    """Searches one value, as far as is sensible."""

    def __init__(self, most: int) -> None:
        self.found: dict[str, Medium] = {}
        self._left = most

    def of(self, value: Any, name: str, said: str, depth: int) -> Any:
        """Return a value without media. `name` is what it stands under, `said` the type that was said around it."""
        kind = type_of(value)
        self._left -= 1
        if kind is bytes and len(value) >= MIN_BYTES:
            return self._apart(value, said or UNKNOWN, "")
        if kind is str:
            return self._text(value, name, said)
        if (kind is not dict and kind is not list and kind is not tuple) or self._left < 0 or depth > _MAX_DEPTH:
            return value
        if kind is dict:
            said = _type_said(value, name) or said
            pairs: Any = value.items()
        else:
            pairs = enumerate(value)
        made: Any = None
        for key, item in list(pairs):
            found = self.of(item, key if kind is dict and type(key) is str else name, said, depth + 1)
            if found is not item:
                made = made if made is not None else dict(value) if kind is dict else list(value)
                made[key] = found
        return value if made is None else made

    def _text(self, text: str, name: str, said: str) -> Any:
        if len(text) < _MIN_TEXT or not (name in _ENCODED or text.startswith(_DATA_URL)):
            return text
        found = decoded(text)
        return text if found is None else self._apart(found.data, found.media_type or said or UNKNOWN, found.before)

    def _apart(self, data: bytes, media_type: str, before: str) -> dict[str, Any]:
        digest = blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
        reference: dict[str, Any] = {BLOB: digest, "bytes": len(data), MEDIA_TYPE: media_type}
        if before:
            reference[BEFORE] = before
        if len(data) > MAX_BYTES:
            reference["lost"] = f"over {MAX_BYTES:,} bytes"
        else:
            self.found[digest] = Medium(data, media_type)
        return reference


def _type_said(block: dict[Any, Any], name: str) -> str:
    """Return the media type that a content block says, by itself or by its format and what it stands under."""
    for key in _TYPES:
        said = block.get(key)
        if type(said) is str:
            return said
    form = block.get("format")
    if type(form) is str:
        return f"{_KINDS.get(name, 'application/')}{form}"
    return ""
