"""Media in what a model was asked or has answered are kept apart with their type, and written again as they stood."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from otel_agent_journal.mapping import media
from otel_agent_journal.mapping.media import (
    BLOB,
    MEDIA_TYPE,
    as_it_stood,
    hints_at_media,
    is_medium,
    media_within,
    without_media,
)

RAW = bytes(range(256)) * 8
TEXT = b64encode(RAW).decode()
URL = f"data:image/png;base64,{TEXT}"

BLOCKS: dict[str, tuple[Any, str]] = {
    "openai": ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, "image/png"),
    "openai, short": ({"type": "image_url", "image_url": URL}, "image/png"),
    "openai, heard": ({"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}}, "audio/wav"),
    "openai, a file": (
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{TEXT}"}},
        "application/pdf",
    ),
    "openai, said": ({"id": "a", "data": TEXT, "transcript": "hi"}, "application/octet-stream"),
    "openai, drawn": ({"type": "image_generation_call", "result": TEXT}, "application/octet-stream"),
    "a url without a type": ({"url": f"data:;base64,{TEXT}"}, "application/octet-stream"),
    "a url with parameters": ({"url": f"data:text/plain;charset=utf-8;base64,{TEXT}"}, "text/plain"),
    "anthropic": ({"source": {"type": "base64", "media_type": "image/jpeg", "data": TEXT}}, "image/jpeg"),
    "google": ({"type": "media", "mime_type": "audio/mp3", "data": RAW}, "audio/mp3"),
    "langchain": ({"type": "image", "source_type": "base64", "mime_type": "image/gif", "data": TEXT}, "image/gif"),
    "langchain v1": ({"type": "image", "base64": TEXT, "mime_type": "image/webp"}, "image/webp"),
    "bedrock, seen": ({"image": {"format": "png", "source": {"bytes": RAW}}}, "image/png"),
    "bedrock, read": ({"document": {"format": "pdf", "name": "r", "source": {"bytes": RAW}}}, "application/pdf"),
    "bedrock, watched": ({"video": {"format": "mp4", "source": {"bytes": TEXT}}}, "video/mp4"),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_providers_way(kind: str) -> None:
    """Of every provider's blocks the medium is found, with its type, and what stood there is written again."""
    block, media_type = BLOCKS[kind]
    given = {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, block]}]}
    kept, found = without_media(given, 1000)
    ((digest, medium),) = found.items()
    assert medium == (RAW, media_type)
    assert list(media_within(kept)) == [digest]
    assert TEXT not in str(kept)
    assert written(kept, found) == written(given, found)
    assert given["messages"][0]["content"][1] is block


def written(value: Any, found: Any) -> Any:
    """Return a value as a reader has it."""
    if isinstance(value, dict):
        return (
            as_it_stood(value, found[value[BLOB]].data)
            if is_medium(value)
            else {key: written(item, found) for key, item in value.items()}
        )
    if isinstance(value, list | tuple):
        return [written(item, found) for item in value]
    return b64encode(value).decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    "value",
    [
        {"data": b"small"},
        {"url": "data:image/png;base64,AAAA"},
        {"url": f"https://example.com/{'x' * 2000}"},
        {"url": "data:text/plain," + "x" * 2000},
        {"text": TEXT},
        {"data": "no base64! " * 300},
        {"data": "ä" * 2000},
        {"data": TEXT + "=" * 4},
        {"data": "QUJD" * 500 + "QR=="},
        {"data": object()},
    ],
)
def test_what_stays(value: Any) -> None:
    """What is small, is no base64, or would not be written again as it was, stays where it is: the value itself."""
    assert without_media(value, 1000) == (value, {})
    assert without_media(value, 1000)[0] is value


def test_the_same_twice() -> None:
    """One that is there twice is kept once, in tuples too."""
    kept, found = without_media({"a": ({"data": RAW}, {"data": RAW}), 7: [{"data": RAW}]}, 1000)
    assert len(found) == 1
    assert len(list(media_within(kept))) == 3


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more is looked at than was asked for, nor deeper than anybody nests; what is over the limit says so."""
    many = [{"data": "x"}] * 500 + [{"data": RAW}]
    assert without_media(many, 100) == (many, {})
    deep: Any = {"data": RAW}
    for _ in range(100):
        deep = [deep]
    assert without_media(deep, 1000)[1] == {}
    monkeypatch.setattr(media, "MAX_BYTES", 100)
    kept, found = without_media({"data": RAW}, 10)
    assert (kept["data"]["lost"], kept["data"][MEDIA_TYPE], found) == ("over 100 bytes", "application/octet-stream", {})


def test_hints() -> None:
    """What may hold media is told by its encoded form."""
    assert hints_at_media(URL.encode())
    assert not hints_at_media(b"x" * 2000)
    assert not hints_at_media(b"image")
