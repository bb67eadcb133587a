"""Messages in the shape of Bedrock's Converse, which is Strands' too, as plain data and back. Pure.

There a message is a role and content blocks, and a tool's result a block of a user's message. The journal has one
message for each thing said, and one for each result of a tool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from otel_agent_journal.foreign import is_a


def plain_messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a message says, in order: each tool's result as a message, blocks and calls between them as one."""
    role = str(message.get("role", "user"))
    found: list[dict[str, Any]] = []
    said: list[Any] = []
    calls: list[dict[str, Any]] = []
    blocks: Any = message.get("content") or ()
    for block in cast("Sequence[Any]", blocks if is_a(blocks, list, tuple) else [blocks]):
        named = cast("Mapping[str, Any]", block if is_a(block, dict) else {})
        if "toolUse" in named:
            use: Any = named["toolUse"]
            calls.append({"id": use.get("toolUseId"), "name": use.get("name"), "args": use.get("input")})
        elif "toolResult" in named:
            if said or calls:
                found.append(_message(message, role, said, calls))
                said, calls = [], []
            found.append(plain_result(named["toolResult"]))
        else:
            said.append(block)
    if said or calls or not found:
        found.append(_message(message, role, said, calls))
    return found


def _message(message: Mapping[str, Any], role: str, said: list[Any], calls: list[dict[str, Any]]) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": role, "content": content_of(said)}
    own_id: Any = message.get("tracking_id") if role == "user" else None  # an answer has none yet as it is journaled
    if own_id:
        plain["id"] = str(own_id)
    if calls:
        plain["tool_calls"] = calls
    return plain


def content_of(blocks: list[Any]) -> Any:
    """Return content blocks as the content of a message: a text alone as text, anything else as it is."""
    if not blocks:
        return ""
    only: Any = blocks[0]
    if len(blocks) == 1 and is_a(only, dict):
        block = cast("Mapping[str, Any]", only)
        if len(block) == 1 and type(block.get("text")) is str:
            return block["text"]
    return only if len(blocks) == 1 and type(only) is str else blocks


def plain_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's result as a message."""
    given: Any = result.get("content") or ()
    plain: dict[str, Any] = {
        "role": "tool",
        "content": content_of(list(cast("Sequence[Any]", given if is_a(given, list, tuple) else [given]))),
        "tool_call_id": result.get("toolUseId"),
    }
    if result.get("status") == "error":
        plain["status"] = "error"
    return plain


def system_message(prompt: Any) -> dict[str, Any]:
    """Return a system prompt, a text or blocks, as a message."""
    return {"role": "system", "content": prompt if type(prompt) is list else [{"text": prompt}]}


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Return what a model thought before it answered."""
    texts: list[str] = []
    for block in cast("Sequence[Any]", message.get("content") or ()):
        if is_a(block, dict) and "reasoningContent" in block:
            thought: Any = cast("Mapping[str, Any]", block).get("reasoningContent") or {}
            text: Any = thought.get("reasoningText") or {}
            texts.append(str(text.get("text") or ""))
    return "\n".join(filter(None, texts))


def message_of(plain: Any) -> dict[str, Any]:
    """Return the message that an answer is the plain form of: texts and other blocks, and behind them the calls."""
    blocks: list[Any] = []
    role = "assistant"
    for one in cast("Sequence[Mapping[str, Any]]", plain if type(plain) is list else [plain]):
        role, content = one["role"], one["content"]
        blocks += content if type(content) is list else [{"text": content}] if content else []
        blocks += [
            {"toolUse": {"toolUseId": call["id"], "name": call["name"], "input": call["args"]}}
            for call in one.get("tool_calls", ())
        ]
    return {"role": role, "content": blocks}
