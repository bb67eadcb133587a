"""Traceloop's OpenLLMetry: its decorators, its frameworks, and its model clients in the older form and the newer. Pure.

Source: traceloop/openllmetry, `opentelemetry-semantic-conventions-ai`. Everything in its namespaces that is not known
here to be harmless is taken for content and kept as metadata.
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
    text_of,
    whole_message,
)
from otel_agent_journal.mapping.span_record import SpanRecord

KIND: Final = "traceloop.span.kind"
NAME: Final = "traceloop.entity.name"
INPUT: Final = "traceloop.entity.input"
OUTPUT: Final = "traceloop.entity.output"
REQUEST_TYPE: Final = "llm.request.type"
ASSOCIATION: Final = "traceloop.association.properties."
_UNKNOWN: Final = "unknown"  # what it calls a model that it could not find the name of

_ASKED: Final = ("gen_ai.prompt.", "llm.prompts.")
_ANSWERED: Final = ("gen_ai.completion.", "llm.completions.")
_FUNCTIONS: Final = "llm.request.functions."
_LISTS: Final = (*_ASKED, *_ANSWERED, _FUNCTIONS)
_FIRST: Final = tuple(f"{prefix}0.{field}" for prefix in (*_ASKED, *_ANSWERED) for field in ("role", "content"))
MARKS: Final = frozenset((KIND, NAME, INPUT, OUTPUT, REQUEST_TYPE, "traceloop.workflow.name", *_FIRST))

_OPERATION_OF_TYPE: Final[Mapping[str, str]] = {
    "chat": genai.CHAT,
    "completion": genai.TEXT_COMPLETION,
    "embedding": genai.EMBEDDINGS,
    "rerank": genai.RETRIEVAL,
}
_KIND_OF_OPERATION: Final[Mapping[str, str]] = {"vector_db_retrieve": "retrieval"}
_RENAMED: Final[Mapping[str, str]] = {
    "llm.vendor": genai.PROVIDER_NAME,
    "llm.request.model": genai.REQUEST_MODEL,
    "llm.response.model": genai.RESPONSE_MODEL,
    "llm.request.max_tokens": genai.REQUEST_MAX_TOKENS,
    "llm.temperature": genai.REQUEST_TEMPERATURE,
    "llm.top_p": genai.REQUEST_TOP_P,
    "llm.top_k": genai.REQUEST_TOP_K,
    "llm.frequency_penalty": genai.REQUEST_FREQUENCY_PENALTY,
    "llm.presence_penalty": genai.REQUEST_PRESENCE_PENALTY,
    "llm.chat.stop_sequences": genai.REQUEST_STOP_SEQUENCES,
    "llm.is_streaming": genai.REQUEST_STREAM,
    "llm.usage.prompt_tokens": genai.USAGE_INPUT_TOKENS,
    "llm.usage.completion_tokens": genai.USAGE_OUTPUT_TOKENS,
    "llm.usage.cache_read_input_tokens": genai.USAGE_CACHE_READ_TOKENS,
    "llm.usage.cache_creation_input_tokens": genai.USAGE_CACHE_WRITE_TOKENS,
    "llm.usage.reasoning_tokens": genai.USAGE_REASONING_TOKENS,
}
_NAMESPACES: Final = ("llm.", "traceloop.")
_HARMLESS: Final = frozenset(
    (
        KIND,
        NAME,
        REQUEST_TYPE,
        "traceloop.correlation.id",
        "traceloop.entity.path",
        "traceloop.entity.version",
        "traceloop.workflow.name",
        *genai.COST_READINGS,
    )
)
_FINISH: Final = ("llm.response.finish_reason", "llm.response.stop_reason")
_SAID_TWICE: Final = frozenset(("gen_ai.task.input", "gen_ai.task.output", "llm.usage.total_tokens", *_FINISH))
# The fields of what its LangChain instrumentation writes around an input and an output.
_AROUND: Final = frozenset(("tags", "metadata", "kwargs", "count"))
_INPUTS: Final = ("inputs", "input_str", "query")
_OUTPUTS: Final = ("outputs", "output", "documents")


def translated(record: SpanRecord) -> SpanRecord:
    """Return a span of Traceloop in GenAI terms."""
    said = record.attributes
    attributes: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for key, value in said.items():
        if key in _RENAMED:
            attributes.setdefault(_RENAMED[key], value)
        elif key.startswith(ASSOCIATION):
            metadata[key[len(ASSOCIATION) :]] = decoded(value)
        elif key in (INPUT, OUTPUT) or key in _SAID_TWICE or key.startswith(_LISTS):
            continue
        elif key.startswith(_NAMESPACES) and key not in _HARMLESS:
            metadata[key] = decoded(value)
        else:
            attributes[key] = value
    for key in (genai.REQUEST_MODEL, genai.RESPONSE_MODEL):
        if attributes.get(key) == _UNKNOWN:
            known = text_of(metadata.get("ls_model_name")) if key == genai.REQUEST_MODEL else None
            attributes.pop(key)
            if known is not None:
                attributes[key] = known
    _kind(attributes, record.name, metadata)
    _content(attributes, said)
    _session(attributes, said)
    for key in _FINISH:
        if key in said:
            attributes.setdefault(genai.RESPONSE_FINISH_REASONS, (said[key],))
    if metadata:
        attributes[genai.STEP_METADATA] = metadata
    return msgspec.structs.replace(record, attributes=attributes)


def _session(attributes: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Give the conversation's own attribute to what is found among the properties, unless the span names another."""
    key = next((key for key in genai.SESSION_KEYS if said.get(key) not in (None, "")), "")
    if key.startswith(ASSOCIATION):
        attributes[genai.CONVERSATION_ID] = said[key]


def _kind(attributes: dict[str, Any], span_name: str, metadata: Mapping[str, Any]) -> None:
    if genai.STEP_KIND in attributes:
        return
    kind, name = attributes.get(KIND), text_of(attributes.get(NAME)) or span_name
    operation = attributes.get(genai.OPERATION_NAME)
    if operation is None:
        operation = _OPERATION_OF_TYPE.get(str(attributes.get(REQUEST_TYPE)))
        if operation is not None:
            attributes[genai.OPERATION_NAME] = operation
    if genai.KIND_OF_OPERATION.get(str(operation)) is not None:
        return
    if str(operation) in _KIND_OF_OPERATION:
        attributes[genai.STEP_KIND], attributes[genai.STEP_NAME] = _KIND_OF_OPERATION[str(operation)], name
    elif kind == "tool":
        attributes[genai.OPERATION_NAME], attributes[genai.TOOL_NAME] = genai.EXECUTE_TOOL, name
    elif kind == "agent" or (kind == "workflow" and langgraph_kind(name, metadata) == "AGENT"):
        attributes[genai.OPERATION_NAME], attributes[genai.AGENT_NAME] = genai.INVOKE_AGENT, name
    elif kind == "workflow":
        attributes[genai.OPERATION_NAME], attributes[genai.WORKFLOW_NAME] = genai.INVOKE_WORKFLOW, name
    elif langgraph_kind(name, metadata) == "NODE":
        attributes[genai.STEP_KIND], attributes[genai.NODE_NAME] = "node", name
    else:
        attributes[genai.STEP_KIND], attributes[genai.STEP_NAME] = "step", name


def _content(attributes: dict[str, Any], said: Mapping[str, Any]) -> None:
    given, got = decoded(said.get(INPUT)), decoded(said.get(OUTPUT))
    asked, answered = _unwrapped(given, _INPUTS), _unwrapped(got, _OUTPUTS)
    found: dict[str, Any] = {}
    if attributes.get(genai.OPERATION_NAME) == genai.EXECUTE_TOOL:
        result = langchain_message(answered)
        call_id = result.get("tool_call_id") or mapping(mapping(given).get("kwargs")).get("tool_call_id")
        attributes.setdefault(genai.TOOL_CALL_ID, text_of(call_id))
        found[genai.TOOL_CALL_ARGUMENTS] = asked
        found[genai.TOOL_CALL_RESULT] = result.get("content", answered)
    elif attributes.get(genai.STEP_KIND) == "retrieval":
        found = {genai.RETRIEVAL_QUERY: asked, genai.RETRIEVAL_DOCUMENTS: answered}
    else:
        found = {genai.STEP_INPUT: asked, genai.STEP_OUTPUT: answered}
    attributes.update({key: value for key, value in found.items() if value is not None})
    for prefixes, role, key in (
        (_ASKED, "user", genai.INPUT_MESSAGES),
        (_ANSWERED, "assistant", genai.OUTPUT_MESSAGES),
    ):
        messages = [made for prefix in prefixes for one in items(said, prefix) if (made := _message(one, role))]
        if messages:
            attributes.setdefault(key, messages)
    functions = [{key: decoded(value) for key, value in one.items()} for one in items(said, _FUNCTIONS)]
    if functions:
        attributes.setdefault(genai.TOOL_DEFINITIONS, functions)


def _unwrapped(value: Any, fields: tuple[str, ...]) -> Any:
    """Return the input, or the output, out of what is written around it."""
    around = mapping(value)
    if around and all(key in _AROUND or key in fields for key in around):
        for field in fields:
            if field in around:
                return decoded(around[field])
    return value


def _message(flat: Mapping[str, Any], role: str) -> dict[str, Any] | None:
    calls = [
        {"id": one.get("id"), "function": {"name": one.get("name"), "arguments": one.get("arguments")}}
        for one in items(flat, "tool_calls.")
    ]
    content = flat.get("content", flat.get(""))
    spoken = str(flat.get("role") or role)
    made = whole_message(
        {"role": spoken, "content": content, "tool_calls": calls, "tool_call_id": flat.get("tool_call_id")}, role
    )
    reason = flat.get("finish_reason")
    return made if made is None or reason is None else {**made, "finish_reason": reason}
