"""Messages and tools of every shape in one: what `show --prompt` promises. Pure.

A message is `{role, content, name?, tool_calls?: [{id, name, args}], tool_call_id?}`, with the roles system, user,
assistant and tool; a tool is `{name, description, parameters}`. Read are the shapes that our frameworks' steps have,
that of the GenAI conventions (role and parts), and those of OpenAI, Anthropic, Bedrock and Gemini.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

_ROLES: Final = {
    "human": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "model": "assistant",
    "developer": "system",
    "function": "tool",
}
_ARGUMENTS: Final = ("args", "arguments", "input")
_SCHEMAS: Final = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "args_schema")
_from_json: Final = msgspec.json.Decoder().decode

Json = Mapping[str, Any]


def messages_in(value: Any, role: str = "user") -> list[dict[str, Any]]:
    """Return the messages that a value amounts to: a list of them, one, an object with `messages`, or a text."""
    if isinstance(value, Mapping) and "messages" in value:
        value = cast("Json", value)["messages"]
    if value is None:
        return []
    return [one for item in _listed(value) for one in _messages(item, role)]


def system_message(instructions: Any) -> dict[str, Any]:
    """Return system instructions, a text or parts, as a message."""
    content = [_block(block) for block in _listed(instructions)]
    return {"role": "system", "content": _content(content)}


def tools_in(value: Any) -> list[dict[str, Any]]:
    """Return the definitions of tools that a value amounts to."""
    return [tool for one in _listed(value) for tool in _tools(one)]


def asks_for_tools(messages: Iterable[Json]) -> bool:
    """Tell whether any of these messages calls a tool."""
    return any(message.get("tool_calls") for message in messages)


# --- messages -----------------------------------------------------------------------------------------------------


def _messages(item: Any, role: str) -> Iterator[dict[str, Any]]:
    """Yield what one message says, each result of a tool in it as a message of its own."""
    if not isinstance(item, Mapping):
        yield {"role": role, "content": item if isinstance(item, str) else _listed(item)}
        return
    said = cast("Json", item)
    if not said.keys() & {"role", "type", "content", "parts", "tool_calls"}:
        yield {"role": role, "content": [dict(said)]}
        return
    spoken = str(said.get("role") or said.get("type") or role)
    spoken = _ROLES.get(spoken, spoken)
    call_id = said.get("tool_call_id") or (said.get("id") if spoken == "tool" and "parts" not in said else None)
    given = said.get("parts", said.get("content"))
    if call_id or (isinstance(given, str) and not said.get("tool_calls")):
        yield _message(spoken, given if given is not None else "", said.get("name"), [], call_id)
        return
    as_given = isinstance(said.get("content"), list) and "parts" not in said  # not made one text of
    blocks, calls = list[Any](), [_call(call) for call in _listed(said.get("tool_calls"))]
    for block in _listed(given):
        result = _result(block)
        if result is not None:
            if blocks:
                yield _message(spoken, blocks if as_given else _content(blocks), said.get("name"), [], None)
                blocks = []
            yield result
        elif (call := _call_within(block)) is not None:
            calls.append(call)
        else:
            blocks.append(_block(block))
    if blocks or calls or not _listed(given):
        content = blocks if as_given and blocks else _content(blocks)
        yield _message(spoken, content, said.get("name"), calls, None)


def _message(role: str, content: Any, name: Any, calls: list[dict[str, Any]], call_id: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "role": role,
        "content": content if isinstance(content, str) else [_block(block) for block in _listed(content)],
    }
    if name:
        made["name"] = name
    if calls:
        made["tool_calls"] = calls
    if call_id:
        made["tool_call_id"] = call_id
    return made


def _content(blocks: list[Any]) -> Any:
    """Return content: a text alone as text."""
    if not blocks:
        return ""
    only: Any = blocks[0]
    if len(blocks) > 1:
        return blocks
    named = _mapping(only)
    if isinstance(named.get("text"), str) and not named.keys() - {"type", "text"}:
        return named["text"]
    return only if isinstance(only, str) else blocks


def _block(block: Any) -> Any:
    """Return a content block; a part of the conventions that is a text as the text block that it is elsewhere."""
    named = _mapping(block)
    is_part = named.get("type") == "text" and "content" in named and "text" not in named
    return {"type": "text", "text": named["content"]} if is_part else block


def _result(block: Any) -> dict[str, Any] | None:
    named = _mapping(block)
    if "toolResult" in named:
        result = _mapping(named["toolResult"])
        return _message("tool", _content(_listed(result.get("content"))), None, [], result.get("toolUseId"))
    if named.get("type") == "tool_call_response":
        given = named.get("response", named.get("result"))
        return _message("tool", _content(_listed(given)), None, [], named.get("id"))
    if named.get("type") == "tool_result":
        return _message("tool", _content(_listed(named.get("content"))), None, [], named.get("tool_use_id"))
    return None


def _call_within(block: Any) -> dict[str, Any] | None:
    named = _mapping(block)
    if "toolUse" in named:
        return _call({**_mapping(named["toolUse"]), "id": _mapping(named["toolUse"]).get("toolUseId")})
    return _call(named) if named.get("type") in ("tool_call", "tool_use") else None


def _call(call: Any) -> dict[str, Any]:
    named = _mapping(call)
    function = _mapping(named.get("function")) or named
    args = next((function[key] for key in _ARGUMENTS if key in function), None)
    return {"id": named.get("id"), "name": function.get("name"), "args": _decoded(args)}


# --- tools --------------------------------------------------------------------------------------------------------


def _tools(tool: Any) -> Iterator[dict[str, Any]]:
    named = _mapping(tool)
    several: Any = named.get("function_declarations", named.get("functionDeclarations"))
    if several is not None:
        yield from tools_in(several)
        return
    for within in ("function", "toolSpec"):
        if isinstance(named.get(within), Mapping):
            named = cast("Json", named[within])
    if not named:
        yield {"name": str(tool), "description": None, "parameters": None}
        return
    schema: Any = next((named[key] for key in _SCHEMAS if named.get(key) is not None), None)
    inner = _mapping(schema)
    yield {
        "name": named.get("name", named.get("type")),
        "description": named.get("description"),
        "parameters": inner["json"] if list(inner) == ["json"] else _decoded(schema),
    }


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else [value]


def _mapping(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, Mapping) else {}


def _decoded(value: Any) -> Any:
    """Return what a JSON text of an object stands for; anything else as it is."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return _from_json(value)
    except (msgspec.DecodeError, RecursionError):
        return value
