"""Retries and pace: what botocore repeats and how long it waits is told within the step that called, as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import context as context_api

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.testing.bedrock import BedrockServer, Reply, Request, hang_up, say, stream, throttle
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, outcomes, patient, read, told
from tests.frameworks.langgraph.recording import Recording

MODEL = "anthropic.claude-sonnet-4-20250514-v1:0"
HELLO: dict[str, Any] = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
MODES = ["legacy", "standard", "adaptive"]


@contextmanager
def a_step(recording: Recording, name: str = "clerk") -> Iterator[None]:
    """Run the block within a step, as any framework does."""
    step = recording.recorder.start_step("AGENT", name, session_id="s1")
    token = context_api.attach(step.context())
    try:
        yield
    finally:
        context_api.detach(token)
        step.end("ok")


def warnings_of(recording: Recording) -> list[JournalEvent]:
    """Return the warnings of the one session, but for a client's own pace."""
    return [event for event in recording.events if event.type == "WARNING" and "attempt" in event.details]


@pytest.mark.parametrize("mode", MODES)
def test_throttled_agent(recording: Recording, server: BedrockServer, mode: str) -> None:
    """Each attempt that is repeated is a warning of the agent's root, in every retry mode."""
    server.script(throttle(2), stream(asking.LAST))
    read(ask(server.client("bedrock-agent-runtime", config=patient(mode))))
    warnings = warnings_of(recording)
    assert [event.details["attempt"] for event in warnings] == [1, 2]
    assert {event.details["max_attempts"] for event in warnings} == {4}
    assert {(event.level, event.name, event.details["code"]) for event in warnings} == {
        ("WARNING", "TRAVEL1234", "ThrottlingException")
    }
    assert all(event.details["backoff_s"] >= 0 for event in warnings)
    assert outcomes(recording) == {"TRAVEL1234": "ok"}


def test_what_a_warning_says(recording: Recording, server: BedrockServer, snapshot: Any) -> None:
    """A warning has the attempt, the limit, the wait, the service's code and message, and the operation."""
    server.script(throttle(), stream(asking.LAST))
    read(ask(server.client("bedrock-agent-runtime", config=patient())))
    assert told(recording) == snapshot


def test_attempts_that_are_used_up(recording: Recording, server: BedrockServer) -> None:
    """The attempt that is not repeated is the call's own error, and no warning."""
    server.script(throttle(2))
    with pytest.raises(Exception, match="Too many requests"):
        ask(server.client("bedrock-agent-runtime", config=patient(attempts=2)))
    assert [event.details["attempt"] for event in warnings_of(recording)] == [1]
    error = recording.attempt("TRAVEL1234").error
    assert error is not None
    assert error.code == "ThrottlingException"


def test_warning_stands_before_the_wait(recording: Recording, server: BedrockServer) -> None:
    """An attempt is in the journal as the wait begins: the next request comes that much later."""
    arrived_ns: list[int] = []

    def answer(request: Request) -> Reply:
        arrived_ns.append(time.time_ns())
        return throttle() if request.number < 4 else stream(asking.LAST)

    server.answer(answer)
    read(ask(server.client("bedrock-agent-runtime", config=patient())))
    warnings = warnings_of(recording)
    assert len(warnings) == 3
    for event, next_ns in zip(warnings, arrived_ns[1:], strict=True):
        assert event.timestamp_ns + (event.details["backoff_s"] - 0.002) * 1e9 <= next_ns
    assert sum(event.details["backoff_s"] for event in warnings) > 0


def test_connection_that_is_lost(recording: Recording, server: BedrockServer) -> None:
    """An attempt that got no answer says what was raised."""
    server.script(hang_up(), stream(asking.LAST))
    read(ask(server.client("bedrock-agent-runtime", config=patient())))
    (warning,) = warnings_of(recording)
    assert warning.details["code"] == "ConnectionClosedError"
    assert "closed" in warning.details["error"]["message"]


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_model_that_is_called_by_hand(recording: Recording, server: BedrockServer, operation: str) -> None:
    """A throttled call of bedrock-runtime is told within the step that it is, below the one that makes it."""
    server.script(throttle(), say("hello"))
    client = server.client("bedrock-runtime", config=patient())
    with a_step(recording):
        response = getattr(client, operation)(**HELLO)
        list(response.get("stream", ()))
    (warning,) = warnings_of(recording)
    assert (warning.name, warning.details["operation"]) == (MODEL, operation.title().replace("_", ""))


def test_call_outside_of_any_step(recording: Recording, server: BedrockServer) -> None:
    """Where no step encloses a call there is nothing to tell it in."""
    server.script(throttle(), say("hello"))
    server.client("bedrock-runtime", config=patient()).converse(**HELLO)
    assert not recording.sessions


def test_only_bedrock_is_watched(recording: Recording, server: BedrockServer) -> None:
    """Other services' retries are none of ours."""
    nowhere = {"endpoint_url": "http://127.0.0.1:1", "config": patient(attempts=2)}
    with a_step(recording):
        for service, call in (("sts", "get_caller_identity"), ("bedrock-agentcore", "list_events")):
            client = server.client(service, **nowhere)
            given = {} if service == "sts" else {"memoryId": "m" * 12, "sessionId": "s1", "actorId": "a1"}
            with pytest.raises(Exception, match="Could not connect"):
                getattr(client, call)(**given)
    assert [event.details["operation"] for event in warnings_of(recording)] == ["ListEvents"]


def test_pace_of_an_adaptive_client(
    recording: Recording, server: BedrockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client in adaptive mode that holds itself back says for how long."""
    # Without the random wait between attempts, in which the client may save up for the next.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    server.script(throttle(3), stream(asking.LAST))
    read(ask(server.client("bedrock-agent-runtime", config=patient("adaptive"))))
    held = [event.details for event in recording.events if event.type == "WARNING" and "attempt" not in event.details]
    assert held
    assert all("held back" in details["message"] and details["backoff_s"] >= 0.01 for details in held)


@pytest.mark.parametrize("streaming", [True, False])
def test_strands(recording_without_sdk: Recording, server: BedrockServer, streaming: bool) -> None:
    """A Strands model calls in a thread of its own; the warning is in the model's step all the same."""
    recording = recording_without_sdk  # Strands keeps the tracer of the first provider it met
    from strands import Agent
    from strands.models.bedrock import BedrockModel

    from otel_agent_journal.frameworks.strands import StrandsInstrumentor

    server.script(throttle(), say("hello"))
    strands = StrandsInstrumentor()
    strands.instrument()
    try:
        model = BedrockModel(
            boto_session=server.session(),
            endpoint_url=server.url,
            boto_client_config=patient(),
            model_id=MODEL,
            streaming=streaming,
        )
        with a_step(recording):
            Agent(model=model, name="greeter", callback_handler=None)("hello")
        model.client.close()
    finally:
        strands.uninstrument()
    (warning,) = warnings_of(recording)
    (step,) = (step for step in fold_steps(recording.events).steps if step.step_id == warning.step_id)
    assert step.kind == "MODEL"


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
async def test_langchain(recording: Recording, server: BedrockServer, how: str) -> None:
    """ChatBedrockConverse in a graph: the warning is in the model call, sync and async."""
    from langchain_aws import ChatBedrockConverse
    from langgraph.graph import START, MessagesState, StateGraph

    server.script(throttle(), say("hello"))
    langgraph = LangGraphInstrumentor()
    langgraph.instrument()
    try:
        client = server.client("bedrock-runtime", config=patient())
        model = ChatBedrockConverse(client=client, bedrock_client=client, model=MODEL)

        async def call_async(state: MessagesState) -> Any:
            if how == "astream":
                return {"messages": ["".join([str(part.text) async for part in model.astream(state["messages"])])]}
            return {"messages": [await model.ainvoke(state["messages"])]}

        def call(state: MessagesState) -> Any:
            if how == "stream":
                return {"messages": ["".join(str(part.text) for part in model.stream(state["messages"]))]}
            return {"messages": [model.invoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("call", call_async if how.startswith("a") else call)
        graph.add_edge(START, "call")
        compiled, given = graph.compile(name="greeter"), {"messages": [("user", "hello")]}
        await compiled.ainvoke(given) if how.startswith("a") else compiled.invoke(given)
    finally:
        langgraph.uninstrument()
    (warning,) = warnings_of(recording)
    (step,) = (step for step in fold_steps(recording.events).steps if step.step_id == warning.step_id)
    assert step.kind == "MODEL"
