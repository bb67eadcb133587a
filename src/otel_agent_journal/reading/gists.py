"""What went into a step and what came out of it, in a few words: for trees and lists, taken as events are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.event import END_TYPES, REQUEST, START_TYPES, JournalEvent
from otel_agent_journal.mapping.media import BLOB
from otel_agent_journal.mapping.references import TOOL
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.prompt import messages_in
from otel_agent_journal.reading.blocks import text_of

GIST: Final = "gist"  # of the details of an event that is shown in brief
LONGEST: Final = 200  # characters of one
_MESSAGE: Final = frozenset(("content", "parts", "role", "tool_calls"))
_OF_FAILURES: Final = ("causes", "stack")
_PAIRS: Final = 6  # of an object


def with_gist(event: JournalEvent) -> JournalEvent:
    """Return an event without its content, but with the gist of it: what its step took, gave, or was warned of."""
    shown = outline(event)
    said = gist_of(event)
    if not said:
        return shown
    return msgspec.structs.replace(shown, details={**shown.details, GIST: said})


def with_failures(event: JournalEvent) -> JournalEvent:
    """Return an event with the gist of it, and of a failed attempt's with its stack and causes, too."""
    shown = with_gist(event)
    told = {name: event.details[name] for name in _OF_FAILURES if name in event.details} if event.error else None
    return msgspec.structs.replace(shown, details={**shown.details, **told}) if told else shown


def gist_of(event: JournalEvent) -> str:
    """Return in a few words what the step of an event took or gave; nothing where it says nothing of it."""
    details = event.details
    if not details:
        return ""
    if event.type in ("MODEL_START", REQUEST):
        return _cut(_asked(details))
    if event.type in START_TYPES:
        return _cut(_value(details.get("input")))
    if event.type in END_TYPES:
        return _cut(_value(details.get("output")))
    if event.level in ("WARNING", "ERROR"):
        return _cut(_value(details.get("message", details.get("reason"))))
    return ""


def _asked(details: Mapping[str, Any]) -> str:
    """Return what a model was asked last, of what was new; where nothing was, how many results it was given."""
    given: Any = details.get("messages", details.get("input"))
    if isinstance(given, Mapping) and "messages" in given:
        given = cast("Mapping[str, Any]", given)["messages"]
    if isinstance(given, list | tuple) and given:
        said = _value(cast("list[Any]", given)[-1])
        if said:
            return said
    elif given:
        return _value(given)
    request: Any = details.get("request")
    told: Any = cast("Mapping[str, Any]", request).get("messages") if isinstance(request, Mapping) else None
    parts: Any = cast("Mapping[str, Any]", told).get("parts") if isinstance(told, Mapping) else None
    results = [part for part in cast("list[Any]", parts or ()) if isinstance(part, str) and part.startswith(TOOL)]
    return "" if not results else "1 result" if len(results) == 1 else f"{len(results)} results"


def _value(value: Any) -> str:
    """Return a value in a few words: a message by what it says, an object by its first names and values."""
    if value is None or isinstance(value, str):
        return (value or "")[: LONGEST * 2]
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, list | tuple):
        return _list(cast("list[Any]", value))
    if not isinstance(value, Mapping):
        return str(value)[:LONGEST]
    named = cast("Mapping[str, Any]", value)
    if BLOB in named:
        return str(named.get("preview") or "")
    if not _MESSAGE.isdisjoint(named):
        content: Any = named.get("content")
        if isinstance(content, str) and content and not named.get("tool_calls"):  # as most are
            return content[: LONGEST * 2]
        return "  ".join(filter(None, map(_message, messages_in(named))))
    if isinstance(named.get("messages"), list | tuple):
        return _value(named["messages"][-1]) if named["messages"] else ""
    return _object(named)


def _list(listed: list[Any]) -> str:
    if len(listed) == 1:
        return _value(listed[0])
    if listed and isinstance(listed[-1], Mapping) and not _MESSAGE.isdisjoint(cast("Mapping[str, Any]", listed[-1])):
        return _value(listed[-1])
    if any(isinstance(one, Mapping) and "type" in one for one in listed[:_PAIRS]):
        return text_of(listed[:_PAIRS])
    return ", ".join(map(_inner, listed[:_PAIRS])) + (", …" if len(listed) > _PAIRS else "")


def _object(named: Mapping[str, Any]) -> str:
    shown = [f"{name}={_inner(item)}" for name, item in list(named.items())[:_PAIRS] if not name.startswith("$message")]
    return ", ".join(shown) + (", …" if len(named) > _PAIRS else "")


def _inner(item: Any) -> str:
    if isinstance(item, Mapping):
        named = cast("Mapping[str, Any]", item)
        return _value(named) if BLOB in named or not _MESSAGE.isdisjoint(named) else "{…}" if named else "{}"
    if isinstance(item, list | tuple):
        count = len(cast("list[Any]", item))
        return f"[{count}]"
    return _value(item)


def _message(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls") or ()
    said = text_of(message["content"])[: LONGEST * 2]
    asked = "  ".join(call_in_words(call) for call in calls)
    return f"{said}  {asked}" if said and asked else said or asked


def call_in_words(call: Mapping[str, Any]) -> str:
    """Return a call of a tool as it is written in programs: `search(topic=spans)`."""
    arguments = call.get("arguments")
    within = _object(cast("Mapping[str, Any]", arguments)) if isinstance(arguments, Mapping) else _value(arguments)
    return f"{call.get('name')}({within})"


def _cut(text: str) -> str:
    line = " ".join(text[: LONGEST * 2].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
