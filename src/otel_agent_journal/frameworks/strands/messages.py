"""Messages of Strands as plain data, each journaled once a session. Pure.

Strands has Bedrock's shape: a role and content blocks, a tool's result being a block of a user message. The journal has
one message for each thing said, and one for each result of a tool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.event import Usage
from otel_agent_journal.foreign import is_a
from otel_agent_journal.mapping import usage
from otel_agent_journal.pipeline.history import Known, fingerprint_of

_RESULTS: Final = "results:"
_BETWEEN: Final = "\x1f"
_MAX_RECENT: Final = 32  # as many tools as are called at once, and more
_MEDIA: Final = ("image", "document", "video", "audio")


def plain_messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a message says: its text and calls as one message, each tool's result as one of its own."""
    role = str(message.get("role", "user"))
    said: list[Any] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    blocks: Any = message.get("content") or ()
    for block in cast("Sequence[Any]", blocks if is_a(blocks, list, tuple) else [blocks]):
        if not is_a(block, dict):
            said.append(block)
            continue
        named = cast("Mapping[str, Any]", block)
        if "toolUse" in named:
            use: Any = named["toolUse"]
            calls.append({"id": use.get("toolUseId"), "name": use.get("name"), "args": use.get("input")})
        elif "toolResult" in named:
            results.append(plain_result(named["toolResult"]))
        elif "text" in named:
            said.append(named["text"])
        elif "reasoningContent" not in named and "cachePoint" not in named:  # thoughts are journaled as REASONING
            said.append(_other(named))
    if not said and not calls:
        return results
    content: Any = "".join(said) if all(type(one) is str for one in said) else said
    plain: dict[str, Any] = {"role": role, "content": content}
    if calls:
        plain["tool_calls"] = calls
    return [*results, plain]


def plain_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's result as a message."""
    plain: dict[str, Any] = {
        "role": "tool",
        "content": result_content(result),
        "tool_call_id": result.get("toolUseId"),
    }
    if result.get("status") == "error":
        plain["status"] = "error"
    return plain


def result_content(result: Mapping[str, Any]) -> Any:
    """Return what a tool gave back: its text, its data, or its blocks where there are several."""
    given: Any = result.get("content") or ()
    blocks: list[Any] = []
    for block in cast("Sequence[Any]", given if is_a(given, list, tuple) else [given]):
        if not is_a(block, dict):
            blocks.append(block)
            continue
        named = cast("Mapping[str, Any]", block)
        blocks.append(named["text"] if "text" in named else named["json"] if "json" in named else _other(named))
    if len(blocks) == 1:
        return blocks[0]
    return "".join(blocks) if all(type(block) is str for block in blocks) else blocks


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Return what a model thought before it answered."""
    texts: list[str] = []
    for block in cast("Sequence[Any]", message.get("content") or ()):
        if is_a(block, dict) and "reasoningContent" in block:
            thought: Any = cast("Mapping[str, Any]", block).get("reasoningContent") or {}
            text: Any = thought.get("reasoningText") or {}
            texts.append(str(text.get("text") or ""))
    return "\n".join(filter(None, texts))


def raw_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer's blocks as they are, where they hold thoughts with their signature, which the plain form lacks.

    The bytes of media are none of it.
    """
    blocks = [
        cast("Mapping[str, Any]", block)
        for block in cast("Sequence[Any]", message.get("content") or ())
        if isinstance(block, Mapping)
    ]
    return {"content": list(map(_other, blocks))} if any("reasoningContent" in block for block in blocks) else {}


class Said(Known):
    """The messages of one session that are in the journal.

    Strands gives an id to a message once it is in the history; its model and tools have said it before. So an answer is
    known by its text, and a message of results by the calls that they answer.
    """

    def __init__(self) -> None:
        super().__init__()
        # Answers and results that are about to come back in a history, with a fingerprint: a hook may change them.
        self._recent: dict[int, tuple[Any, int, str]] = {}

    def recent(self, message: Mapping[str, Any]) -> str | None:
        """Return what a message is known by where it is the very answer, or holds the very results, of a moment ago."""
        content: Any = message.get("content")
        found = self._recent.pop(id(content), None)
        if found is not None:
            return found[2] if found[1] == fingerprint_of(content) else None
        results = [_result_in(block) for block in cast("list[Any]", content if type(content) is list else ())]
        keys: list[str] = []
        for result in results:
            found = self._recent.get(id(result))
            if found is None or found[1] != fingerprint_of(result):
                return None
            keys.append(found[2])
        for result in results:
            self._recent.pop(id(result), None)
        return _RESULTS + _BETWEEN.join(keys) if keys else None

    def _remember(self, value: Any, key: str) -> None:
        if len(self._recent) > _MAX_RECENT:
            self._recent.clear()
        self._recent[id(value)] = (value, fingerprint_of(value), key)  # kept, so that its id is nobody else's

    def holds(self, key: str, fingerprint: int) -> bool:
        """Tell whether a message is in the journal, with this very content."""
        if key.startswith(_RESULTS):
            ids = key.removeprefix(_RESULTS).split(_BETWEEN)
            return fingerprint == hash(tuple(self._seen.get(f"tool:{call_id}") for call_id in ids))
        return super().holds(key, fingerprint)

    def answer(self, message: Mapping[str, Any]) -> Any:
        """Return a model's answer as plain data, and remember it."""
        key, fingerprint, plain = read_message(message)
        self.add(key, fingerprint)
        self._remember(message.get("content"), key)
        said: list[Any] = plain["messages"]
        return said[0] if len(said) == 1 else said or None

    def result(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return a tool's result as plain data, and remember it."""
        plain = plain_result(result)
        self.add(f"tool:{plain['tool_call_id']}", fingerprint_of(plain))
        self._remember(result, str(plain["tool_call_id"]))
        return plain


def _result_in(block: Any) -> Any:
    return cast("dict[str, Any]", block).get("toolResult") if type(block) is dict else None


def read_message(message: Mapping[str, Any]) -> tuple[str, int, dict[str, Any]]:
    """Return what a message is known by, a fingerprint of what it says, and the message as plain data.

    A message of several (results and a text) has them under `messages`.
    """
    plain = plain_messages(message)
    if plain and all(one["role"] == "tool" for one in plain):
        key = _RESULTS + _BETWEEN.join(str(one["tool_call_id"]) for one in plain)
        return key, hash(tuple(map(fingerprint_of, plain))), {"messages": plain}
    fingerprint = fingerprint_of(plain)
    own: Any = None if message.get("role") == "assistant" else message.get("tracking_id")
    return str(own or f"text:{fingerprint:x}"), fingerprint, {"messages": plain}


def flattened(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details of a model's START with its new messages in one list."""
    details["messages"] = [one for read in details["messages"] for one in read["messages"]]
    return details


def usage_of(counted: Any) -> Usage | None:
    """Return the tokens of one model call; Strands counts nothing as noughts."""
    found = usage.usage_of(counted)
    return found if found != Usage() else None


def _other(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block that is no text: of media its kind and format, for its bytes are no message."""
    for kind in _MEDIA:
        media: Any = block.get(kind)
        if is_a(media, dict):
            described = cast("Mapping[str, Any]", media)
            return {kind: {key: value for key, value in described.items() if key in ("format", "name")}}
    return dict(block)
