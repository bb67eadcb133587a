"""Flows: nodes are steps, agents within them nest, a question to the user interrupts and is answered."""

from __future__ import annotations

from typing import Any

from otel_agent_journal.testing.bedrock import BedrockServer, agent_parts, flow_parts, stream
from otel_agent_journal.testing.bedrock.flow_parts import (
    flow_completion,
    flow_output,
    flow_question,
    node_action,
    node_agent_trace,
    node_condition,
    node_input,
    node_output,
)
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import outcomes, read, told
from tests.frameworks.langgraph.recording import Recording

FLOW = "arn:aws:bedrock:us-east-1:123456789012:flow/TRIPFLOW01"
START = [{"nodeName": "FlowInputNode", "nodeOutputName": "document", "content": {"document": "To Rome."}}]
ANSWER = [{"nodeName": "Agent", "nodeInputName": "agentInputText", "content": {"document": "In May."}}]


def run(client: Any, inputs: list[dict[str, Any]] = START, **more: Any) -> Any:
    """Invoke the flow with its trace, and return the response."""
    given = {"flowIdentifier": FLOW, "flowAliasIdentifier": "LIVE123456", "enableTrace": True}
    return client.invoke_flow(**given, inputs=inputs, **more)


def test_flow_with_everything(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """Nodes are steps of the flow with what went in and came out; what an agent in a node does is below the node."""
    parts = [
        node_output("FlowInputNode", {"document": "To Rome."}),
        node_input("Season", {"month": 5}),
        node_condition("Season", "summer"),
        node_output("Season", {"ignored": True}),
        node_input("Prompt", {"text": "To Rome."}),
        node_action("Prompt", "Bedrock", "InvokeModel"),
        node_output("Prompt", {"modelCompletion": {"city": "Rome"}}),
        node_input("Agent", {"agentInputText": "Rome"}),
        node_agent_trace("Agent", *asking.thinks("Rome?", "Yes."), agent_parts.action_group_input("Find", "trip")),
        node_agent_trace("Agent", agent_parts.action_group_output("found")),
        node_output("Agent", {"agentResponse": "AZ 1"}),
        node_input("FlowOutputNode", {"document": "AZ 1"}),
        flow_output("AZ 1"),
        flow_completion(),
    ]
    server.script(stream(parts))
    read(run(client, executionId="execution-1"), "responseStream")
    assert told(recording) == snapshot
    assert recording.status == ("COMPLETED", None)


def test_nodes_of_a_loop(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A node that is begun again before it ended is another step; they end in the order in which they began."""
    begun = [node_input("Each", {"item": number}) for number in (1, 2)]
    ended = [node_output("Each", {"result": number}) for number in (1, 2)]
    server.script(stream(begun, ended, flow_output({"sum": 3}), flow_output([4]), flow_completion()))
    read(run(client), "responseStream")
    flow, first, second = recording.steps.steps
    assert [(step.last.details_start["input"], step.last.details_end["output"]) for step in (first, second)] == [
        ({"item": 1}, {"result": 1}),
        ({"item": 2}, {"result": 2}),
    ]
    assert flow.last.details_end["output"] == [{"sum": 3}, [4]]


def test_agent_that_fails_in_a_node(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A node whose agent failed is failed, with what the agent had open."""
    parts = [
        node_input("Agent", {}),
        node_agent_trace("Agent", agent_parts.action_group_input("Find", "trip"), agent_parts.failure("no access")),
        node_output("Agent", {}),
        flow_output("sorry"),
        flow_completion(),
    ]
    server.script(stream(parts))
    read(run(client), "responseStream")
    assert outcomes(recording) == {"TRIPFLOW01": "ok", "Agent": "error", "Find.trip": "error"}


def test_question_and_answer(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """A flow that asks its user is interrupted; the answer goes on under the same execution, in the same session."""
    asked = [node_input("Agent", {"agentInputText": "To Rome."}), flow_question("When?")]
    server.script(stream(asked, flow_completion("INPUT_REQUIRED")), stream(flow_output("AZ 1"), flow_completion()))
    response = run(client)
    read(response, "responseStream")
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    read(run(client, ANSWER, executionId=response["executionId"]), "responseStream")
    assert recording.status == ("COMPLETED", None)
    assert told(recording) == snapshot
    first, second = recording.steps.roots
    assert recording.steps.resumes == {second.step_id: first.step_id}


def test_execution_that_is_named_is_the_session(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A flow whose request names its execution is a session of that name; a first call resumes nothing."""
    server.script(stream(flow_parts.flow_output("AZ 1"), flow_completion()))
    read(run(client, executionId="execution-7"), "responseStream")
    assert list(recording.sessions) == ["execution-7"]
    assert not recording.steps.resumes


def test_agent_of_a_node_that_was_not_told(recording: Recording, server: BedrockServer, client: Any) -> None:
    """What an agent does in a node whose beginning was not told is below that node all the same."""
    found = node_agent_trace("Agent", agent_parts.action_group_input("Find", "trip"))
    server.script(stream(found, flow_output("AZ 1"), flow_completion()))
    read(run(client), "responseStream")
    assert outcomes(recording) == {"TRIPFLOW01": "ok", "Agent": "ok", "Find.trip": "ok"}
