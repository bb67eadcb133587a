"""The service's own shapes read into plain data: parameters, references, times, usage. Pure and total.

A part of a stream is what botocore parsed: members that are absent are left out, times are datetimes, blobs bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, cast

from otel_agent_journal.event import EMPTY, ErrorInfo, Usage
from otel_agent_journal.mapping import usage
from otel_agent_journal.mapping.genai import (
    PROVIDER_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_STOP_SEQUENCES,
    REQUEST_TEMPERATURE,
    REQUEST_TOP_K,
    REQUEST_TOP_P,
)

PROVIDER: Final = "aws.bedrock"
REQUEST_ID: Final = "aws.request_id"
_MAX_SOURCES: Final = 1_000  # of one invocation

_INFERENCE: Final = (
    ("temperature", REQUEST_TEMPERATURE),
    ("topP", REQUEST_TOP_P),
    ("topK", REQUEST_TOP_K),
    ("maximumLength", REQUEST_MAX_TOKENS),
    ("stopSequences", REQUEST_STOP_SEQUENCES),
)
_TIMES: Final = (
    ("startTime", "start_time"),
    ("endTime", "end_time"),
    ("totalTimeMs", "total_time_ms"),
    ("operationTotalTimeMs", "operation_total_time_ms"),
)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that should be a structure; an empty one where it is not."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else EMPTY


def items(value: Any) -> list[Mapping[str, Any]]:
    """Return the structures of a list."""
    if not isinstance(value, list | tuple):
        return []
    return [cast("Mapping[str, Any]", item) for item in cast("list[Any]", value) if isinstance(item, Mapping)]


def text(value: Any) -> str:
    """Return a text, empty where there is none."""
    return value if isinstance(value, str) else ""


def present(**fields: Any) -> dict[str, Any]:
    """Return the fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def parameters(given: Any) -> dict[str, Any]:
    """Return a list of name, type and value as a mapping."""
    return {str(item.get("name")): item.get("value") for item in items(given)}


def action_input(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an action group is called with: its parameters and, of an API, the properties of its body."""
    found = parameters(given.get("parameters"))
    for content in mapping(mapping(given.get("requestBody")).get("content")).values():
        listed: Any = content.get("properties") if isinstance(content, Mapping) else content  # type: ignore[union-attr]
        found.update(parameters(listed))
    return found


def action_name(given: Mapping[str, Any]) -> str:
    """Return the name of an action: its group, and its function, or method and path."""
    group = text(given.get("actionGroupName")) or text(given.get("actionGroup")) or "action group"
    function = text(given.get("function"))
    if function:
        return f"{group}.{function}"
    path = text(given.get("apiPath"))
    verb = text(given.get("verb")) or text(given.get("httpMethod"))
    return f"{group} {verb.upper()} {path}".replace("  ", " ") if path else group


def references(found: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return retrieved references as documents, and where they are from."""
    documents: list[dict[str, Any]] = []
    for reference in items(found):
        content = mapping(reference.get("content"))
        said = content.get("text") or content.get("row") or mapping(content.get("video")).get("summary")
        documents.append(
            present(
                content=said or mapping(content.get("audio")).get("transcription"),
                source=source_of(mapping(reference.get("location"))),
                metadata=dict(mapping(reference.get("metadata"))),
            )
        )
    sources = [document["source"] for document in documents if "source" in document]
    return documents, list(dict.fromkeys(sources))


def source_of(location: Mapping[str, Any]) -> str | None:
    """Return the address of a retrieved reference, whatever kind of place it is in."""
    for place in location.values():
        for name in ("uri", "url", "id", "query"):
            found = mapping(place).get(name)
            if isinstance(found, str) and found:
                return found
    return None


def cited(attribution: Any, known: dict[str, None]) -> None:
    """Add the sources that a chunk of the answer cites to those known."""
    for citation in items(mapping(attribution).get("citations")):
        for source in references(citation.get("retrievedReferences"))[1]:
            if len(known) < _MAX_SOURCES:
                known[source] = None


def model_attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a model's invocation."""
    attributes: dict[str, Any] = {PROVIDER_NAME: PROVIDER}
    model = text(given.get("foundationModel"))
    if model:
        attributes[REQUEST_MODEL] = model
    inference = mapping(given.get("inferenceConfiguration"))
    attributes.update({attribute: inference[name] for name, attribute in _INFERENCE if inference.get(name) is not None})
    return attributes


def model_name(identifier: str) -> str:
    """Return the short name of a model: of an ARN what follows the last slash."""
    return identifier.rpartition("/")[2] or "model"


def usage_of(output: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that an invocation's metadata counts."""
    return usage.usage_of(mapping(output.get("metadata")).get("usage"))


def service_times(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"service": ...}`: when and how long it ran, as the service says; nothing where it does not."""
    metadata = mapping(output.get("metadata"))
    times = {name: _plain_time(metadata[key]) for key, name in _TIMES if metadata.get(key) is not None}
    return {"service": times} if times else {}


def request_id(output: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attribute with the service's id of an invocation, where it gives one."""
    found = text(mapping(output.get("metadata")).get("clientRequestId"))
    return {REQUEST_ID: found} if found else {}


def failure_of(trace: Mapping[str, Any]) -> ErrorInfo:
    """Return why an agent failed, from its failure trace."""
    code = trace.get("failureCode")
    return ErrorInfo(
        type="FailureTrace", message=text(trace.get("failureReason")), code=None if code is None else str(code)
    )


def assessments(found: Any) -> list[str]:
    """Return what a guardrail objected to, a line each, without the text that matched."""
    said: list[str] = []
    for assessment in items(found):
        topics = items(mapping(assessment.get("topicPolicy")).get("topics"))
        said += [f"topic {text(topic.get('name'))}" for topic in topics]
        filters = items(mapping(assessment.get("contentPolicy")).get("filters"))
        said += [f"content {text(one.get('type'))} {text(one.get('confidence'))}".strip() for one in filters]
        words = mapping(assessment.get("wordPolicy"))
        said += ["word" for _ in items(words.get("customWords"))]
        said += [f"word {text(word.get('type'))}" for word in items(words.get("managedWordLists"))]
        said += _sensitive(mapping(assessment.get("sensitiveInformationPolicy")))
    return said


def _sensitive(policy: Mapping[str, Any]) -> Iterable[str]:
    for entity in items(policy.get("piiEntities")):
        yield f"{text(entity.get('action'))} {text(entity.get('type'))}".strip()
    for pattern in items(policy.get("regexes")):
        yield f"{text(pattern.get('action'))} pattern {text(pattern.get('name'))}".strip()


def _plain_time(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
