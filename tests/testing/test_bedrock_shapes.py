"""Everything the constructors make fits the service's own model: a client drops what it does not know in silence."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import botocore.session
import pytest

from otel_agent_journal.testing.bedrock import Part, Usage, call_tool, message, reasoning, say
from otel_agent_journal.testing.bedrock import agent_parts as agent
from otel_agent_journal.testing.bedrock import flow_parts as flow
from otel_agent_journal.testing.bedrock.completion import complete
from otel_agent_journal.testing.bedrock.converse import converse_body, converse_parts
from otel_agent_journal.testing.bedrock.replies import STATUS
from otel_agent_journal.testing.bedrock.requests import Request

MODELS = {
    name: botocore.session.get_session().get_service_model(name)
    for name in ("bedrock-runtime", "bedrock-agent-runtime")
}
FOUND = agent.reference("text", metadata={"page": 3})

AGENT_PARTS = [
    agent.chunk("Hello"),
    agent.chunk("Hello", [agent.citation("Hello", FOUND)]),
    agent.files(("a.csv", b"1")),
    agent.return_control(agent.function_input("g", "f", {"x": 1}), agent.api_input("g", "/p", {"x": 1.5}, verb="POST")),
    *(agent.model_input("p", phase=phase) for phase in agent._PROMPT_TYPES),
    agent.model_output("r", usage=Usage(), thinking="hm"),
    agent.model_output("r", phase="preProcessing", parsed={"isValid": True, "rationale": "fine"}),
    agent.model_output("r", phase="postProcessing", parsed={"text": "better"}),
    agent.model_output("r", phase="routingClassifier"),
    agent.rationale("why"),
    agent.action_group_input("g", "f", {"x": [1, 2], "y": "s"}, invocation_id="i"),
    agent.action_group_input("g", api_path="/p", execution_type="RETURN_CONTROL"),
    agent.action_group_output("out"),
    agent.knowledge_base_input("q"),
    agent.knowledge_base_output(FOUND),
    agent.code_interpreter_input("print(1)", names=["a.csv"]),
    agent.code_interpreter_output("1", names=["b.csv"]),
    agent.code_interpreter_output(error="NameError", timed_out=True),
    agent.collaborator_input("other", "do"),
    agent.collaborator_input("other", "do", phase="routingClassifier"),
    agent.collaborator_output("other", "done"),
    agent.collaborator_output("other", "done", phase="routingClassifier"),
    *agent.by_collaborator("other", agent.rationale("why")),
    agent.final_response("done"),
    agent.reprompt("again"),
    agent.guardrail(topic="money"),
    agent.guardrail("NONE", on_output=True),
    agent.failure("broken", code=404),
    agent.custom_orchestration("mine"),
]

FLOW_PARTS = [
    flow.flow_output({"a": 1}),
    flow.flow_question("which?"),
    flow.flow_completion(),
    flow.node_input("n", {"a": [1]}),
    flow.node_output("n", {"a": "b"}),
    flow.node_condition("n", "yes"),
    flow.node_action("n", "lambda", "Invoke", request={"a": 1}, response={"b": 2}),
    flow.node_agent_trace("n", agent.rationale("why")),
]


def assert_fits(shape, value, path: str) -> None:
    """Members are known, a union has one of them, types agree, and strings are of the enum."""
    match shape.type_name:
        case "structure" if shape.is_document_type:
            return
        case "structure":
            unknown = set(value) - set(shape.members)
            assert not unknown, f"{path} has no {unknown}"
            assert len(value) == 1 or not shape.is_tagged_union, f"{path} is a union, given {set(value)}"
            for name, inner in value.items():
                assert_fits(shape.members[name], inner, f"{path}.{name}")
        case "list":
            for inner in value:
                assert_fits(shape.member, inner, f"{path}[]")
        case "map":
            for inner in value.values():
                assert_fits(shape.value, inner, f"{path}{{}}")
        case "string":
            assert isinstance(value, str), path
            assert not shape.enum or value in shape.enum, f"{path}: {value}"
        case "boolean":
            assert isinstance(value, bool), path
        case "integer" | "long":
            assert isinstance(value, int), path
        case "float" | "double":
            assert isinstance(value, int | float), path
        case "timestamp":
            assert datetime.fromisoformat(value).tzinfo is not None, path
        case "blob":
            base64.b64decode(value, validate=True)
        case other:
            raise AssertionError(f"{path} is a {other}")


def output(service: str, operation: str):
    return MODELS[service].operation_model(operation).output_shape


def request(operation: str) -> Request:
    agent_id = "AGENT00001" if operation == "InvokeAgent" else ""
    return Request(
        number=1,
        operation=operation,
        path="",
        headers={},
        body={},
        session_id="session",
        agent_id=agent_id,
        alias_id="A",
    )


@pytest.mark.parametrize("operation", ["InvokeAgent", "InvokeInlineAgent"])
def test_agent_parts_fit_the_service_model(operation):
    """Each part of an agent's stream, as it is sent, has the members, unions and enums of the model."""
    events = output("bedrock-agent-runtime", operation).members["completion"].members
    for part in AGENT_PARTS:
        assert_fits(events[part.name], complete(part, request(operation), datetime.now(UTC)), part.name)


@pytest.mark.parametrize("part", FLOW_PARTS, ids=lambda part: "-".join([part.name, *part.payload.get("trace", {})]))
def test_flow_parts_fit_the_service_model(part):
    """Each part of a flow's stream, as it is sent, has the members of the model."""
    events = output("bedrock-agent-runtime", "InvokeFlow").members["responseStream"].members
    assert_fits(events[part.name], complete(part, request("InvokeFlow"), datetime.now(UTC)), part.name)


@pytest.mark.parametrize(
    "reply",
    [
        say("Hello there", thinking="A greeting"),
        call_tool("search", {"q": {"deep": [1]}}),
        message(reasoning("hm"), {"reasoningContent": {"redactedContent": "c2VjcmV0"}}, "text"),
    ],
)
def test_a_message_fits_both_forms_of_the_service_model(reply):
    """A message is a valid response of Converse, and each event of it one of ConverseStream."""
    assert_fits(output("bedrock-runtime", "Converse"), converse_body(reply.body, 1), "Converse")
    events = output("bedrock-runtime", "ConverseStream").members["stream"].members
    for part in converse_parts(reply.body, 1):
        assert isinstance(part, Part)
        assert_fits(events[part.name], part.payload, part.name)


def test_statuses_are_those_of_the_service_models():
    """Every error that an operation names is known here, with its status, where the two services agree on it."""
    operations = [
        ("bedrock-runtime", "Converse"),
        ("bedrock-runtime", "ConverseStream"),
        ("bedrock-agent-runtime", "InvokeAgent"),
        ("bedrock-agent-runtime", "InvokeInlineAgent"),
        ("bedrock-agent-runtime", "InvokeFlow"),
    ]
    modelled: dict[str, set[int]] = {}
    for service, name in operations:
        for shape in MODELS[service].operation_model(name).error_shapes:
            modelled.setdefault(shape.name, set()).add(shape.metadata["error"]["httpStatusCode"])
    assert {name: STATUS.get(name) for name, statuses in modelled.items() if STATUS.get(name) not in statuses} == {}
