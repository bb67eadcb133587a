"""Content as people read it: words as words, thoughts as thoughts, media by what they are."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from otel_agent_journal.mapping.media import without_media
from otel_agent_journal.reading.blocks import DATA, MEDIUM, REASONING, TEXT, blocks_of, size, text_of

PICTURE = b64encode(bytes(range(256)) * 576).decode()  # 147,456 bytes
URL = f"data:image/png;base64,{PICTURE}"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, []),
        ("", []),
        ("a", [(TEXT, "a")]),
        ([], []),
        (["a", {"type": "text", "text": "b"}, {"text": "c"}], [(TEXT, "a"), (TEXT, "b"), (TEXT, "c")]),
        ([{"type": "output_text", "text": "a"}], [(TEXT, "a")]),
        ([{"type": "text", "content": "a"}], [(TEXT, "a")]),
        ([{"type": "refusal", "refusal": "no"}], [(TEXT, "no")]),
        (7, [(DATA, "7")]),
        ({"found": 3}, [(DATA, '{"found":3}')]),
        ([{"$blob": "d", "bytes": 9, "preview": "the beg"}], [(TEXT, "the beg")]),
    ],
)
def test_words(content: Any, shown: list[tuple[str, str]]) -> None:
    """Texts of every provider; what is no text is data."""
    assert list(blocks_of(content)) == shown


@pytest.mark.parametrize(
    ("block", "thought"),
    [
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, "hm"),
        ({"type": "redacted_thinking", "data": "xx"}, "[redacted]"),
        ({"type": "reasoning", "reasoning": "hm"}, "hm"),
        ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"text": "b"}]}, "a\nb"),
        ({"type": "reasoning", "id": "r", "summary": []}, ""),
        ({"type": "reasoning_content", "reasoning_content": {"text": "x"}, "text": "hm"}, "hm"),
        ({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, "hm"),
        ({"reasoningContent": {"redactedContent": "xx"}}, "[redacted]"),
        ({"text": "hm", "thought": True}, "hm"),
    ],
)
def test_thoughts(block: Any, thought: str) -> None:
    """However a provider wraps them."""
    assert list(blocks_of([block])) == [(REASONING, thought)]
    assert text_of([block, "said"]) == "said"


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        ({"type": "image_url", "image_url": {"url": URL}}, "[image/png 147 KB]"),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, "[image https://x/y.png]"),
        ({"type": "input_image", "image_url": URL}, "[image/png 147 KB]"),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PICTURE}},
            "[image/gif 147 KB]",
        ),
        ({"type": "image", "base64": PICTURE, "mime_type": "image/webp"}, "[image/webp 147 KB]"),
        ({"image": {"format": "png", "source": {"bytes": PICTURE}}}, "[image/png 147 KB]"),
        (
            {"document": {"format": "pdf", "name": "paper", "source": {"bytes": PICTURE}}},
            "[application/pdf 147 KB paper]",
        ),
        ({"inlineData": {"mimeType": "image/png", "data": PICTURE}}, "[image/png 147 KB]"),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a/b"}}, "[video/mp4 gs://a/b]"),
        ({"type": "input_audio", "input_audio": {"data": PICTURE, "format": "mp3"}}, "[audio/mp3 147 KB]"),
        ({"type": "blob", "modality": "image", "content": "AAAA"}, "[image]"),
        ({"type": "uri", "modality": "image", "uri": "https://x"}, "[image https://x]"),
        ({"type": "file", "file": {"file_id": "f-1"}}, "[file f-1]"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "[image data:image/png;base64]"),
    ],
)
def test_media(block: Any, shown: str) -> None:
    """Type, size and name; the same of one that is kept apart, and never what is in it."""
    assert list(blocks_of([block])) == [(MEDIUM, shown)]
    apart, _ = without_media(block, 100)
    assert list(blocks_of([apart])) == [(MEDIUM, shown)]
    assert text_of(["look:", block]) == f"look:\n{shown}"


def test_a_medium_alone() -> None:
    """A reference to one is shown as it."""
    assert text_of([{"$blob": "d", "bytes": 2_100_000, "media_type": "video/mp4"}]) == "[video/mp4 2.1 MB]"


def test_sizes() -> None:
    """In the units that people use."""
    assert [size(count) for count in (812, 999, 1000, 147_456, 999_499, 999_500, "x", None)] == [
        *("812 B", "999 B", "1 KB", "147 KB", "999 KB", "1.0 MB", "", "")
    ]
