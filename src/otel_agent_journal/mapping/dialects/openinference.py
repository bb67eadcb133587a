"""OpenInference: what Phoenix and Arize read. Pure.

Source: Arize-ai/openinference, `spec/semantic_conventions.md`. Everything in its namespaces that is not known here to
be harmless is taken for content and kept as metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.content import decoded
from otel_agent_journal.mapping.dialects.reading import (
    items,
    langchain_message,
    langgraph_kind,
    mapping,
    message,
    text_of,
    tool_call,
)
from otel_agent_journal.mapping.numbers import number_of
from otel_agent_journal.mapping.span_record import SpanRecord

KIND: Final = "openinference.span.kind"
INPUT: Final = "input.value"
OUTPUT: Final = "output.value"
MODEL: Final = "llm.model_name"
FINISH: Final = "llm.finish_reason"
MARKS: Final = frozenset((KIND, INPUT, OUTPUT, MODEL))

_OPERATION_OF_KIND: Final[Mapping[str, str]] = {
    "LLM": genai.CHAT,
    "EMBEDDING": genai.EMBEDDINGS,
    "TOOL": genai.EXECUTE_TOOL,
    "RETRIEVER": genai.RETRIEVAL,
    "RERANKER": genai.RETRIEVAL,
    "AGENT": genai.INVOKE_AGENT,
}
_RENAMED: Final[Mapping[str, str]] = {
    MODEL: genai.REQUEST_MODEL,
    "embedding.model_name": genai.REQUEST_MODEL,
    "reranker.model_name": genai.REQUEST_MODEL,
    "llm.provider": genai.PROVIDER_NAME,
    "llm.system": genai.PROVIDER_NAME,
    "llm.token_count.prompt": genai.USAGE_INPUT_TOKENS,
    "llm.token_count.completion": genai.USAGE_OUTPUT_TOKENS,
    "llm.token_count.prompt_details.cache_read": genai.USAGE_CACHE_READ_TOKENS,
    "llm.token_count.prompt_details.cache_write": genai.USAGE_CACHE_WRITE_TOKENS,
    "llm.token_count.completion_details.reasoning": genai.USAGE_REASONING_TOKENS,
    "tool.name": genai.TOOL_NAME,
    "tool.description": genai.TOOL_DESCRIPTION,
    "tool.call_id": genai.TOOL_CALL_ID,
    "tool.id": genai.TOOL_CALL_ID,
    "tool_call.id": genai.TOOL_CALL_ID,
    "agent.name": genai.AGENT_NAME,
}
_REQUEST_OF_PARAMETER: Final[Mapping[str, str]] = {
    "temperature": genai.REQUEST_TEMPERATURE,
    "top_p": genai.REQUEST_TOP_P,
    "top_k": genai.REQUEST_TOP_K,
    "max_tokens": genai.REQUEST_MAX_TOKENS,
    "seed": genai.REQUEST_SEED,
    "frequency_penalty": genai.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": genai.REQUEST_PRESENCE_PENALTY,
    "n": genai.REQUEST_CHOICE_COUNT,
}
_NAMESPACES: Final = (
    "audio.",
    "document.",
    "embedding.",
    "image.",
    "input.",
    "llm.",
    "message.",
    "message_content.",
    "output.",
    "prompt.",
    "reranker.",
    "retrieval.",
    "tool.",
    "tool_call.",
)
_SAID_TWICE: Final = frozenset(("input.mime_type", "output.mime_type", "llm.token_count.total", FINISH))
_HARMLESS: Final = ("llm.cost.", "llm.token_count.", "tool.json_schema")
# Lists that are read as a whole, or, the vectors of embeddings, left out.
_LISTS: Final = (
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.tools.",
    "retrieval.documents.",
    "reranker.input_documents.",
    "reranker.output_documents.",
    "embedding.embeddings.",
)
_READ: Final = frozenset((INPUT, OUTPUT, "llm.invocation_parameters", "reranker.query", "tool.parameters", "metadata"))


def translated(record: SpanRecord) -> SpanRecord:
    """Return a span of OpenInference in GenAI terms."""
    said = record.attributes
    attributes: dict[str, Any] = {}
    metadata = {key: value for key, value in mapping(said.get("metadata")).items() if key not in said}
    unknown: dict[str, Any] = {}
    for key, value in said.items():
        if key in _RENAMED:
            attributes.setdefault(_RENAMED[key], value)
        elif key in _READ or key in _SAID_TWICE or key.startswith(_LISTS):
            continue
        elif key.startswith(_NAMESPACES) and not key.startswith(_HARMLESS):
            unknown[key] = decoded(value)
        else:
            attributes[key] = value
    _parameters(attributes, said.get("llm.invocation_parameters"), unknown)
    _kind(attributes, record.name, str(said.get(KIND, "")).upper(), metadata)
    _content(attributes, said)
    if "metadata" in said and not mapping(said["metadata"]):
        unknown["metadata"] = said["metadata"]
    if metadata or unknown:
        attributes[genai.STEP_METADATA] = {**metadata, **unknown}
    if FINISH in said:
        attributes.setdefault(genai.RESPONSE_FINISH_REASONS, (said[FINISH],))
    return msgspec.structs.replace(record, attributes=attributes, status_description=_description(record))


def _description(record: SpanRecord) -> str | None:
    """Return why a span failed: of an exception its message, for which OpenInference has the whole traceback."""
    for event in reversed(record.events):
        if event.name == "exception":
            return text_of(event.attributes.get("exception.message")) or record.status_description
    return record.status_description


def _kind(attributes: dict[str, Any], name: str, kind: str, metadata: Mapping[str, Any]) -> None:
    if genai.OPERATION_NAME in attributes or genai.STEP_KIND in attributes:
        return  # on spans of Strands, which say it themselves
    operation = _OPERATION_OF_KIND.get(kind)
    graph = langgraph_kind(name, metadata) if kind in ("CHAIN", "AGENT") else None
    if graph == "NODE":
        attributes[genai.STEP_KIND] = "node"
        attributes[genai.NODE_NAME] = name
    elif graph == "AGENT" or kind == "AGENT":
        attributes[genai.OPERATION_NAME] = genai.INVOKE_AGENT
        attributes.setdefault(genai.AGENT_NAME, name)
    elif graph == "WORKFLOW":
        attributes[genai.OPERATION_NAME] = genai.INVOKE_WORKFLOW
        attributes[genai.WORKFLOW_NAME] = name
    elif operation is None and not kind and genai.REQUEST_MODEL in attributes:
        attributes[genai.OPERATION_NAME] = genai.CHAT
    elif operation is None:
        attributes[genai.STEP_KIND] = "step"
        attributes[genai.STEP_NAME] = name
    else:
        attributes[genai.OPERATION_NAME] = operation
        if operation == genai.EXECUTE_TOOL:
            attributes.setdefault(genai.TOOL_NAME, name)


def _parameters(attributes: dict[str, Any], value: Any, unknown: dict[str, Any]) -> None:
    """Read what a model was called with; what is no number is kept as content, since it may be anything."""
    if value is None:
        return
    given = mapping(value)
    rest: dict[str, Any] = {}
    for name, one in given.items():
        key = _REQUEST_OF_PARAMETER.get(name)
        if key is not None and (number := number_of(one)) is not None:
            attributes.setdefault(key, number)
        elif one is not None:
            rest[name] = one
    if rest or not given:
        unknown["llm.invocation_parameters"] = rest or value


def _content(attributes: dict[str, Any], said: Mapping[str, Any]) -> None:
    asked, answered = decoded(said.get(INPUT)), decoded(said.get(OUTPUT))
    operation = attributes.get(genai.OPERATION_NAME)
    found: dict[str, Any] = {}
    if operation == genai.EXECUTE_TOOL:
        given = langchain_message(answered)
        found[genai.TOOL_CALL_ARGUMENTS] = decoded(said.get("tool.parameters")) if asked is None else asked
        found[genai.TOOL_CALL_RESULT] = given.get("content", answered)
        found[genai.TOOL_CALL_ID] = text_of(given.get("tool_call_id"))
    elif operation == genai.RETRIEVAL:
        documents = _documents(said, "retrieval.documents.") or _documents(said, "reranker.output_documents.")
        found[genai.RETRIEVAL_QUERY] = said.get("reranker.query", asked)
        found[genai.RETRIEVAL_DOCUMENTS] = documents or answered
    elif operation == genai.EMBEDDINGS:
        texts = [one.get("embedding.text") for one in items(said, "embedding.embeddings.")]
        found[genai.STEP_INPUT] = [text for text in texts if text is not None] or asked
    elif operation is not None:
        found[genai.INPUT_MESSAGES] = _messages(said, "llm.input_messages.")
        found[genai.OUTPUT_MESSAGES] = _messages(said, "llm.output_messages.")
        found[genai.STEP_INPUT] = None if found[genai.INPUT_MESSAGES] else asked
        found[genai.STEP_OUTPUT] = None if found[genai.OUTPUT_MESSAGES] else answered
    else:
        found = {genai.STEP_INPUT: asked, genai.STEP_OUTPUT: answered}
    found[genai.TOOL_DEFINITIONS] = [_tool(one) for one in items(said, "llm.tools.")] or None
    for key, value in found.items():
        if value is not None:
            attributes.setdefault(key, value)


def _messages(said: Mapping[str, Any], prefix: str) -> list[dict[str, Any]] | None:
    found = [_message(one) for one in items(said, prefix)]
    return [one for one in found if one is not None] or None


def _message(flat: Mapping[str, Any]) -> dict[str, Any] | None:
    content = flat.get("message.content")
    blocks = [_block(one) for one in items(flat, "message.contents.")]
    calls = [
        {
            "id": one.get("tool_call.id"),
            "name": one.get("tool_call.function.name"),
            "arguments": one.get("tool_call.function.arguments"),
        }
        for one in items(flat, "message.tool_calls.")
    ]
    if "message.function_call_name" in flat:
        arguments = flat.get("message.function_call_arguments_json")
        calls.append({"id": None, "name": flat["message.function_call_name"], "arguments": arguments})
    said = blocks if content is None and blocks else content
    made = message(flat.get("message.role"), said, calls=calls, call_id=flat.get("message.tool_call_id"))
    reason = flat.get("message.finish_reason")
    return made if made is None or reason is None else {**made, "finish_reason": reason}


def _block(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return one of several contents of a message: a text, a call, or what it is under its own names."""
    text = flat.get("message_content.text")
    if text is not None:
        kind = "reasoning" if flat.get("message_content.type") == "reasoning" else "text"
        return {"type": kind, "content": text}
    if "message_content.tool_call.function.name" in flat:
        name, arguments = (flat.get(f"message_content.tool_call.function.{field}") for field in ("name", "arguments"))
        return tool_call(flat.get("message_content.tool_call.id"), name, arguments)
    return {key.removeprefix("message_content."): value for key, value in flat.items()}


def _documents(said: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    return [
        {key.removeprefix("document."): decoded(value) for key, value in one.items()} for one in items(said, prefix)
    ]


def _tool(flat: Mapping[str, Any]) -> Any:
    schema = flat.get("tool.json_schema")
    return decoded(schema) if schema is not None else {key.removeprefix("tool."): value for key, value in flat.items()}
