"""A model call's request as OpenAI's Chat Completions API takes it, and all that speak it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.codec import encode_value
from otel_agent_journal.projections.provider_parts import (
    Medium,
    Request,
    blocks_in,
    choice_of,
    is_thought,
    medium_of,
    parameters,
    text_in,
    with_ids,
)

_PARAMETERS: Final = {
    "max_tokens": "max_completion_tokens",
    **{
        name: name
        for name in (
            *("temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty", "parallel_tool_calls"),
            *("response_format", "reasoning_effort", "service_tier"),
        )
    },
}
_NO_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def openai_request(prompt: Mapping[str, Any]) -> Request:
    """Return the request of `show --prompt` in OpenAI's JSON. Pictures that tools gave are in a user's message."""
    notes: list[str] = []
    body: dict[str, Any] = {
        "model": prompt["model"],
        "messages": list(_messages(with_ids(prompt["messages"]), notes)),
    }
    if prompt["tools"]:
        body["tools"] = [_tool(tool) for tool in prompt["tools"]]
    found, others = parameters(prompt["params"])
    for name, theirs in _PARAMETERS.items():
        if name in found:
            body[theirs] = found.pop(name)
    choice = choice_of(found.pop("tool_choice", None))
    if choice is not None and prompt["tools"]:
        function = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = function if choice.name else {"any": "required"}.get(choice.kind, choice.kind)
    if others := [*found, *others]:
        notes.append(f"OpenAI's API has no such parameters: {', '.join(others)}")
    return Request(body, tuple(notes))


def _messages(messages: Iterable[Mapping[str, Any]], notes: list[str]) -> Iterator[dict[str, Any]]:
    pictures: list[Any] = []  # of tools, whose messages hold text alone: a user shows them behind the last result
    for message in messages:
        role = message["role"]
        if role != "tool" and pictures:
            yield {"role": "user", "content": pictures}
            pictures = []
        blocks = blocks_in(message["content"])
        if role == "tool":
            texts, media = _apart(blocks)
            pictures += [part for medium in media if (part := _part(medium, notes)) is not None]
            yield {"role": "tool", "tool_call_id": message["tool_call_id"], "content": "\n".join(texts)}
        elif role == "assistant":
            yield _assistant(message, blocks, notes)
        else:
            role = role if role in ("system", "user") else "user"
            if role == "system" and (media := _apart(blocks)[1]):
                notes.append(f"{media[0].media_type} is left out: OpenAI's API takes none of the system")
                blocks = [block for block in blocks if medium_of(block) is None]
            content = message["content"] if isinstance(message["content"], str) else _parts(blocks, notes)
            named = {"name": message["name"]} if message.get("name") else {}
            yield {"role": role, "content": content, **named}
    if pictures:
        yield {"role": "user", "content": pictures}


def _assistant(message: Mapping[str, Any], blocks: Iterable[Any], notes: list[str]) -> dict[str, Any]:
    said, media = _apart([block for block in blocks if not is_thought(block)])
    if media:
        notes.append("pictures of the model's own are left out: OpenAI's API takes none of an assistant")
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": str(call.get("name")), "arguments": _as_text(call.get("arguments"))},
        }
        for call in message.get("tool_calls") or ()
    ]
    made: dict[str, Any] = {"role": "assistant", "content": "\n".join(said) or (None if calls else "")}
    if message.get("name"):
        made["name"] = message["name"]
    return {**made, "tool_calls": calls} if calls else made


def _as_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else encode_value(arguments).decode("utf-8", "replace")


def _apart(blocks: Iterable[Any]) -> tuple[list[str], list[Medium]]:
    """Return the texts of blocks, and their media."""
    texts: list[str] = []
    media: list[Medium] = []
    for block in blocks:
        medium = medium_of(block)
        if medium is not None:
            media.append(medium)
            continue
        text = text_in(block)
        texts.append(encode_value(block).decode("utf-8", "replace") if text is None else text)
    return texts, media


def _parts(blocks: Iterable[Any], notes: list[str]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for block in blocks:
        medium = medium_of(block)
        part = _part(medium, notes) if medium is not None else {"type": "text", "text": _apart([block])[0][0]}
        if part is not None:
            parts.append(part)
    return parts


def _part(medium: Medium, notes: list[str]) -> dict[str, Any] | None:
    if medium.main == "image":
        return {"type": "image_url", "image_url": {"url": medium.as_url}}
    form = medium.media_type.rpartition("/")[2].removeprefix("x-")
    if medium.main == "audio" and medium.data is not None:
        return {"type": "input_audio", "input_audio": {"data": medium.data, "format": {"mpeg": "mp3"}.get(form, form)}}
    if medium.main not in ("audio", "video") and medium.data is not None:
        named = {"filename": medium.name or f"document.{form}", "file_data": medium.as_url}
        return {"type": "file", "file": named}
    notes.append(f"{medium.media_type} is left out: OpenAI's API takes none")
    return None


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    described = {"description": str(tool["description"])} if tool["description"] else {}
    told: Any = tool["parameters"]
    parameters = cast("Mapping[str, Any]", told) if isinstance(told, Mapping) else _NO_SCHEMA
    return {"type": "function", "function": {"name": str(tool["name"]), **described, "parameters": parameters}}
