"""Message content between the journal's details and the opt-in attributes of the GenAI conventions. Pure.

The journal keeps content in `details` under `input`, `messages`, `output`, `sources`; a span has it, as JSON text,
only where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for it. A value that is kept as a blob goes onto a
span as its preview.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.media import BLOB

_to_json: Final = msgspec.json.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode

# Where a span has content of a step, and under which key of `details` the journal keeps it.
_DETAIL_OF_ATTRIBUTE: Final[Mapping[str, str]] = {
    genai.INPUT_MESSAGES: "messages",
    genai.OUTPUT_MESSAGES: "output",
    genai.SYSTEM_INSTRUCTIONS: "system_instructions",
    genai.TOOL_CALL_ARGUMENTS: "input",
    genai.TOOL_CALL_RESULT: "output",
    genai.RETRIEVAL_QUERY: "input",
    genai.RETRIEVAL_DOCUMENTS: "sources",
    genai.TOOL_DEFINITIONS: "tool_definitions",
    genai.STEP_INPUT: "input",
    genai.STEP_OUTPUT: "output",
    genai.STEP_METADATA: "metadata",
    genai.STEP_TAGS: "tags",
    genai.STEP_TENANT: "tenant",
    genai.USER_ID: "user",
}
CONTENT_ATTRIBUTES: Final = frozenset(_DETAIL_OF_ATTRIBUTE)

# What dialects begin the names of content with. Where one could not be read it is left out rather than let through.
_CONTENT_PREFIXES: Final = (
    "gen_ai.completion",
    "gen_ai.prompt",
    "gen_ai.task.input",
    "gen_ai.task.output",
    "input.value",
    "llm.completions.",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts.",
    "output.value",
    "retrieval.documents.",
    "traceloop.entity.input",
    "traceloop.entity.output",
)
_NAMES_OF_PROMPTS: Final = frozenset(("gen_ai.prompt.name", "gen_ai.prompt.version"))


def details_of_content(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details that a span's content attributes stand for, JSON text decoded."""
    return {
        detail: decoded(attributes[attribute])
        for attribute, detail in _DETAIL_OF_ATTRIBUTE.items()
        if attributes.get(attribute) is not None
    }


def without_content(attributes: Mapping[str, Any], but: frozenset[str]) -> dict[str, Any]:
    """Return attributes but for those under `but`, and those that are content in the conventions or in any dialect."""
    return {
        key: value
        for key, value in attributes.items()
        if key not in but
        and key not in CONTENT_ATTRIBUTES
        and (not key.startswith(_CONTENT_PREFIXES) or key in _NAMES_OF_PROMPTS)
    }


def decoded(value: Any) -> Any:
    """Return what a JSON text of an object or a list stands for; anything else as it is."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return _from_json(value)
    except (msgspec.DecodeError, RecursionError):
        return value


def content_attributes(kind: str, details: Mapping[str, Any]) -> dict[str, str]:
    """Return the content attributes of a step's span from the details of its START or of its ending.

    Keys that are not there add nothing; kinds without content conventions (nodes, plain steps) have none.
    """
    match kind:
        case "MODEL" | "AGENT":
            return _present(
                (genai.INPUT_MESSAGES, _messages(details.get("messages", details.get("input")), "user")),
                (genai.OUTPUT_MESSAGES, _messages(details.get("output"), "assistant")),
                (genai.SYSTEM_INSTRUCTIONS, details.get("system_instructions")),
                (genai.TOOL_DEFINITIONS, details.get("tool_definitions")),
            ) | said_attributes(details)
        case "TOOL":
            return _present(
                (genai.TOOL_CALL_ARGUMENTS, details.get("input")), (genai.TOOL_CALL_RESULT, details.get("output"))
            )
        case "RETRIEVAL":
            documents = details.get("sources", details.get("output"))
            return _present((genai.RETRIEVAL_QUERY, details.get("input")), (genai.RETRIEVAL_DOCUMENTS, documents))
        case _:
            return {}


def said_attributes(details: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes that say whose a run is, from the details of its START."""
    return _present(
        (genai.USER_ID, details.get("user")),
        (genai.STEP_TENANT, details.get("tenant")),
        (genai.STEP_TAGS, details.get("tags")),
        (genai.STEP_METADATA, details.get("metadata")),
    )


def _present(*pairs: tuple[str, Any]) -> dict[str, str]:
    return {key: _text(value) for key, value in pairs if value is not None}


def _text(value: Any) -> str:
    if _is_blob(value):
        return str(value.get("preview", ""))
    if isinstance(value, str):
        return value
    try:
        return _to_json(value).decode()
    except (TypeError, ValueError):
        return str(value)


def _messages(value: Any, role: str) -> Any:
    """Return messages in the shape of the conventions: each a role and parts; references to earlier ones left out."""
    if value is None or _is_blob(value):
        return value
    said: Any = value
    if isinstance(value, Mapping) and "messages" in value:
        said = cast("Mapping[str, Any]", value)["messages"]
    items = cast("list[Any]", said) if isinstance(said, list | tuple) else [said]
    return [_message(item, role) for item in items if not (isinstance(item, Mapping) and "$message" in item)]


def _is_blob(value: Any) -> bool:
    return isinstance(value, Mapping) and BLOB in value


def _message(item: Any, role: str) -> Any:
    if not isinstance(item, Mapping):
        return {"role": role, "parts": [{"type": "text", "content": item}]}
    message = cast("Mapping[str, Any]", item)
    if "parts" in message:
        return message
    if "content" not in message and "tool_calls" not in message:
        return {"role": role, "parts": [{"type": "text", "content": message}]}
    parts: list[dict[str, Any]] = []
    said_by = str(message.get("role") or message.get("type") or role)
    content = message.get("content")
    if said_by == "tool":
        parts.append({"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content})
    elif content:
        blocks = cast("list[Any]", content) if isinstance(content, list | tuple) else [content]
        parts += [_part(block) for block in blocks]
    for call in cast("list[Any]", message.get("tool_calls") or ()):
        asked = cast("Mapping[str, Any]", call) if isinstance(call, Mapping) else {"name": str(call)}
        parts.append(
            {
                "type": "tool_call",
                "id": asked.get("id"),
                "name": asked.get("name"),
                "arguments": asked.get("args", asked.get("arguments")),
            }
        )
    return {"role": said_by, "parts": parts}


def _part(block: Any) -> Any:
    """Return a content block as a part; blocks other than text are left as the provider has them."""
    if not isinstance(block, Mapping):
        return {"type": "text", "content": block}
    named = cast("Mapping[str, Any]", block)
    return {"type": "text", "content": named["text"]} if "text" in named else named
