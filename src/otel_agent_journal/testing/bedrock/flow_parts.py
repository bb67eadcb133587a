"""The parts of a flow's stream: outputs of its nodes, their traces, questions to the user, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from otel_agent_journal.testing.bedrock.replies import Part


def flow_output(document: Any, *, node: str = "FlowOutputNode", node_type: str = "FlowOutputNode") -> Part:
    """Return what a flow gives out at one of its output nodes."""
    return Part("flowOutputEvent", {"nodeName": node, "nodeType": node_type, "content": {"document": document}})


def flow_question(document: Any, *, node: str = "Agent", node_type: str = "FlowOutputNode") -> Part:
    """Return a flow's question to the user; the flow then ends with the reason INPUT_REQUIRED."""
    content = {"content": {"document": document}}
    return Part("flowMultiTurnInputRequestEvent", {"nodeName": node, "nodeType": node_type, **content})


def flow_completion(reason: Literal["SUCCESS", "INPUT_REQUIRED"] = "SUCCESS") -> Part:
    """Return the end of a flow."""
    return Part("flowCompletionEvent", {"completionReason": reason})


def flow_trace(kind: str, body: Mapping[str, Any]) -> Part:
    """Return a flow's trace of any kind (`nodeInputTrace`, ...) and shape; the server adds its time."""
    return Part("flowTraceEvent", {"trace": {kind: dict(body)}})


def node_input(node: str, fields: Mapping[str, Any]) -> Part:
    """Return the trace of a node that begins, with its inputs by name."""
    named = [{"nodeInputName": name, "content": {"document": value}} for name, value in fields.items()]
    return flow_trace("nodeInputTrace", {"nodeName": node, "fields": named})


def node_output(node: str, fields: Mapping[str, Any]) -> Part:
    """Return the trace of a node that ended, with its outputs by name."""
    named = [{"nodeOutputName": name, "content": {"document": value}} for name, value in fields.items()]
    return flow_trace("nodeOutputTrace", {"nodeName": node, "fields": named})


def node_condition(node: str, *satisfied: str) -> Part:
    """Return the trace of a condition node, with the names of the conditions that held."""
    conditions = [{"conditionName": name} for name in satisfied]
    return flow_trace("conditionNodeResultTrace", {"nodeName": node, "satisfiedConditions": conditions})


def node_action(
    node: str, service: str, operation: str, *, request: Any = None, response: Any = None, request_id: str = "request-1"
) -> Part:
    """Return the trace of a call that a node makes to a service."""
    body: dict[str, Any] = {"nodeName": node, "serviceName": service, "operationName": operation}
    body |= {"requestId": request_id, "operationRequest": request or {}, "operationResponse": response or {}}
    return flow_trace("nodeActionTrace", body)


def node_agent_trace(node: str, *parts: Part) -> Part:
    """Return the trace of what an agent node's agent did: traces from `agent_parts`."""
    elements = {"agentTraces": [dict(part.payload) for part in parts]}
    return flow_trace("nodeDependencyTrace", {"nodeName": node, "traceElements": elements})
