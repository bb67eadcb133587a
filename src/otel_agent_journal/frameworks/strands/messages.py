"""Messages of Strands as plain data, each journaled once a session.

Strands has Bedrock's shape: a role and content blocks, a tool's result being a block of a user message. The journal has
one message for each thing said, and one for each result of a tool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from otel_agent_journal.event import Usage
from otel_agent_journal.foreign import is_a, type_of
from otel_agent_journal.mapping import usage
from otel_agent_journal.mapping.classes import CLASSES, classes_in
from otel_agent_journal.pipeline.conversation import Conversation
from otel_agent_journal.pipeline.history import History


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


def said_in(message: Mapping[str, Any]) -> str:
    """Return the text of a message, without what was thought, asked for or shown beside it."""
    blocks: Any = message.get("content") or ()
    return "".join(
        str(cast("Mapping[str, Any]", block)["text"])
        for block in cast("Sequence[Any]", blocks)
        if is_a(block, dict) and "text" in block
    )


def printed_in(result: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what a tool's result says that code printed: its texts, and output and stdout of its JSON."""
    blocks: Any = result.get("content") or ()
    for block in cast("Sequence[Any]", blocks):
        if is_a(block, dict):
            yield cast("Mapping[str, Any]", block).get("text")
            data: Any = cast("Mapping[str, Any]", block).get("json")
            if is_a(data, dict):
                yield from (cast("Mapping[str, Any]", data).get(name) for name in ("stdout", "output"))


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


def conversation() -> Conversation:
    """Return a conversation of Strands' messages: it is handed copies, which are equal where nothing was changed."""
    return Conversation(plain_messages, same=_same)


def _same(shown: Any, message: Any) -> bool:
    return _equal(shown.get("content"), message.get("content")) and _equal(shown.get("role"), message.get("role"))


def _equal(one: Any, other: Any) -> bool:
    """Tell whether two values are the same and of JSON's own classes: an object of another is not asked."""
    if one is other:  # as texts are in copies
        return True
    kind: type = type_of(one)
    if kind is not type_of(other):
        return False
    if kind is dict:
        if len(one) != len(other):
            return False
        for key, value in one.items():
            if type(key) is not str or key not in other or not _equal(value, other[key]):
                return False
        return True
    if kind is list:
        return len(one) == len(other) and all(map(_equal, one, other))
    is_scalar = kind is str or kind is int or kind is float or kind is bool or kind is bytes  # a class is not hashed
    return is_scalar and bool(one == other)


def answer(message: Mapping[str, Any], history: History) -> Any:
    """Return a model's answer as plain data, which is in the journal from here on."""
    said = [history.origin(one) for one in plain_messages(message)]
    return said[0] if len(said) == 1 else said


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


def counted_of(usage: Usage | None) -> dict[str, int]:
    """Return the tokens of a model call as Strands counts them, where none of them are of a cache."""
    asked, answered = (0, 0) if usage is None else (usage.input_tokens or 0, usage.output_tokens or 0)
    return {"inputTokens": asked, "outputTokens": answered, "totalTokens": asked + answered}


def raw_of(plain: Any, usage: Usage | None, stop: Sequence[Any]) -> dict[str, Any]:
    """Return what of an answer does not follow from its plain form and its tokens, under Strands' names.

    Args:
        plain: what `answer` returned.
        usage: what `usage_of` returned.
        stop: of the event: reason, message, tokens and metrics.
    """
    _, message, counted, metrics = stop
    raw: dict[str, Any] = {} if _equal(message_of(plain), message) else {"message": message}
    if not _equal(counted_of(usage), counted):
        raw["usage"] = counted
    if metrics:
        raw["metrics"] = metrics
    classes = classes_in({"message": message, "usage": counted, "metrics": metrics})
    return {**raw, CLASSES: classes} if classes else raw


def usage_of(counted: Any) -> Usage | None:
    """Return the tokens of one model call; Strands counts nothing as noughts."""
    found = usage.usage_of(counted)
    return found if found != Usage() else None
