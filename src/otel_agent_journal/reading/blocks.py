"""Content of messages as people read it: its texts, what was thought, and of media what they are, not what is in them.

Blocks come in the shapes of OpenAI, Anthropic, Bedrock, Gemini, LangChain and the GenAI conventions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import encode_value
from otel_agent_journal.mapping.media import BLOB, MEDIA_TYPE, UNKNOWN, is_medium, without_media
from otel_agent_journal.reading.values import mappings_in

TEXT: Final = "text"
REASONING: Final = "reasoning"
MEDIUM: Final = "medium"
DATA: Final = "data"
_TEXTS: Final = ("text", "content", "refusal", "output_text")
_THOUGHTS: Final = ("thinking", "reasoning", "text", "content", "reasoningText", "summary", "data")
_REASONING: Final = frozenset(("reasoning", "reasoning_content", "redacted_thinking", "thinking"))
_MEDIA: Final = frozenset(
    (
        *("audio", "blob", "document", "file", "file_data", "fileData", "image", "image_url", "inline_data"),
        *("inlineData", "input_audio", "input_file", "input_image", "media", "uri", "video", "video_url"),
    )
)
_KINDS: Final = {"input_audio": "audio", "input_image": "image", "image_url": "image", "video_url": "video"}
_ADDRESSES: Final = ("url", "uri", "fileUri", "file_uri", "image_url", "file_id", "fileId")
_NAMES: Final = ("filename", "name", "title")
_MOST: Final = 200  # values that are looked at within a block
_KB: Final = 1000


class Block(NamedTuple):
    """A piece of content: its kind, and what is shown of it."""

    kind: str
    text: str


def blocks_of(content: Any) -> Iterator[Block]:
    """Yield the pieces of a message's content, in order."""
    if content is None or content == "":
        return
    for one in cast("list[Any]", content) if isinstance(content, list | tuple) else (content,):
        yield _block(one)


def text_of(content: Any) -> str:
    """Return the words of a content, and its media in brackets, without what was thought."""
    return "\n".join(block.text for block in blocks_of(content) if block.kind != REASONING)


def _block(one: Any) -> Block:
    if isinstance(one, str):
        return Block(TEXT, one)
    if not isinstance(one, Mapping):
        return Block(DATA, _json(one))
    block = cast("Mapping[str, Any]", one)
    kind = str(block.get("type") or "")
    if is_medium(block):
        return Block(MEDIUM, _named("", (block,)))
    if isinstance(block.get(BLOB), str):
        return Block(TEXT, str(block.get("preview", "")))
    if kind in _REASONING or block.get("thought") is True or "reasoningContent" in block:
        return Block(REASONING, _thought(block.get("reasoningContent", block)))
    medium = kind if kind in _MEDIA else next((name for name in block if name in _MEDIA), "")
    if medium:
        return Block(MEDIUM, _medium(medium, block))
    text = next((text for name in _TEXTS if isinstance(text := block.get(name), str)), None)
    return Block(DATA, _json(block)) if text is None else Block(TEXT, text)


def _thought(value: Any) -> str:
    """Return the words in a thought, however its provider wraps them; of one that is encrypted, that it is."""
    texts: list[str] = []
    pending: list[Any] = [value]
    while pending and len(texts) < _MOST:
        one = pending.pop()
        if isinstance(one, str):
            texts.append(one)
        elif isinstance(one, list | tuple):
            pending.extend(reversed(cast("list[Any]", one)))
        elif isinstance(one, Mapping):
            named = cast("Mapping[str, Any]", one)
            if "redactedContent" in named or named.get("type") == "redacted_thinking":
                texts.append("[redacted]")
            else:
                pending.extend(named[name] for name in reversed(_THOUGHTS) if name in named)
    return "\n".join(texts)


def _medium(kind: str, block: Mapping[str, Any]) -> str:
    """Return what a medium is: `[image/png 147 KB]`; of one that is somewhere else, where."""
    apart, _ = without_media(block, _MOST)
    within = list(mappings_in(apart, lambda mapping: not is_medium(mapping)))
    return _named(_KINDS.get(kind, kind), within)


def _named(kind: str, within: Any) -> str:
    found = cast("list[Mapping[str, Any]]", within)
    reference = next((one for one in found if is_medium(one)), None)
    said = [_said_type(one) for one in found]
    media_type = next((one for one in said if one), "")
    if reference is not None:
        known = reference[MEDIA_TYPE]
        parts = [str(known if known != UNKNOWN else media_type or kind or known), size(reference.get("bytes"))]
    else:
        address = next((text for one in found for name in _ADDRESSES if (text := _address(one.get(name)))), "")
        parts = [media_type or _modality(found) or kind, address]
    name = next((text for one in found for part in _NAMES if isinstance(text := one.get(part), str)), "")
    return f"[{' '.join(part for part in (*parts, name) if part)}]"


def _said_type(one: Mapping[str, Any]) -> str:
    found = next((one[key] for key in ("mime_type", "media_type", "mimeType", "mediaType") if key in one), None)
    return found if isinstance(found, str) else ""


def _modality(found: list[Mapping[str, Any]]) -> str:
    return next((str(one["modality"]) for one in found if isinstance(one.get("modality"), str)), "")


def _address(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return value.partition(",")[0] if value.startswith("data:") else value


def size(count: Any) -> str:
    """Return a size as people say it: 812 B, 147 KB, 2.1 MB; nothing of what is no number."""
    if type(count) is not int:
        return ""
    if count < _KB:
        return f"{count} B"
    return f"{count / _KB:.0f} KB" if count < 999_500 else f"{count / _KB**2:.1f} MB"


def _json(value: Any) -> str:
    return encode_value(value).decode("utf-8", "replace")
