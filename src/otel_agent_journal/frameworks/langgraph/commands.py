"""A tool's `Command`: what its plain form lacks, and the object made again of both.

The plain form (`messages.plain_update`) has its parts, messages in them plain. Where each message stands, and which
fields that lacks, is its raw form; other values by their classes. LangGraph is imported as it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.foreign import own, type_of
from otel_agent_journal.frameworks.langgraph.answers import raw_of
from otel_agent_journal.frameworks.langgraph.messages import is_command, is_message, is_nothing
from otel_agent_journal.frameworks.langgraph.rebuilding import message_of
from otel_agent_journal.mapping.classes import CLASSES, classes_in, placed_at, with_classes

_PARTS: Final = ("update", "goto", "resume", "graph")
_MESSAGES: Final = "messages"  # of the raw form: by JSON pointer, what each message's plain form lacks
_COMMAND: Final = "langgraph.types.Command"


def raw_of_result(output: Any) -> dict[str, Any]:
    """Return what the plain form of a tool's result lacks, empty where it lacks nothing."""
    if is_message(output):
        return raw_of(output)
    return _raw_of_command(output) if is_command(output) else {}


def is_told(raw: Any) -> bool:
    """Tell whether a raw form is that of a command."""
    return isinstance(raw, Mapping) and _of(cast("Mapping[str, Any]", raw), CLASSES).get("") == _COMMAND


def command_of(output: Any, raw: Mapping[str, Any], call_id: str | None) -> Any:
    """Return the `Command` that a tool returned, as the answer to a call of this id.

    Raises:
        LookupError: not all of it can be made again.
    """
    from langgraph.types import Command

    told, parts = _of(raw, _MESSAGES), {name: output[name] for name in _PARTS if name in output}
    classes = {at: name for at, name in _of(raw, CLASSES).items() if at and at not in told}
    made = {at: message_of({"output": _plain_at(parts, at), "raw": more}) for at, more in told.items()}
    answered = {found for one in made.values() if (found := own(one, "tool_call_id")) is not None}
    if call_id is not None and answered != {call_id}:
        if len(answered) > 1:
            raise LookupError("it answers several calls")
        made = {at: _answering(one, call_id) for at, one in made.items()}
    fields, lost = with_classes(parts, classes, _nothing_else)
    if lost:
        raise LookupError(lost[0])
    for at, message in made.items():
        holder, key = placed_at(fields, at)
        holder[key] = message
    return Command(**fields)


def _raw_of_command(command: Any) -> dict[str, Any]:
    parts = {name: part for name in _PARTS if not is_nothing(part := own(command, name))}
    classes = classes_in(parts)
    told = {at: raw_of(one) for at, one in _messages_in(parts) if at in classes}
    return {_MESSAGES: told, CLASSES: {"": _COMMAND, **{at: kind for at, kind in classes.items() if at not in told}}}


def _messages_in(parts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the messages of an update by JSON pointer: of its values, and of the lists among these."""
    update = parts.get("update")
    for name, value in cast("Mapping[Any, Any]", update).items() if type_of(update) is dict else ():
        if type_of(name) is not str or "/" in name or "~" in name:
            continue
        if is_message(value):
            yield f"/update/{name}", value
        elif type_of(value) is list:
            for number, one in enumerate(value):
                if is_message(one):
                    yield f"/update/{name}/{number}", one


def _plain_at(parts: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    holder, key = placed_at(parts, at)
    plain = holder[key]
    if not isinstance(plain, Mapping) or "content" not in plain:  # told before, and referred to
        raise LookupError(at)
    return cast("Mapping[str, Any]", plain)


def _answering(message: Any, call_id: str) -> Any:
    return message if own(message, "tool_call_id") is None else message.model_copy(update={"tool_call_id": call_id})


def _nothing_else(name: str, plain: Any) -> Any:
    raise LookupError(name)


def _of(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
