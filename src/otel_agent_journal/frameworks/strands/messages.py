"""Messages of Strands, which are those of Converse, each journaled once a session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from otel_agent_journal.event import Usage
from otel_agent_journal.foreign import is_a, type_of
from otel_agent_journal.mapping import usage
from otel_agent_journal.mapping.classes import CLASSES, classes_in
from otel_agent_journal.mapping.converse import message_of, plain_messages
from otel_agent_journal.pipeline.conversation import Conversation, answered
from otel_agent_journal.pipeline.history import History


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
    return answered(plain_messages(message), history)


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
