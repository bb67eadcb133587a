"""GenAI spans whose content is in span events or under older names: Strands, and the conventions as they were. Pure.

Sources: strands-agents `telemetry/tracer.py`; semantic-conventions v1.28 to v1.37, `docs/gen-ai/gen-ai-events.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.content import decoded
from otel_agent_journal.mapping.dialects.reading import listed, mapping, result_of, whole_message
from otel_agent_journal.mapping.span_record import SpanEvent, SpanRecord

TOOL_STATUS: Final = "gen_ai.tool.status"  # of Strands
MARKS: Final = frozenset((genai.SYSTEM, "gen_ai.prompt", "gen_ai.completion", "gen_ai.event.start_time", TOOL_STATUS))

OPERATION_DETAILS: Final = "gen_ai.client.inference.operation.details"
_CHOICE: Final = "gen_ai.choice"
_ROLES: Final[Mapping[str, str]] = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
# Content under names that the conventions had before: whose attribute it is, and of which side.
_OLD_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "gen_ai.prompt": (genai.INPUT_MESSAGES, "user"),
    "gen_ai.completion": (genai.OUTPUT_MESSAGES, "assistant"),
}
_OLD_EVENTS: Final = frozenset(("gen_ai.content.prompt", "gen_ai.content.completion"))
_EVENTS: Final = frozenset((OPERATION_DETAILS, _CHOICE, *_ROLES, *_OLD_EVENTS))
_MAX_MESSAGE_CHARACTERS: Final = 4096  # of what a tool gave back as its error
# What Strands says of a span that the span itself says.
_SAID_TWICE: Final = ("gen_ai.event.start_time", "gen_ai.event.end_time")
_SIDES: Final[Mapping[str, str]] = {genai.INPUT_MESSAGES: "user", genai.OUTPUT_MESSAGES: "assistant"}


def translated(record: SpanRecord) -> SpanRecord:
    """Return a span with its content among its attributes, under today's names, and its other events."""
    told = [event for event in record.events if event.name in _EVENTS]
    if not told and MARKS.isdisjoint(record.attributes):
        return record
    attributes = dict(record.attributes)
    for old, (name, role) in _OLD_NAMES.items():
        if old in attributes:
            _add(attributes, name, _messages(attributes.pop(old), role))
    provider = attributes.pop(genai.SYSTEM, None)
    if provider is not None:
        attributes.setdefault(genai.PROVIDER_NAME, provider)
    for key in _SAID_TWICE:
        attributes.pop(key, None)
    content = _content(told)
    if attributes.get(genai.OPERATION_NAME) == genai.EXECUTE_TOOL:
        _tool(attributes, content, told)
    else:
        for key, value in content.items():
            if value:
                attributes.setdefault(key, value)
    if attributes.get(TOOL_STATUS) == "error":
        if not any(event.name == "exception" for event in record.events):
            attributes.setdefault(genai.ERROR_TYPE, "ToolError")
        if record.status_code != genai.STATUS_ERROR:
            record = _failed(record, attributes.get(genai.TOOL_CALL_RESULT))
    others = record.events if not told else tuple(event for event in record.events if event.name not in _EVENTS)
    return msgspec.structs.replace(record, attributes=attributes, events=others)


def _failed(record: SpanRecord, result: Any) -> SpanRecord:
    """Return the span of a tool that gave back an error, as versions of Strands say it that leave its status OK."""
    said = result[:_MAX_MESSAGE_CHARACTERS] if isinstance(result, str) else None
    return msgspec.structs.replace(record, status_code=genai.STATUS_ERROR, status_description=said)


def _add(attributes: dict[str, Any], name: str, messages: list[Any]) -> None:
    if messages:
        attributes.setdefault(name, messages)


def _messages(value: Any, role: str) -> list[Any]:
    return [found for item in listed(decoded(value)) if (found := whole_message(item, role)) is not None]


def _content(told: Iterable[SpanEvent]) -> dict[str, Any]:
    """Return what events say, under the names of the attributes that say it today."""
    found: dict[str, Any] = {genai.INPUT_MESSAGES: [], genai.OUTPUT_MESSAGES: [], genai.SYSTEM_INSTRUCTIONS: []}
    for event in told:
        said = event.attributes
        if event.name == OPERATION_DETAILS or event.name in _OLD_EVENTS:
            _from_details(found, said)
        elif event.name == _CHOICE:
            answer = whole_message(said.get("message", said), "assistant")
            if answer is not None:
                reason = said.get("finish_reason")
                found[genai.OUTPUT_MESSAGES].append(answer if reason is None else {**answer, "finish_reason": reason})
            if "tool.result" in said:
                found[genai.INPUT_MESSAGES] += _messages(said["tool.result"], "tool")
        else:
            role = str(said.get("role") or _ROLES[event.name])
            given = whole_message(dict(said) if "tool_calls" in said else said.get("content"), role)
            if given is not None:
                if role == "system":
                    found[genai.SYSTEM_INSTRUCTIONS] += listed(given.get("parts"))
                else:
                    found[genai.INPUT_MESSAGES].append(given)
    return found


def _from_details(found: dict[str, Any], said: Mapping[str, Any]) -> None:
    for key, value in said.items():
        if key in _SIDES:
            found[key] += _messages(value, _SIDES[key])
        elif key in _OLD_NAMES:
            name, role = _OLD_NAMES[key]
            found[name] += _messages(value, role)
        elif key == genai.SYSTEM_INSTRUCTIONS:
            found[key] += listed(decoded(value))
        elif key.startswith("gen_ai."):
            found.setdefault(key, value)


def _tool(attributes: dict[str, Any], content: Mapping[str, Any], told: Iterable[SpanEvent]) -> None:
    """Give a tool its arguments and its result, which events have as messages."""
    for event in told:
        if event.name == "gen_ai.tool.message":
            attributes.setdefault(genai.TOOL_CALL_ARGUMENTS, event.attributes.get("content"))
        elif event.name == _CHOICE:
            attributes.setdefault(genai.TOOL_CALL_RESULT, event.attributes.get("message"))
    for name, key, field in (
        (genai.INPUT_MESSAGES, genai.TOOL_CALL_ARGUMENTS, "arguments"),
        (genai.OUTPUT_MESSAGES, genai.TOOL_CALL_RESULT, "response"),
    ):
        for said in content[name]:
            for piece in listed(mapping(said).get("parts")):
                if field in mapping(piece):
                    attributes.setdefault(key, piece[field])
    if genai.TOOL_CALL_RESULT in attributes:
        attributes[genai.TOOL_CALL_RESULT] = result_of(attributes[genai.TOOL_CALL_RESULT])
