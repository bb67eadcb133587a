"""What the service itself knows of an agent's or a flow's event, added as it is sent: ids, callers, times."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from otel_agent_journal.testing.bedrock.agent_parts import alias_arn, chunk
from otel_agent_journal.testing.bedrock.converse import converse_parts, words
from otel_agent_journal.testing.bedrock.flow_parts import flow_completion, flow_output
from otel_agent_journal.testing.bedrock.invoke import invoke_chunks
from otel_agent_journal.testing.bedrock.replies import Message, Part, Parts
from otel_agent_journal.testing.bedrock.requests import Request

TRACES: Final = frozenset(("trace", "flowTraceEvent"))
"""Events that are sent only when the request asks for them with `enableTrace`."""


def parts_of(body: Message | Parts, request: Request) -> Iterable[Part]:
    """Return the stream that answers this request; a model's message serves agents and flows too, by its text."""
    if isinstance(body, Parts):
        return body.parts
    if request.operation == "ConverseStream":
        return converse_parts(body, request.number)
    if request.operation == "InvokeModelWithResponseStream":
        return invoke_chunks(body, request.number)
    text = "".join(block["text"] for block in body.blocks if "text" in block)
    if request.operation == "InvokeFlow":
        return (flow_output(text), flow_completion())
    streamed = request.body.get("streamingConfigurations", {}).get("streamFinalResponse", False)
    return [chunk(piece) for piece in (words(text) if streamed else [text])]


def complete(part: Part, request: Request, now: datetime) -> dict[str, Any]:
    """Return the payload as the service sends it to this request; what it already names stays."""
    payload = copy.deepcopy(dict(part.payload))
    if part.exception:
        return payload
    if part.name == "trace":
        _complete_agent_trace(payload, part.collaborators, request, now)
    elif part.name == "flowTraceEvent":
        for kind in _mappings(payload.get("trace")):
            kind.setdefault("timestamp", _instant(now))
    return payload


def _complete_agent_trace(
    payload: dict[str, Any], collaborators: tuple[str, ...], request: Request, now: datetime
) -> None:
    arn = f"arn:aws:bedrock:us-east-1:123456789012:agent-alias/{request.agent_id}/{request.alias_id}"
    callers = [arn] if request.agent_id else []
    callers += [alias_arn(name) for name in collaborators]
    payload.setdefault("sessionId", request.session_id)
    payload.setdefault("callerChain", [{"agentAliasArn": caller} for caller in callers])
    payload.setdefault("eventTime", _instant(now))
    if collaborators:
        payload.setdefault("collaboratorName", collaborators[-1])
    if request.agent_id:  # the traces of an inline agent have no such ids
        _, agent_id, alias_id = callers[-1].split("/")
        payload.setdefault("agentId", agent_id)
        payload.setdefault("agentAliasId", alias_id)
        payload.setdefault("agentVersion", "1")
    _complete_metadata(payload, request, now)


def _complete_metadata(node: dict[str, Any], request: Request, now: datetime) -> None:
    """Where a trace says how long it took, say also from when to when, and by which request."""
    metadata = node.get("metadata")
    if isinstance(metadata, dict) and "totalTimeMs" in metadata:
        known = cast("dict[str, Any]", metadata)
        known.setdefault("startTime", _instant(now - timedelta(milliseconds=known["totalTimeMs"])))
        known.setdefault("endTime", _instant(now))
        known.setdefault("clientRequestId", f"request-{request.number}")
    for inner in _mappings(node):
        _complete_metadata(inner, request, now)


def _mappings(node: object) -> list[dict[str, Any]]:
    if not isinstance(node, dict):
        return []
    values = cast("dict[str, object]", node).values()
    return [cast("dict[str, Any]", value) for value in values if isinstance(value, dict)]


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
