"""bedrock-agent-runtime, spoken with the real boto3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from urllib3.exceptions import ProtocolError

from otel_agent_journal.testing.bedrock import (
    BedrockServer,
    Usage,
    die,
    event,
    exception,
    fail,
    hold,
    say,
    stream,
    throttle,
)
from otel_agent_journal.testing.bedrock.agent_parts import (
    action_group_input,
    action_group_output,
    by_collaborator,
    chunk,
    citation,
    collaborator_input,
    collaborator_output,
    files,
    final_response,
    function_input,
    model_input,
    model_output,
    rationale,
    reference,
    return_control,
)
from otel_agent_journal.testing.bedrock.flow_parts import (
    flow_completion,
    flow_output,
    flow_question,
    node_agent_trace,
    node_input,
    node_output,
)

RETRYING = Config(retries={"mode": "standard", "total_max_attempts": 2})


def invoke_agent(server: BedrockServer, **more) -> dict:
    given = {"agentId": "AGENT00001", "agentAliasId": "ALIAS00001", "sessionId": "s-1", "inputText": "Where?"}
    client = server.client("bedrock-agent-runtime", config=RETRYING)
    return client.invoke_agent(**given | {"enableTrace": True} | more)


def invoke_flow(server: BedrockServer, **more) -> dict:
    asked = [{"nodeName": "FlowInputNode", "nodeOutputName": "document", "content": {"document": "Where?"}}]
    client = server.client("bedrock-agent-runtime")
    return client.invoke_flow(flowIdentifier="FLOW000001", flowAliasIdentifier="TEST", inputs=asked, **more)


def completion(server: BedrockServer, **more) -> Iterator[dict]:
    """The events; a stream that breaks is closed, as a careful reader does."""
    with closing(invoke_agent(server, **more)["completion"]) as events:
        yield from events


def test_a_text_is_one_chunk(server):
    """A scripted text answers an agent too, in one chunk, or word by word where the request asks for a stream."""
    server.script(say("On its way"), say("On its way"))
    response = invoke_agent(server)
    assert response["sessionId"] == "s-1"
    assert response["contentType"] == "application/json"
    assert list(response["completion"]) == [{"chunk": {"bytes": b"On its way"}}]
    streamed = completion(server, streamingConfigurations={"streamFinalResponse": True})
    assert [part["chunk"]["bytes"] for part in streamed] == [b"On ", b"its ", b"way"]


def test_a_request_names_its_agent_alias_and_session(server):
    """Ids of the path are read back decoded, and the input text is the request's text."""
    server.script("Hello")
    list(completion(server, sessionId="user:1.2", memoryId="memory-1"))
    (request,) = server.requests
    assert (request.operation, request.agent_id, request.alias_id) == ("InvokeAgent", "AGENT00001", "ALIAS00001")
    assert (request.session_id, request.text) == ("user:1.2", "Where?")


def test_traces_come_in_order_with_what_the_service_knows(server):
    """Each trace names agent, session and caller; times and usage are where the service puts them."""
    server.script(
        stream(
            model_input("Where is 7?"),
            model_output("call getOrder", usage=Usage(input_tokens=100, output_tokens=20), took_ms=250),
            rationale("I look the order up"),
            action_group_input("Orders", "getOrder", {"id": 7, "fresh": True}),
            action_group_output('{"status": "sent"}'),
            final_response("On its way"),
            chunk("On its way"),
        )
    )
    *traces, last = completion(server)
    assert last == {"chunk": {"bytes": b"On its way"}}
    parts = [part["trace"] for part in traces]
    assert {(part["agentId"], part["agentAliasId"], part["sessionId"]) for part in parts} == {
        ("AGENT00001", "ALIAS00001", "s-1")
    }
    assert parts[0]["callerChain"] == [
        {"agentAliasArn": "arn:aws:bedrock:us-east-1:123456789012:agent-alias/AGENT00001/ALIAS00001"}
    ]
    bodies = [part["trace"]["orchestrationTrace"] for part in parts]
    assert [next(iter(body)) for body in bodies] == [
        "modelInvocationInput",
        "modelInvocationOutput",
        "rationale",
        "invocationInput",
        "observation",
        "observation",
    ]
    metadata = bodies[1]["modelInvocationOutput"]["metadata"]
    assert metadata["usage"] == {"inputTokens": 100, "outputTokens": 20}
    assert (metadata["endTime"] - metadata["startTime"]).total_seconds() == 0.25
    assert bodies[3]["invocationInput"]["actionGroupInvocationInput"]["parameters"] == [
        {"name": "id", "type": "integer", "value": "7"},
        {"name": "fresh", "type": "boolean", "value": "true"},
    ]


def test_traces_come_only_where_they_are_asked_for(server):
    """Without enableTrace the same script sends its chunks alone, as the service does."""
    server.script(stream(rationale("I think"), chunk("Hello")))
    assert list(completion(server, enableTrace=False)) == [{"chunk": {"bytes": b"Hello"}}]


def test_traces_of_collaborators_name_their_callers(server):
    """A collaborator's traces carry its name, and the chain of agents from the invoked one down to it."""
    inner = by_collaborator("billing", rationale("The invoice first"))
    server.script(
        stream(
            collaborator_input("orders", "Where is 7?"),
            by_collaborator("orders", rationale("I ask billing"), *inner),
            collaborator_output("orders", "Sent"),
        )
    )
    parts = [part["trace"] for part in completion(server)]
    assert [part.get("collaboratorName") for part in parts] == [None, "orders", "billing", None]
    chain = [caller["agentAliasArn"].split("/")[1] for caller in parts[2]["callerChain"]]
    assert chain == ["AGENT00001", "ORDERS", "BILLING"]
    assert parts[2]["agentId"] == "BILLING"


def test_citations_files_and_control_reach_the_caller(server):
    """What an agent gives besides text arrives decoded: sources, files, and calls that the caller shall make."""
    server.script(
        stream(
            chunk("See the page", [citation("the page", reference("All about it", uri="s3://docs/a.md"), start=4)]),
            files(("plot.csv", b"a,b\n1,2\n")),
            return_control(function_input("Orders", "cancel", {"id": 7}), invocation_id="i-1"),
        )
    )
    said, written, control = completion(server)
    (cited,) = said["chunk"]["attribution"]["citations"]
    assert cited["generatedResponsePart"]["textResponsePart"]["span"] == {"start": 4, "end": 12}
    assert cited["retrievedReferences"][0]["location"]["s3Location"] == {"uri": "s3://docs/a.md"}
    assert written["files"]["files"] == [{"name": "plot.csv", "type": "text/csv", "bytes": b"a,b\n1,2\n"}]
    assert control["returnControl"]["invocationId"] == "i-1"
    (asked,) = control["returnControl"]["invocationInputs"]
    assert asked["functionInvocationInput"]["function"] == "cancel"


def test_an_event_of_any_shape_can_be_sent(server):
    """`event` goes over the wire as it is, and what the client's model does not know it does not show."""
    server.script(stream(event("chunk", {"bytes": "SGVsbG8=", "future": 1}), event("tomorrow", {})))
    first, *rest = completion(server)
    assert first == {"chunk": {"bytes": b"Hello"}}
    assert [next(iter(part)) for part in rest] in ([], ["SDK_UNKNOWN_MEMBER"])


def test_an_inline_agent_answers(server):
    """InvokeInlineAgent has no agent id; its traces and its session come as those of any agent."""
    server.script(stream(rationale("I think"), chunk("Hello")))
    response = server.client("bedrock-agent-runtime").invoke_inline_agent(
        sessionId="s-2",
        inputText="Hi",
        enableTrace=True,
        foundationModel="amazon.nova-lite-v1:0",
        instruction="You answer questions about orders, in a friendly way.",
    )
    assert response["sessionId"] == "s-2"
    traced, said = response["completion"]
    assert traced["trace"]["sessionId"] == "s-2"
    assert said == {"chunk": {"bytes": b"Hello"}}
    assert server.requests[0].operation == "InvokeInlineAgent"


def test_a_flow_gives_its_outputs_traces_and_end(server):
    """InvokeFlow streams traces of its nodes where asked, outputs as JSON documents, and why it ended."""
    server.script(
        stream(
            node_input("Prompt_1", {"question": "Where?"}),
            node_agent_trace("Agent_1", rationale("I look")),
            node_output("Prompt_1", {"answer": {"status": "sent"}}),
            flow_output({"status": "sent"}),
            flow_completion(),
        ),
        say("Sent"),
    )
    response = invoke_flow(server, enableTrace=True, executionId="execution-7")
    assert response["executionId"] == "execution-7"
    begun, agent, ended, given, done = response["responseStream"]
    assert begun["flowTraceEvent"]["trace"]["nodeInputTrace"]["fields"][0]["content"]["document"] == "Where?"
    (inner,) = agent["flowTraceEvent"]["trace"]["nodeDependencyTrace"]["traceElements"]["agentTraces"]
    assert inner["trace"]["orchestrationTrace"]["rationale"]["text"] == "I look"
    assert ended["flowTraceEvent"]["trace"]["nodeOutputTrace"]["timestamp"] is not None
    assert given["flowOutputEvent"]["content"]["document"] == {"status": "sent"}
    assert done == {"flowCompletionEvent": {"completionReason": "SUCCESS"}}
    assert [next(iter(part)) for part in invoke_flow(server)["responseStream"]] == [
        "flowOutputEvent",
        "flowCompletionEvent",
    ]
    assert server.requests[0].text == "Where?"


def test_a_flow_may_ask_back(server):
    """A flow that needs more from its user asks, and ends with the reason INPUT_REQUIRED."""
    server.script(stream(flow_question("Which order?"), flow_completion("INPUT_REQUIRED")))
    asked, ended = invoke_flow(server)["responseStream"]
    assert asked["flowMultiTurnInputRequestEvent"]["content"]["document"] == "Which order?"
    assert ended["flowCompletionEvent"]["completionReason"] == "INPUT_REQUIRED"


@pytest.mark.parametrize(
    "name", ["throttlingException", "internalServerException", "dependencyFailedException", "badGatewayException"]
)
def test_an_exception_within_an_agents_stream_is_raised(server, name):
    """A modelled exception is raised after the parts before it, with its name as code."""
    server.script(stream(rationale("I think"), exception(name, "no more")))
    seen: list[str] = []
    with pytest.raises(EventStreamError) as caught:
        seen.extend(next(iter(part)) for part in completion(server))
    assert seen == ["trace"]
    assert caught.value.response["Error"] == {"Code": name, "Message": "no more"}


def test_an_agents_stream_dies(server):
    """A connection lost after two parts leaves those two, then an error."""
    server.script(die(stream(rationale("One"), rationale("Two"), chunk("Three")), after=2, how="truncate"))
    seen: list[str] = []
    with pytest.raises(ProtocolError):
        seen.extend(next(iter(part)) for part in completion(server))
    assert seen == ["trace", "trace"]


def test_parts_arrive_while_the_stream_is_open(server):
    """What is before a gate is read before the gate opens."""
    gate = threading.Event()
    server.script(hold(stream(rationale("One"), chunk("Two")), gate, after=1))
    events = completion(server)
    assert "trace" in next(events)
    gate.set()
    assert [next(iter(part)) for part in events] == ["chunk"]


def test_an_agent_is_throttled_and_refused(server):
    """Errors before the stream are retried or raised by the client, as the service's."""
    server.script(throttle(), say("Now"), fail("ResourceNotFoundException", "no such agent"))
    response = invoke_agent(server)
    assert response["ResponseMetadata"]["RetryAttempts"] == 1
    assert list(response["completion"]) == [{"chunk": {"bytes": b"Now"}}]
    with pytest.raises(ClientError, match="no such agent") as caught:
        invoke_agent(server)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
