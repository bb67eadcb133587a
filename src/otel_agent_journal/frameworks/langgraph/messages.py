"""Messages and updates of LangChain as plain data, each message journaled once a session.

A chat history is handed to the model whole at every call. What the journal needs of it are the messages it does not
hold yet, with the count and a digest of the others; a message that a model or tool step already journaled stands in
a node's update as `{"$message": id}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.pipeline.history import Known, KnownBySession, Shown

_ROLES: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "HumanMessageChunk": "user"}
_REFERENCES: Final = 3  # longer runs of known messages are journaled as their count alone
_GIVEN_LATER: Final = ("id", "name")
_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode
_DEPTH: Final = 4  # how deep a node's update is searched for messages


def is_message(value: Any) -> bool:
    """Tell whether a value is a LangChain message, without importing LangChain."""
    return hasattr(value, "content") and hasattr(value, "type") and hasattr(value, "additional_kwargs")


def plain_message(message: Any) -> dict[str, Any]:
    """Return role, content, tool calls and ids of a message."""
    fields: Mapping[str, Any] = message.__dict__  # asking a pydantic model for a field it has not costs 3.4 us a time
    kind = message.type
    plain: dict[str, Any] = {"role": fields.get("role") or _ROLES.get(kind, kind), "content": message.content}
    key = fields.get("id")
    if key is not None:
        plain["id"] = key
    name = fields.get("name")
    if name:
        plain["name"] = name
    calls = fields.get("tool_calls")
    if calls:
        plain["tool_calls"] = [{"id": call.get("id"), "name": call["name"], "args": call["args"]} for call in calls]
    call_id = fields.get("tool_call_id")
    if call_id:
        plain["tool_call_id"] = call_id
        if fields.get("status") == "error":
            plain["status"] = "error"
    return plain


def message_key(message: Any, plain: dict[str, Any]) -> tuple[str, int]:
    """Return what a message is known by, and a fingerprint of what it says: the same id may come with another text.

    A tool's result is known by its call, since its id is given later; a message without an id by what it says. Agents
    sign an answer with their name afterwards, which makes no other message of it.
    """
    said = {name: value for name, value in plain.items() if name not in _GIVEN_LATER}
    try:
        fingerprint = hash(_encode(said))
    except Exception:  # noqa: BLE001 - content of the user's
        fingerprint = id(message)
    call_id = plain.get("tool_call_id")
    if call_id:
        return f"tool:{call_id}", fingerprint
    return message.id or f"text:{fingerprint:x}", fingerprint


class History(Known):
    """The messages of one session that are in the journal."""

    def origin(self, message: Any) -> dict[str, Any]:
        """Return a message whole, where it is made: the answer of a model, the result of a tool."""
        plain = plain_message(message)
        self.add(*message_key(message, plain))
        return plain

    def journaled(self, message: Any) -> dict[str, Any]:
        """Return a message for the journal: whole the first time, then a reference."""
        plain = plain_message(message)
        key, fingerprint = message_key(message, plain)
        if self.holds(key, fingerprint):
            return {"$message": key}
        self.add(key, fingerprint)
        return plain


class Histories(KnownBySession[History]):
    """The histories of the sessions that were active last."""

    def __init__(self) -> None:
        super().__init__(History)


class Conversation(Shown):
    """What one agent last showed its model."""

    def __init__(self) -> None:
        super().__init__(_read)


def _read(message: Any) -> tuple[str, int, dict[str, Any]]:
    plain = plain_message(message)
    key, fingerprint = message_key(message, plain)
    return key, fingerprint, plain


def plain_update(value: Any, history: History, depth: int = 0) -> Any:
    """Return what a node or tool returned, messages plain or by reference; other objects are left to the encoder."""
    if value is None or isinstance(value, str | int | float):
        return value
    if depth > _DEPTH:
        return value
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        return {key: plain_update(item, history, depth + 1) for key, item in mapping.items()}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        known = _leading(items, history) if len(items) > _REFERENCES else 0
        if known > _REFERENCES:
            return [{"$messages": known}, *(plain_update(item, history, depth + 1) for item in items[known:])]
        return [plain_update(item, history, depth + 1) for item in items]
    if is_message(value):
        return history.journaled(value)
    kind = type(value).__name__
    if kind == "Command":
        parts = {name: getattr(value, name, None) for name in ("update", "goto", "resume", "graph")}
        return {name: plain_update(part, history, depth + 1) for name, part in parts.items() if part}
    if kind == "Send":
        return {"send": value.node, "arg": plain_update(value.arg, history, depth + 1)}
    return value


def _leading(items: Sequence[Any], history: History) -> int:
    """Return how many messages at the head of a list the journal holds already: a state's history, not an update."""
    count = 0
    for item in items:
        if not is_message(item) or not history.holds(*message_key(item, plain_message(item))):
            break
        count += 1
    return count
