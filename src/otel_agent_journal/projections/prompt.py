"""Messages and tools of every shape in one: what `show --prompt` promises. Pure.

A message is `{role, content, name?, reasoning?, tool_calls?: [{id, name, arguments}], tool_call_id?}`, with the roles
system, user, assistant and tool; a tool is `{name, description, parameters}`. Read are the shapes that our frameworks'
steps have, that of the GenAI conventions (role and parts), and those of OpenAI, Anthropic, Bedrock and Gemini.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import mapping_of

_ROLES: Final = {
    "human": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "HumanMessageChunk": "user",
    "model": "assistant",
    "developer": "system",
    "function": "tool",
}
_ARGUMENTS: Final = ("arguments", "args", "input")
_IDS: Final = ("call_id", "toolUseId", "id")
_CALLS: Final = frozenset(("function_call", "server_tool_use", "tool_call", "tool_use"))  # types of blocks
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
    if "role" not in said and (alone := _alone(said)) is not None:
        yield alone
        return
    if not said.keys() & {"role", "type", "content", "parts", "tool_calls"}:
        yield {"role": role, "content": [dict(said)]}
        return
    spoken = str(said.get("role") or said.get("type") or role)
    spoken = _ROLES.get(spoken, spoken)
    call_id = said.get("tool_call_id") or (said.get("id") if spoken == "tool" and "parts" not in said else None)
    given = said.get("parts", said.get("content"))
    calls = _calls_beside(said)
    if call_id or (isinstance(given, str) and given and not calls):
        yield _message(spoken, given if given is not None else "", said, [], call_id)
        return
    yield from _of_blocks(said, spoken, given, calls)


def _alone(item: Json) -> dict[str, Any] | None:
    """Return what an item says that is a call or a result by itself, as the Responses API lists them."""
    result = _result(item)
    if result is not None:
        return result
    call = _call_within(item)
    return None if call is None else {"role": "assistant", "content": "", "tool_calls": [call]}


def _calls_beside(said: Json) -> list[dict[str, Any]]:
    """Return the calls that stand beside a message's content; those that a model wrote wrongly, too."""
    asked = [*_listed(said.get("tool_calls")), *_listed(said.get("invalid_tool_calls"))]
    if isinstance(said.get("function_call"), Mapping):  # as OpenAI had it before there were several
        asked.append(said["function_call"])
    return [_call(call) for call in asked]


def _of_blocks(said: Json, spoken: str, given: Any, calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    as_given = isinstance(said.get("content"), list) and "parts" not in said  # not made one text of
    known = {call["id"] for call in calls if call["id"]}
    blocks, listed = list[Any](), [] if given == "" else _listed(given)
    for block in listed:
        result = _result(block)
        if result is not None:
            if blocks:
                yield _message(spoken, blocks if as_given else _content(blocks), said, [], None)
                blocks = []
            yield result
        elif (call := _call_within(block)) is not None:
            calls += [] if call["id"] in known else [call]  # LangChain has those of Anthropic at both places
        else:
            blocks.append(_block(block))
    if not blocks and not calls and said.get("refusal"):
        blocks.append({"type": "refusal", "refusal": said["refusal"]})
    if blocks or calls or not listed:
        yield _message(spoken, blocks if as_given and blocks else _content(blocks), said, calls, None)


def _message(role: str, content: Any, said: Json, calls: list[dict[str, Any]], call_id: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "role": role,
        "content": content if isinstance(content, str) else [_block(block) for block in _listed(content)],
    }
    if said.get("name"):
        made["name"] = said["name"]
    thought = said.get("reasoning_content") or mapping_of(said.get("additional_kwargs")).get("reasoning_content")
    if isinstance(thought, str) and thought:
        made["reasoning"] = thought
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
    named = mapping_of(only)
    if isinstance(named.get("text"), str) and not named.keys() - {"type", "text"}:
        return named["text"]
    return only if isinstance(only, str) else blocks


def _block(block: Any) -> Any:
    """Return a content block; a part of the conventions that is a text as the text block that it is elsewhere."""
    named = mapping_of(block)
    is_part = named.get("type") == "text" and "content" in named and "text" not in named
    return {"type": "text", "text": named["content"]} if is_part else block


def _result(block: Any) -> dict[str, Any] | None:
    """Return the result of a tool that a block is, as a message; None of what is none."""
    named = mapping_of(block)
    if "toolResult" in named:
        result = mapping_of(named["toolResult"])
        return _message("tool", _content(_listed(result.get("content"))), {}, [], result.get("toolUseId"))
    for key in ("functionResponse", "function_response"):
        if isinstance(named.get(key), Mapping):
            result = mapping_of(named[key])
            return _message("tool", _content(_listed(result.get("response"))), result, [], result.get("id"))
    match named.get("type"):
        case "tool_call_response":
            given = named.get("response", named.get("result"))
            return _message("tool", _content(_listed(given)), {}, [], named.get("id"))
        case "tool_result":
            return _message("tool", _content(_listed(named.get("content"))), {}, [], named.get("tool_use_id"))
        case "function_call_output":
            return _message("tool", _content(_listed(named.get("output"))), {}, [], named.get("call_id"))
        case _:
            return None


def _call_within(block: Any) -> dict[str, Any] | None:
    named = mapping_of(block)
    for key in ("toolUse", "functionCall", "function_call"):
        if isinstance(named.get(key), Mapping) and "role" not in named:
            return _call(named[key])
    return _call(named) if named.get("type") in _CALLS else None


def _call(call: Any) -> dict[str, Any]:
    named = mapping_of(call)
    function = mapping_of(named.get("function")) or named
    arguments = next((function[key] for key in _ARGUMENTS if key in function), None)
    own_id = next((named[key] for key in _IDS if named.get(key)), None)
    return {"id": own_id, "name": function.get("name"), "arguments": _decoded(arguments)}


# --- tools --------------------------------------------------------------------------------------------------------


def _tools(tool: Any) -> Iterator[dict[str, Any]]:
    named = mapping_of(tool)
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
    inner = mapping_of(schema)
    yield {
        "name": named.get("name", named.get("type")),
        "description": named.get("description"),
        "parameters": inner["json"] if list(inner) == ["json"] else _decoded(schema),
    }


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else [value]


def _decoded(value: Any) -> Any:
    """Return what a JSON text of an object stands for; anything else as it is."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return _from_json(value)
    except (msgspec.DecodeError, RecursionError):
        return value
