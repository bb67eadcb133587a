"""What dialects put into attribute values, as plain data: JSON texts, lists flattened into keys, messages. Pure.

Nothing here raises, whatever a value is, and everything is linear in what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from otel_agent_journal.mapping.content import decoded

_MAX_DIGITS: Final = 9  # of an index in a key; what has more is no index

Json = Mapping[str, Any]


def mapping(value: Any) -> dict[str, Any]:
    """Return an object, or what a JSON text of one stands for; of anything else an empty one."""
    found = decoded(value)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return the items of a list; anything else as the only item, nothing as none."""
    if value is None:
        return []
    return list(cast("Iterable[Any]", value)) if isinstance(value, list | tuple) else [value]


def text_of(value: Any) -> str | None:
    """Return a value that is a text and not empty."""
    return value if isinstance(value, str) and value else None


def items(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Return a list that was flattened into keys `prefix0.a`, `prefix0.b`, `prefix1.a`, in the order of its indices.

    An item that is a value itself (`prefix0`) is under the empty key.
    """
    found: dict[int, dict[str, Any]] = {}
    start = len(prefix)
    for key, value in attributes.items():
        if key.startswith(prefix):
            index, _, rest = key[start:].partition(".")
            if len(index) <= _MAX_DIGITS and index.isascii() and index.isdecimal():
                found.setdefault(int(index), {})[rest] = value
    return [found[index] for index in sorted(found)]


# --- messages -----------------------------------------------------------------------------------------------------


def message(role: Any, content: Any, *, calls: Iterable[Json] = (), call_id: Any = None) -> dict[str, Any] | None:
    """Return a message as the conventions have it: a role and parts. None where it says nothing.

    Args:
        content: a text, or blocks of any provider, or the JSON of these.
        calls: of tools, each with id, name and arguments.
        call_id: the call that a tool's message answers.
    """
    said = decoded(content)
    parts: list[Any]
    if call_id is not None:
        parts = [{"type": "tool_call_response", "id": call_id, "response": said}]
    else:
        parts = [part(block) for block in listed(said) if block not in ("", None)]
    parts += [tool_call(call.get("id"), call.get("name"), call.get("arguments")) for call in calls]
    return {"role": str(role or "user"), "parts": parts} if parts else None


def tool_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Return a call of a tool as a message's part."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": decoded(arguments)}


def part(block: Any) -> Any:
    """Return a content block of any provider as a message's part; what nobody knows is left as it is."""
    if not isinstance(block, dict):
        return {"type": "text", "content": block}
    named = cast("dict[str, Any]", block)
    if "toolUse" in named:
        use = mapping(named["toolUse"])
        return tool_call(use.get("toolUseId"), use.get("name"), use.get("input"))
    if "toolResult" in named:
        result = mapping(named["toolResult"])
        given = result_of(result.get("content"))
        return {"type": "tool_call_response", "id": result.get("toolUseId"), "response": given}
    if "reasoningContent" in named or named.get("type") == "reasoningContent":
        thought = mapping(mapping(named.get("reasoningContent", named.get("content"))).get("reasoningText"))
        return {"type": "reasoning", "content": thought.get("text")}
    if named.get("type") == "tool_use":
        return tool_call(named.get("id"), named.get("name"), named.get("input"))
    if named.get("type") == "tool_result":
        return {"type": "tool_call_response", "id": named.get("tool_use_id"), "response": named.get("content")}
    if "text" in named and named.get("type", "text") == "text":
        return {"type": "text", "content": named["text"]}
    return named


def whole_message(value: Any, role: str) -> dict[str, Any] | None:
    """Return a message that came as one value: an object with a role and content or parts, or the content alone."""
    said = decoded(value)
    if not isinstance(said, dict):
        return message(role, said)
    named = cast("dict[str, Any]", said)
    if "parts" in named:
        return {**named, "parts": [part(piece) for piece in listed(named["parts"])]}
    if "content" not in named and "tool_calls" not in named:
        return message(role, [named])
    calls = [_called(call) for call in listed(decoded(named.get("tool_calls")))]
    spoken = str(named.get("role") or role)
    call_id = (named.get("tool_call_id") or named.get("id")) if spoken == "tool" else None
    return message(spoken, named.get("content"), calls=calls, call_id=call_id)


def _called(call: Any) -> dict[str, Any]:
    named = mapping(call)
    function = mapping(named.get("function")) or named
    return {"id": named.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}


def result_of(content: Any) -> Any:
    """Return what a tool gave back, without the blocks it may be wrapped in: its text, its data, or what it was."""
    blocks = decoded(content)
    if not isinstance(blocks, list):
        return blocks
    found: list[Any] = []
    for block in cast("list[Any]", blocks):
        named = cast("dict[str, Any]", block) if isinstance(block, dict) else {}
        if len(named) != 1 or not named.keys() & {"text", "json"}:
            return cast("Any", blocks)
        found += named.values()
    if len(found) == 1:
        return found[0]
    return "".join(found) if all(isinstance(text, str) for text in found) else found


# --- LangChain, which several dialects write down -----------------------------------------------------------------


def langchain_message(value: Any) -> dict[str, Any]:
    """Return the fields of a message that LangChain wrote down, in either of its ways; of anything else none."""
    found = mapping(value)
    for fields in ("kwargs", "data"):
        inner = found.get(fields)
        if isinstance(inner, dict) and "content" in inner and ("lc" in found or "type" in found):
            return cast("dict[str, Any]", inner)
    return {}


def langgraph_kind(name: str, metadata: Mapping[str, Any]) -> str | None:
    """Return AGENT, NODE or WORKFLOW for a chain of LangGraph, by the metadata it runs with; None for any other."""
    node = metadata.get("langgraph_node")
    if node == name:
        return "NODE"
    if metadata.get("lc_agent_name") == name:
        return "AGENT"
    return "WORKFLOW" if node is None and metadata.get("ls_integration") == "langgraph" else None
