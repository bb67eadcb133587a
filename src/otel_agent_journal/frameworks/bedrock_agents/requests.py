"""What a request says of the invocation it begins: name, session, input, and what it resumes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from otel_agent_journal.event import EMPTY
from otel_agent_journal.frameworks.bedrock_agents import shapes
from otel_agent_journal.frameworks.bedrock_agents.shapes import PROVIDER, mapping, present, text
from otel_agent_journal.mapping.genai import (
    AGENT_ID,
    INVOKE_WORKFLOW,
    OPERATION_NAME,
    PROVIDER_NAME,
    REQUEST_MODEL,
    SERVER_ADDRESS,
    SERVER_PORT,
)

SERVICE: Final = "bedrock-agent-runtime"
ALIAS_ID: Final = "aws.bedrock.agent_alias.id"
FLOW_ID: Final = "aws.bedrock.flow.id"
FLOW_ALIAS_ID: Final = "aws.bedrock.flow_alias.id"

STREAMS: Final[Mapping[str, str]] = {
    "InvokeAgent": "completion",
    "InvokeInlineAgent": "completion",
    "InvokeFlow": "responseStream",
}
"""The operations that are journaled, and the member of the response that is their stream."""


class Request(NamedTuple):
    """What an invocation begins with. `resumes`: the id that an interrupted one ended with."""

    name: str
    session_id: str | None
    attributes: dict[str, Any]
    details: dict[str, Any]
    resumes: str = ""
    answers: tuple[str, ...] = ()
    traced: bool = False
    parameters: Mapping[str, Any] = EMPTY


_TOLD: Final = frozenset(("executionId", "inputText", "inputs", "sessionId"))  # as input, and as the session


def request_of(operation: str, given: Mapping[str, Any], endpoint: str) -> Request:
    """Return what a request says."""
    parameters = {name: value for name, value in given.items() if name not in _TOLD}
    attributes = service_attributes(endpoint)
    traced = given.get("enableTrace") is True
    if operation == "InvokeFlow":
        return _flow(given, attributes, traced=traced)._replace(parameters=parameters)
    if operation == "InvokeAgent":
        name = text(given.get("agentId"))
        attributes |= present(**{AGENT_ID: name, ALIAS_ID: given.get("agentAliasId")})
        state = mapping(given.get("sessionState"))
    else:
        name = text(given.get("agentName")) or "inline_agent"
        attributes |= present(**{REQUEST_MODEL: given.get("foundationModel")})
        state = mapping(given.get("inlineSessionState"))
    results = shapes.items(state.get("returnControlInvocationResults"))
    known = ("sessionAttributes", "promptSessionAttributes")
    details = present(
        input=given.get("inputText") if not results else [dict(result) for result in results],
        metadata=present(**{key: dict(mapping(state.get(key))) for key in known}),
    )
    return Request(
        name or "agent",
        text(given.get("sessionId")) or None,
        attributes,
        details,
        resumes=text(state.get("invocationId")),
        answers=tuple(shapes.action_name(mapping(body)) for result in results for body in result.values()),
        traced=traced,
        parameters=parameters,
    )


def service_attributes(endpoint: str) -> dict[str, Any]:
    """Return the attributes that say where the service is."""
    attributes: dict[str, Any] = {PROVIDER_NAME: PROVIDER}
    address = urlsplit(endpoint)
    if address.hostname:
        attributes[SERVER_ADDRESS] = address.hostname
        attributes[SERVER_PORT] = address.port or (80 if address.scheme == "http" else 443)
    return attributes


def _flow(given: Mapping[str, Any], attributes: dict[str, Any], *, traced: bool) -> Request:
    flow = text(given.get("flowIdentifier")).rpartition("/")[2]  # an id, or an ARN that ends in one
    alias = text(given.get("flowAliasIdentifier")).rpartition("/")[2]
    attributes |= {OPERATION_NAME: INVOKE_WORKFLOW, **present(**{FLOW_ID: flow, FLOW_ALIAS_ID: alias})}
    inputs = shapes.items(given.get("inputs"))
    documents = [mapping(one.get("content")).get("document") for one in inputs]
    execution_id = text(given.get("executionId"))
    answers = any(text(one.get("nodeInputName")) for one in inputs)  # to a node that asked; a start names its output
    return Request(
        flow or "flow",
        execution_id or None,
        attributes,
        present(input=documents[0] if len(documents) == 1 else documents),
        resumes=execution_id if answers else "",
        traced=traced,
    )
