"""Messages of content blocks, as Bedrock's Converse API and Strands have them, and the events that they are kept as.

A message is one event, verbatim but for its tool calls and tool results: each of these is an event of its own behind
it, a part. Pure; knows no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Final, cast

from otel_agent_journal.context.history import ASSISTANT, TOOL_CALL, TOOL_RESULT, USER
from otel_agent_journal.context.messages import Draft, Message

INTERRUPTED: Final = "Tool was interrupted."
_PARTS: Final = {"toolUse": (TOOL_CALL, "call"), "toolResult": (TOOL_RESULT, "result")}


def drafts_of_blocks(message: Mapping[str, Any], **more: Any) -> list[Draft]:
    """Return the events that a message is kept as.

    Args:
        message: with `role` and `content`, a list of blocks.
        more: what the details of its first event say beside it.
    """
    kind = ASSISTANT if message.get("role") == "assistant" else USER
    content: Any = message.get("content")
    said, places, parts = dict(message), list[list[Any]](), list[Draft]()
    if isinstance(content, list):
        said["content"] = [
            _without_part(block, ["content", index], places, parts)
            for index, block in enumerate(cast("list[Any]", content))
        ]
    details: dict[str, Any] = {"message": said, **more}
    if parts:
        details["parts"] = places
        if is_repair(message):
            details["repair"] = True
    return [Draft(kind, details), *parts]


def _without_part(block: Any, place: list[Any], places: list[list[Any]], parts: list[Draft]) -> Any:
    """Return a block without its call or result, which becomes a draft."""
    if not isinstance(block, dict):
        return block
    whole = cast("dict[str, Any]", block)
    for key, (kind, field) in _PARTS.items():
        part = whole.get(key)
        if isinstance(part, dict):
            name = cast("dict[str, Any]", part).get("name")
            places.append([*place, key])
            parts.append(Draft(kind, {field: part, "part": True}, name if isinstance(name, str) else None))
            return {**whole, key: None}
    return whole


def calls_of(message: Mapping[str, Any]) -> list[str]:
    """Return the ids of the tool calls of a message."""
    return [str(part.get("toolUseId")) for part in _parts_of(message, "toolUse")]


def results_of(message: Mapping[str, Any]) -> list[str]:
    """Return the ids of the calls that a message has results of."""
    return [str(part.get("toolUseId")) for part in _parts_of(message, "toolResult")]


def _parts_of(message: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    content: Any = message.get("content")
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    return [block[key] for block in blocks if isinstance(block, dict) and isinstance(block.get(key), dict)]


def is_repair(message: Mapping[str, Any]) -> bool:
    """Tell whether a message says of nothing but calls that were interrupted, as is put in the place of results."""
    results = _parts_of(message, "toolResult")
    return (
        bool(results)
        and len(results) == len(message["content"])
        and all(one == _interrupted(str(one.get("toolUseId")))["toolResult"] for one in results)
    )


def is_unfinished(messages: list[Message]) -> bool:
    """Tell whether a conversation waits for its agent: for tools to run, or for the model to answer."""
    return bool(messages) and (messages[-1].get("role") != "assistant" or bool(calls_of(messages[-1])))


def well_formed(messages: Iterable[Message], new_id: Callable[[], str]) -> list[Message]:
    """Return a conversation that a model takes: each call with its one result, in the message behind it.

    A result that stands further down, since another process wrote between the two, goes up to its call. A call without
    any gets one that says that the tool was interrupted; a result without its call goes. Calls in the last message stay
    as they are: an agent either runs them or answers them itself. What is right stays the same object.

    Args:
        messages: which are left as they are.
        new_id: makes the `tracking_id` of a message that is put in.
    """
    rest = list(reversed(list(messages)))  # the next one is the last of it
    found: list[Message] = []
    while rest:
        message = rest.pop()
        calls = calls_of(message)
        if not calls:
            kept = _without_results(message)
            found += [] if kept is None else [kept]
            continue
        found.append(message)
        if not rest:
            break
        if sorted(results_of(rest[-1])) != sorted(calls):
            _bring_up(rest, calls)
            found.append(_answered(rest, calls, new_id))
        else:
            found.append(rest.pop())
    return found


def _bring_up(rest: list[Message], calls: list[str]) -> None:
    """Let the message further down that has real results of these calls be the next."""
    for index in range(len(rest) - 1, -1, -1):
        if set(results_of(rest[index])) & set(calls) and not is_repair(rest[index]):
            rest.append(rest.pop(index))
            return


def _answered(rest: list[Message], calls: list[str], new_id: Callable[[], str]) -> Message:
    """Take the next message, or none, and return it with one result of each of these calls."""
    content = cast("list[dict[str, Any]]", rest[-1]["content"])
    results = {block["toolResult"]["toolUseId"]: block for block in content if "toolResult" in block}
    others = [block for block in content if "toolResult" not in block]
    made = [results.get(call) or _interrupted(call) for call in calls]
    if not results and others:
        return {"role": "user", "content": made, "tracking_id": new_id()}
    return {**rest.pop(), "content": made + others}


def _without_results(message: Message) -> Message | None:
    """Return a message that follows no call without results, or None where nothing else is in it."""
    if message.get("role") != "user" or not results_of(message):
        return message
    others = [block for block in message["content"] if "toolResult" not in block]
    return {**message, "content": others} if others else None


def _interrupted(call: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": call, "status": "error", "content": [{"text": INTERRUPTED}]}}


def copied(value: Any) -> Any:
    """Return a copy of plain data, whose texts and bytes are the same objects."""
    if type(value) is dict:
        return {key: copied(item) for key, item in cast("dict[Any, Any]", value).items()}
    if type(value) is list:
        return [copied(item) for item in cast("list[Any]", value)]
    if type(value) in (str, int, float, bool, bytes) or value is None:
        return value
    return deepcopy(value)
