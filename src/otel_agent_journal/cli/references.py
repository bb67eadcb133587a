"""Messages that stand by reference, and where the session's events hold them whole.

The journal has each message once: `{"$message": key}` stands for one that a model or tool step already journaled, its
key the message's id or `tool:` and the id of the call it answers; `{"$messages": n}` stands for n at the head of a
list. A message without either id has a key that only its process knew, and stays a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.cli import readable
from otel_agent_journal.event import JournalEvent

_ONE: Final = "$message"
_EARLIER: Final = "$messages"
_HOLDERS: Final = {
    "MODEL_START": "messages",
    "MODEL_END": "output",
    "TOOL_END": "output",
    "TOOL_ERROR": "output",
    "NODE_END": "output",
}
_TOOL: Final = "tool:"


def whole(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the messages of role and content in a value, however deep."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        if isinstance(mapping.get("role"), str) and "content" in mapping:
            yield mapping
            return
        for item in mapping.values():
            yield from whole(item)
    elif isinstance(value, list | tuple):
        for item in cast("Iterable[Any]", value):
            yield from whole(item)


def is_reference(value: Any) -> bool:
    """Tell whether a value stands for one message or several that are elsewhere in the journal."""
    return isinstance(value, Mapping) and (_ONE in value or _EARLIER in value)


def replaced(value: Any, known: Callable[[], Mapping[str, Any]]) -> Any:
    """Return a value with the messages it refers to in place; `known` is called if it refers to any."""
    found: list[Mapping[str, Any]] = []

    def look_up(key: str, reference: Any) -> Any:
        if not found:
            found.append(known())
        return found[0].get(key, reference)

    return _replaced(value, look_up)


def known_by(
    events: Iterable[JournalEvent], at_ns: int | None, resolved: Callable[[str, Any], Any]
) -> dict[str, Mapping[str, Any]]:
    """Return a session's messages by their keys; of several with one key the last up to `at_ns`.

    Args:
        events: the session's, in order.
        at_ns: when the references were made; None for now.
        resolved: replaces blob references.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for event in events:
        field = _HOLDERS.get(event.type)
        if field is None or field not in event.details:
            continue
        for message in whole(resolved(event.session_id, event.details[field])):
            key = _TOOL + str(message["tool_call_id"]) if message.get("tool_call_id") else message.get("id")
            # Clocks of several machines differ: a message that seems to come later is better than none.
            if isinstance(key, str) and (key not in known or at_ns is None or event.timestamp_ns <= at_ns):
                known[key] = message
    return known


def worded(value: Any) -> Any:
    """Return a value for people: earlier messages as their count in words."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        earlier = mapping.get(_EARLIER)
        if isinstance(earlier, int) and len(mapping) == 1:
            return readable.plural(earlier, "earlier message")
        return {key: worded(item) for key, item in mapping.items()}
    if isinstance(value, list):
        return [worded(item) for item in cast("list[Any]", value)]
    return value


def _replaced(value: Any, look_up: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        key = mapping.get(_ONE)
        if isinstance(key, str) and len(mapping) == 1:
            return look_up(key, mapping)
        return {name: _replaced(item, look_up) for name, item in mapping.items()}
    if isinstance(value, list):
        return [_replaced(item, look_up) for item in cast("list[Any]", value)]
    return value
