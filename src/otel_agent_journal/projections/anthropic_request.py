"""A model call's request as Anthropic's Messages API takes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
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

MAX_TOKENS: Final = 4096  # where the request does not say: the API wants a number
_PARAMETERS: Final = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "thinking": "thinking"}
_NO_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_THOUGHTS: Final = ("thinking", "redacted_thinking")


def anthropic_request(prompt: Mapping[str, Any]) -> Request:
    """Return the request of `show --prompt` in Anthropic's JSON: system apart, results in a user's message."""
    notes: list[str] = []
    system: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for message in with_ids(prompt["messages"]):
        if message["role"] == "system":
            system += [block for block in _blocks(message["content"], notes) if block["type"] == "text"]
        else:
            role = "assistant" if message["role"] == "assistant" else "user"
            _add(messages, role, _said(message, notes))
    found, others = parameters(prompt["params"])
    limit = found.pop("max_tokens", None)
    if limit is None:
        notes.append(f"max_tokens is not in the request, and {MAX_TOKENS} was put: Anthropic's API wants one")
    body: dict[str, Any] = {"model": prompt["model"], "max_tokens": MAX_TOKENS if limit is None else limit}
    if system:
        body["system"] = system[0]["text"] if len(system) == 1 else system
    body["messages"] = messages
    if prompt["tools"]:
        body["tools"] = [_tool(tool) for tool in prompt["tools"]]
    for name, theirs in _PARAMETERS.items():
        if name in found:
            body[theirs] = found.pop(name)
    if "stop" in found:
        stop = found.pop("stop")
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    choice = _choice(found.pop("tool_choice", None), found.pop("parallel_tool_calls", None))
    if choice is not None and prompt["tools"]:
        body["tool_choice"] = choice
    if others := [*found, *others]:
        notes.append(f"Anthropic's API has no such parameters: {', '.join(others)}")
    return Request(body, tuple(notes))


def _choice(value: Any, parallel: Any) -> dict[str, Any] | None:
    choice = choice_of(value)
    one_by_one = {"disable_parallel_tool_use": True} if parallel is False else {}
    if choice is None:
        return {"type": "auto", **one_by_one} if one_by_one else None
    named = {"name": choice.name} if choice.name else {}
    return {"type": choice.kind, **named, **(one_by_one if choice.kind != "none" else {})}


def _add(messages: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    """Add what was said; of two in a row by one role Anthropic makes one, in which results come first."""
    if not blocks:
        return
    if not messages or messages[-1]["role"] != role:
        messages.append({"role": role, "content": []})
    content = [*messages[-1]["content"], *blocks]
    content.sort(key=lambda block: block["type"] != "tool_result" if role == "user" else 0)
    messages[-1]["content"] = content


def _said(message: Mapping[str, Any], notes: list[str]) -> list[dict[str, Any]]:
    blocks = _blocks(message["content"], notes)
    if message["role"] == "tool":
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
        return [{**result, "content": blocks} if blocks else result]
    calls = [
        {"type": "tool_use", "id": call["id"], "name": str(call.get("name")), "input": _arguments(call, notes)}
        for call in message.get("tool_calls") or ()
    ]
    return [*blocks, *calls]


def _arguments(call: Mapping[str, Any], notes: list[str]) -> Mapping[str, Any]:
    arguments = call.get("arguments")
    if isinstance(arguments, Mapping):
        return cast("Mapping[str, Any]", arguments)
    if arguments is not None:
        notes.append(f"the arguments of {call.get('name')} are no object, and stand in one here")
    return {} if arguments is None else {"arguments": arguments}


def _blocks(content: Any, notes: list[str]) -> list[dict[str, Any]]:
    return [made for block in blocks_in(content) if (made := _block(block, notes)) is not None]


def _block(block: Any, notes: list[str]) -> dict[str, Any] | None:
    if is_thought(block):
        return _thought(block, notes)
    medium = medium_of(block)
    if medium is not None:
        return _medium(medium, notes)
    text = text_in(block)
    if text is None:
        text = encode_value(block).decode("utf-8", "replace")
    return {"type": "text", "text": text} if text.strip() else None  # the API refuses what is blank


def _thought(block: Mapping[str, Any], notes: list[str]) -> dict[str, Any] | None:
    """Return a thought as it is shown to the model again: Anthropic takes those alone that it has signed."""
    if block.get("type") in _THOUGHTS and (block.get("signature") or block.get("data")):
        return {name: block[name] for name in ("type", "thinking", "signature", "data") if name in block}
    within: Any = block.get("reasoningContent")
    said: Any = cast("Mapping[str, Any]", within).get("reasoningText") if isinstance(within, Mapping) else None
    signed: Mapping[str, Any] = cast("Mapping[str, Any]", said) if isinstance(said, Mapping) else {}
    if signed.get("signature"):
        return {"type": "thinking", "thinking": str(signed.get("text", "")), "signature": signed["signature"]}
    notes.append("a thought without a signature is left out: Anthropic's API takes none")
    return None


def _medium(medium: Medium, notes: list[str]) -> dict[str, Any] | None:
    kind = "image" if medium.main == "image" else "document"
    if medium.main in ("audio", "video"):
        notes.append(f"{medium.media_type} is left out: Anthropic's API takes none")
        return None
    if medium.data is None:
        source: dict[str, Any] = {"type": "url", "url": medium.url}
    else:
        source = {"type": "base64", "media_type": medium.media_type, "data": medium.data}
    named = {"title": medium.name} if medium.name and kind == "document" else {}
    return {"type": kind, "source": source, **named}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    described = {"description": str(tool["description"])} if tool["description"] else {}
    told: Any = tool["parameters"]
    schema = cast("Mapping[str, Any]", told) if isinstance(told, Mapping) else _NO_SCHEMA
    return {"name": str(tool["name"]), **described, "input_schema": {"type": "object", **schema}}
