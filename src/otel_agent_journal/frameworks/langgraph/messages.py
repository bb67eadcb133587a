"""Messages and updates of LangChain as plain data, each message journaled once a session.

A message that a model or tool step already journaled stands in a node's update as `{"$message": digest}`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.foreign import Classes, is_a, own
from otel_agent_journal.pipeline.conversation import Conversation
from otel_agent_journal.pipeline.history import History
from otel_agent_journal.readers import Listed, Mapped, opened

_ROLES: Final = {
    "human": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "function": "tool",
    "FunctionMessageChunk": "tool",
}
_REFERENCES: Final = 3  # longer runs of known messages are journaled as their count alone
_CALLS_AS_SENT: Final = ("tool_calls", "function_call")  # by the provider: the message has them in LangChain's form
_WRITTEN_ANEW: Final = ("audio", "file", "image", "input_audio")  # blocks that models see in another form than it had
_DEPTH: Final = 4  # how deep a node's update is searched for messages
_MOST: Final = 10_000  # values of a node's update that are searched

_MESSAGE, _DOCUMENT, _COMMAND, _SEND = "message", "document", "command", "send"
_CLASSES: Final = Classes(
    {
        "langchain_core.messages.base.BaseMessage": _MESSAGE,
        "langchain_core.documents.base.Document": _DOCUMENT,
        "langgraph.types.Command": _COMMAND,
        "langgraph.types.Send": _SEND,
    }
)


def is_message(value: Any) -> bool:
    """Tell whether a value is a LangChain message, by its class: an object of another may look like one."""
    return _CLASSES.of(value) == _MESSAGE


def is_command(value: Any) -> bool:
    """Tell whether a value is a LangGraph `Command`, by its class."""
    return _CLASSES.of(value) == _COMMAND


def plain_documents(found: Any) -> Any:
    """Return content, metadata and id of each document that was found; what is none is left to the encoder."""
    inside = opened(found)
    return [_plain_document(one) for one in inside.items] if isinstance(inside, Listed) else found


def _plain_document(value: Any) -> Any:
    if _CLASSES.of(value) != _DOCUMENT:
        return value
    return {"content": own(value, "page_content"), "metadata": own(value, "metadata"), "id": own(value, "id")}


def plain_message(message: Any) -> dict[str, Any]:
    """Return role, content, tool calls and ids of a message."""
    fields: Mapping[str, Any] = message.__dict__  # asking a pydantic model for a field it has not costs 3.4 us a time
    kind: Any = fields.get("type")
    plain: dict[str, Any] = {"role": fields.get("role") or _ROLES.get(kind, kind), "content": fields.get("content")}
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
    invalid = fields.get("invalid_tool_calls")
    if invalid:
        plain["invalid_tool_calls"] = [dict(call) for call in invalid]
    more = fields.get("additional_kwargs")
    if more:  # what a provider's own adapter reads of a message that it is shown again
        kept = {
            key: value for key, value in more.items() if value is not None and not (calls and key in _CALLS_AS_SENT)
        }
        if kept:
            plain["additional_kwargs"] = kept
    return plain


def conversation() -> Conversation:
    """Return a conversation of LangChain's messages."""
    return Conversation(lambda message: (plain_message(_as_models_see(message)),), contents_of=_contents_of)


def _as_models_see(message: Any) -> Any:
    """Return a message as LangChain hands it to every model: sounds and files in its newest form of blocks."""
    content: Any = message.__dict__.get("content")
    if type(content) is not list or not any(
        type(block) is dict and block.get("type") in _WRITTEN_ANEW for block in cast("list[Any]", content)
    ):
        return message
    normalizing: Any = sys.modules.get("langchain_core.language_models._utils")
    try:
        seen = normalizing._normalize_messages([message])[0]  # noqa: SLF001 - what LangChain itself calls
        if seen is not message:
            for before, block in zip(cast("list[Any]", content), seen.content, strict=True):
                if block is not before and "id" not in before:  # drawn anew at each call
                    block.pop("id", None)
    except Exception:  # noqa: BLE001 - of another version, or blocks that are none
        return message
    return seen


def _contents_of(messages: Sequence[Any]) -> list[Any]:
    return [message.__dict__.get("content") for message in messages]


def plain_update(value: Any, history: History, *, given: bool = False, conversation: Conversation | None = None) -> Any:
    """Return what a node or tool returned, messages plain or by reference; other objects are left to the encoder.

    Args:
        value: what was returned, or given.
        history: of the session.
        given: it is what a graph is given, from which the journal does not take messages: the model's request tells
            them.
        conversation: that it may begin with.
    """
    return _Update(history, given, conversation).of(value, 0)


class _Update:
    """Searches one update for messages, as far as is sensible."""

    def __init__(self, history: History, given: bool, conversation: Conversation | None) -> None:
        self._history = history
        self._given = given
        self._conversation = conversation
        self._left = _MOST

    def of(self, value: Any, depth: int) -> Any:
        if value is None or type(value) is str or depth > _DEPTH:
            return value
        if type(value) is list or type(value) is tuple:
            return self._list(cast("Sequence[Any]", value), depth)
        if type(value) is not dict:
            found = _CLASSES.of(value)
            if found == _MESSAGE:
                return self._message(plain_message(value))
            if found == _COMMAND:
                parts = {name: own(value, name) for name in ("update", "goto", "resume", "graph")}
                return {name: self.of(part, depth + 1) for name, part in parts.items() if not is_nothing(part)}
            if found == _SEND:
                return {"send": own(value, "node"), "arg": self.of(own(value, "arg"), depth + 1)}
        return self._mapping(value, depth)

    def _message(self, plain: dict[str, Any]) -> dict[str, Any]:
        return plain if self._given and not self._history.known(plain) else self._history.journaled(plain)

    def _mapping(self, value: Any, depth: int) -> Any:
        inside = opened(value)
        if not isinstance(inside, Mapped):
            return value
        self._left -= inside.length
        return value if self._left < 0 else {key: self.of(item, depth + 1) for key, item in inside.pairs}

    def _list(self, given: Sequence[Any], depth: int) -> Any:
        known = self._leading(given) if len(given) > _REFERENCES else 0
        if known > _REFERENCES:
            return [{"$messages": known}, *(self.of(item, depth + 1) for item in given[known:])]
        self._left -= len(given)
        return given if self._left < 0 else [self.of(item, depth + 1) for item in given]

    def _leading(self, items: Sequence[Any]) -> int:
        """Return how many messages at the head of a list the journal holds already: a state's history, no update."""
        count = 0 if self._conversation is None else self._conversation.begins(items, self._history)
        while count < len(items) and is_message(items[count]) and self._history.known(plain_message(items[count])):
            count += 1
        return count


def is_nothing(part: Any) -> bool:
    return part is None or (is_a(part, str, tuple, list, dict) and not part)
