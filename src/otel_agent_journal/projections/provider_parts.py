"""What requests of providers have in common: media and their types, parameters, which tool is to be called.

Pure. Read are the names of OpenAI, Anthropic, Bedrock, Gemini and LangChain; `openai_request` and `anthropic_request`
write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

_TYPES: Final = ("mime_type", "media_type", "mimeType", "mediaType")
_BASE64: Final = ("data", "base64", "bytes", "file_data", "b64_json", "content")
_URLS: Final = ("url", "uri", "fileUri", "file_uri", "image_url")
_NAMES: Final = ("filename", "name", "title")
_MEDIA: Final = frozenset(
    (
        *("audio", "blob", "document", "file", "fileData", "file_data", "image", "image_url", "inlineData"),
        *("inline_data", "input_audio", "input_file", "input_image", "media", "uri", "video", "video_url"),
    )
)
_MAIN: Final = {
    **dict.fromkeys(("image", "image_url", "input_image"), "image"),
    **dict.fromkeys(("audio", "input_audio"), "audio"),
    **dict.fromkeys(("video", "video_url"), "video"),
}
_LEVELS: Final = 6  # how deep within a block a medium is looked for
_NAMED: Final = {
    "max_tokens": (
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens", "maxOutputTokens"),
        *("max_tokens_to_sample", "num_predict", "max_new_tokens"),
    ),
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "top_k": ("top_k", "topK"),
    "stop": ("stop", "stop_sequences", "stopSequences"),
    "seed": ("seed",),
    "frequency_penalty": ("frequency_penalty", "frequencyPenalty"),
    "presence_penalty": ("presence_penalty", "presencePenalty"),
    "tool_choice": ("tool_choice", "toolChoice"),
    "parallel_tool_calls": ("parallel_tool_calls",),
    "response_format": ("response_format",),
    "reasoning_effort": ("reasoning_effort",),
    "thinking": ("thinking",),
    "service_tier": ("service_tier",),
}
_WITHIN: Final = ("inferenceConfig", "generation_config", "generationConfig", "model_kwargs", "options", "toolConfig")
# What says how a call is made or which model it is, and is no part of a request.
_ASIDE: Final = frozenset(("_type", "model", "model_id", "modelId", "model_name", "stream", "streaming", "timeout"))


class Medium(NamedTuple):
    """A picture, a sound or a document: its type, base64 or an address, and a name where it has one."""

    media_type: str
    data: str | None
    url: str | None
    name: str | None

    @property
    def main(self) -> str:
        """image, audio, video, or what else it is."""
        return self.media_type.partition("/")[0]

    @property
    def as_url(self) -> str:
        """Its address; where it has none one that holds its data."""
        return self.url if self.url is not None else f"data:{self.media_type};base64,{self.data}"


class Request(NamedTuple):
    """A request in a provider's JSON, and what could not be said in it."""

    body: dict[str, Any]
    notes: tuple[str, ...]


def medium_of(block: Any) -> Medium | None:
    """Return the medium that a content block is; None of what is none, or of which nothing is there."""
    if not isinstance(block, Mapping):
        return None
    named = cast("Mapping[str, Any]", block)
    kind = named.get("type") if named.get("type") in _MEDIA else next((key for key in named if key in _MEDIA), None)
    if kind is None:
        return None
    found = list(_mappings(named, _LEVELS))
    said = _first(found, _TYPES)
    form = _first(found, ("format",))
    main = _MAIN.get(str(kind), "image" if "image" in str(kind) else "application")
    for text in _texts(found, kind):
        if text.startswith("data:") and ";base64," in text:
            head, _, data = text.partition(";base64,")
            return Medium(
                head[len("data:") :].partition(";")[0] or said or f"{main}/*", data, None, _first(found, _NAMES)
            )
    media_type = said or (f"{main}/{form}" if form else _MEDIA_BY_DEFAULT.get(main, "application/octet-stream"))
    url = _first(found, _URLS) or (text if isinstance(text := named.get(str(kind)), str) else None)
    if url is not None and "://" in url:
        return Medium(media_type, None, url, _first(found, _NAMES))
    data = _first(found, _BASE64)
    return None if data is None else Medium(media_type, data, None, _first(found, _NAMES))


_MEDIA_BY_DEFAULT: Final = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}


def _texts(found: Iterable[Mapping[str, Any]], kind: Any) -> Iterator[str]:
    for one in found:
        for name in (*_URLS, *_BASE64, kind):
            if isinstance(text := one.get(name), str):
                yield text


def _mappings(block: Mapping[str, Any], levels: int) -> Iterator[Mapping[str, Any]]:
    yield block
    for value in block.values() if levels else ():
        if isinstance(value, Mapping):
            yield from _mappings(cast("Mapping[str, Any]", value), levels - 1)


def _first(found: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    texts = (text for one in found for name in names if isinstance(text := one.get(name), str) and text)
    return next(texts, None)


def text_in(block: Any) -> str | None:
    """Return the text that a content block is, None of what is none."""
    if isinstance(block, str):
        return block
    named: Mapping[str, Any] = cast("Mapping[str, Any]", block) if isinstance(block, Mapping) else {}
    for name in ("text", "refusal", "content"):
        if isinstance(text := named.get(name), str) and named.get("type") not in _MEDIA:
            return text
    return None


def is_thought(block: Any) -> bool:
    """Tell whether a content block is what a model thought."""
    named: Mapping[str, Any] = cast("Mapping[str, Any]", block) if isinstance(block, Mapping) else {}
    kinds = ("reasoning", "redacted_thinking", "thinking")
    return named.get("type") in kinds or "reasoningContent" in named or named.get("thought") is True


def blocks_in(content: Any) -> list[Any]:
    """Return the blocks of a content; a text is one, an empty one none."""
    if isinstance(content, str):
        return [content] if content else []
    return list(cast("Sequence[Any]", content))


def parameters(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return parameters under one name each, those that are None left out, and the names of all others."""
    flat = {name: value for name, value in params.items() if name not in _WITHIN}
    for name in _WITHIN:
        within = params.get(name)
        if isinstance(within, Mapping):
            flat = {**cast("Mapping[str, Any]", within), **flat}
    found: dict[str, Any] = {}
    for one, names in _NAMED.items():
        value = next((flat[name] for name in names if flat.get(name) is not None), None)
        if value is not None:
            found[one] = value
    known = {name for names in _NAMED.values() for name in names} | _ASIDE
    return found, sorted(name for name, value in flat.items() if name not in known and value is not None)


class Choice(NamedTuple):
    """Which tool is to be called: `auto`, `any`, `none`, or `tool` with its name."""

    kind: str
    name: str | None = None


def choice_of(value: Any) -> Choice | None:
    """Return which tool a request says is to be called, in whatever form; None where it cannot be read."""
    if isinstance(value, str):
        return Choice({"required": "any"}.get(value, value)) if value in _CHOICES else Choice("tool", value)
    if not isinstance(value, Mapping):
        return Choice("any") if value is True else None
    named = cast("Mapping[str, Any]", value)
    for kind in ("auto", "any", "none"):
        if named.get("type") == kind or kind in named:
            return Choice(kind)
    for holder in (named.get("function"), named.get("tool"), named):
        name = cast("Mapping[str, Any]", holder).get("name") if isinstance(holder, Mapping) else None
        if isinstance(name, str):
            return Choice("tool", name)
    return None


_CHOICES: Final = ("auto", "any", "none", "required")


def with_ids(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages in which each call and each result has an id; without one, results are of calls in order."""
    made: list[dict[str, Any]] = []
    waiting: list[str] = []
    count = 0
    for message in messages:
        one = dict(message)
        if one.get("tool_calls"):
            waiting, calls = [], list[dict[str, Any]]()
            for call in one["tool_calls"]:
                count += 1
                calls.append({**call, "id": call.get("id") or f"call_{count}"})
                waiting.append(calls[-1]["id"])
            one["tool_calls"] = calls
        elif one["role"] == "tool":
            call_id = one.get("tool_call_id") or (waiting[0] if waiting else f"call_{count + 1}")
            waiting = [other for other in waiting if other != call_id]
            one["tool_call_id"] = call_id
        made.append(one)
    return made
