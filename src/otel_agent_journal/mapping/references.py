"""By which keys messages are known in a journal, and which of them a value has that is kept apart. Pure.

The reference to a value that is kept apart says which messages are in it, so that a reader who looks for one need not
fetch it to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

MESSAGE_FIELDS: Final = ("messages", "output")  # of details, in which messages are held whole
DIGEST: Final = "digest"  # of a message: what it is known by
TOOL: Final = "tool:"  # a tool's result's begins so
_KEYS: Final = "messages"
_LOOKED_AT: Final = 2_000  # values within one, looked at for messages
_PLAIN: Final = frozenset((str, int, float, bool, type(None)))


def is_message(value: Mapping[str, Any]) -> bool:
    """Tell whether plain data is a message whole: with a role and content."""
    return isinstance(value.get("role"), str) and "content" in value


def key_of(message: Mapping[str, Any]) -> str | None:
    """Return what refers to a message: its digest; None where it has none, as what others journaled."""
    digest = message.get(DIGEST)
    return digest if isinstance(digest, str) else None


def keys_of_messages(value: Any) -> list[str] | None:
    """Return the keys of the messages in a value, or None where that would take long or a foreign object is in it."""
    keys: list[str] = []
    pending: list[Any] = [value]
    looked_at = 0
    while pending:
        one = pending.pop()
        looked_at += 1
        if type(one) is dict:
            mapping = cast("dict[str, Any]", one)
            if not is_message(mapping):
                within: Any = mapping.values()
            elif (key := key_of(mapping)) is not None:
                keys.append(key)
                continue
            else:
                continue
        elif type(one) in (list, tuple):
            within = cast("list[Any]", one)
        elif type(one) in _PLAIN:
            continue
        else:
            return None
        if looked_at + len(pending) + len(within) > _LOOKED_AT:
            return None
        pending.extend(within)
    return keys


def messages_of(reference: Mapping[str, Any]) -> list[str] | None:
    """Return the keys of the messages in what is kept apart, as its reference says; None where it does not."""
    keys = reference.get(_KEYS)
    return cast("list[str]", keys) if isinstance(keys, list) else None


def with_messages(reference: Mapping[str, Any], value: Any) -> dict[str, Any]:
    """Return the reference to a value that is kept apart, with the messages that are in it."""
    keys = keys_of_messages(value)
    return dict(reference) if keys is None else {**reference, _KEYS: keys}
