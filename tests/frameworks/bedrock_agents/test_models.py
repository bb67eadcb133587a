"""Models that the program itself asks by `bedrock-runtime`: a step below what asks, once, and as the provider tells."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_aws import BedrockEmbeddings, ChatBedrock, ChatBedrockConverse
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel
from strands import Agent
from strands.models import BedrockModel

from otel_agent_journal import session
from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.frameworks.bedrock_agents.bodies import answer_in, asked_by_body, events_in_chunk
from otel_agent_journal.frameworks.bedrock_agents.model_calls import begin
from otel_agent_journal.frameworks.bedrock_agents.spoken import Spoken
from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
from otel_agent_journal.projections.steps import Attempt, fold_steps
from otel_agent_journal.testing.bedrock import BedrockServer, Usage, body, call_tool, message, reasoning, say, slow
from tests.frameworks.bedrock_agents.asking import patient
from tests.frameworks.langgraph.recording import Recording, recording_at
from tests.frameworks.strands.recording import strands_recording_at
from tests.replay import bedrock_models as programs
from tests.replay.bedrock_models import ANTHROPIC, HELLO, MODEL, SCENARIOS, converse, invoke, streamed

WORDLESS = ("a body that is no JSON", "an event that nobody knows")  # answers that say nothing

# What a program does not close it leaves to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")


@pytest.fixture
def client(server: BedrockServer) -> Any:
    """A client for models."""
    return server.client("bedrock-runtime", config=patient())


def models(recording: Recording) -> list[Attempt]:
    """The model calls of a recording, in order."""
    recording.drain()
    return [one for one in recording.steps.attempts if one.kind == "MODEL"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_call_is_a_step(recording: Recording, server: BedrockServer, client: Any, name: str) -> None:
    """Below the node that asks, with the model, its request in full, and what came of it."""
    replies, program = SCENARIOS[name]
    server.script(*replies)
    program(client)
    calls = models(recording)
    assert len(calls) == (3 if name == "a loop" else 1)
    for call in calls:
        assert call.outcome == {"left": "cancelled"}.get(
            name, "error" if name in ("refused", "broken off", "a connection that dies", "a body that dies") else "ok"
        )
        assert call.details_start["request"]["model"] in (MODEL, "amazon.titan-embed-text-v2:0")
        if call.outcome == "ok":
            assert ("output" in call.details_end) == (name not in WORDLESS)
        else:
            assert call.outcome == "cancelled" or call.error is not None


@pytest.mark.parametrize("how", [converse, streamed, invoke, programs.invoke_streamed])
def test_what_is_told_of_an_answer(recording: Recording, server: BedrockServer, client: Any, how: Any) -> None:
    """Its text, thought, why it stopped and its tokens, by every operation; of a stream the words as they come."""
    server.script(message(reasoning("Hm."), "To Rome, of course.", usage=Usage(input_tokens=11, output_tokens=7)))
    programs.asks(how)(client)
    (call,) = models(recording)
    assert call.details_end["output"]["role"] == "assistant"
    assert {"text": "To Rome, of course."} in call.details_end["output"]["content"]
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (11, 7)
    assert call.details_end["attributes"]["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert "".join(one.details["text"] for one in call.notes if one.type == "REASONING") == "Hm."
    said = "".join(one.details["text"] for one in call.notes if one.type == "CHUNK")
    is_stream = how in (streamed, programs.invoke_streamed)
    assert said == ("To Rome, of course." if is_stream else "")
    assert ("gen_ai.response.time_to_first_chunk" in call.details_end["attributes"]) == is_stream


@pytest.mark.parametrize("name", [one for one in SCENARIOS if "'s" in one])
def test_bodies_of_providers_are_read(recording: Recording, server: BedrockServer, client: Any, name: str) -> None:
    """Who was asked what, and the answer, are told as of any model."""
    replies, program = SCENARIOS[name]
    server.script(*replies)
    program(client)
    (call,) = models(recording)
    asked = [one["content"] for one in call.details_start["messages"] if one["role"] == "user"]
    assert "Where to?" in str(asked[0])
    answer = call.details_end["output"]
    assert answer["role"] == "assistant"
    if "calls" in name:
        assert answer["tool_calls"] == [{"id": "c1", "name": "look", "args": {"at": "map"}}]
    assert answer["content"] in ("Rome", "I look.") or {"text": "To Rome."} in answer["content"]
    assert call.details_end["attributes"]["gen_ai.response.finish_reasons"] or "Amazon" in name
    assert call.usage is not None or "stream" in name


def test_the_request_is_in_the_journal_whole(recording: Recording, server: BedrockServer, client: Any) -> None:
    """What an agent by hand shows its model grows; each message is journaled once, one changed in place anew."""
    server.script(say("a"), say("b"), say("c"))
    messages = [{"role": "user", "content": [{"text": "one"}]}]

    def talk(client: Any) -> None:
        for text in ("two", "three"):
            messages.append(client.converse(modelId=MODEL, messages=messages)["output"]["message"])
            messages.append({"role": "user", "content": [{"text": text}]})
        messages[0]["content"][0]["text"] = "changed"
        client.converse(modelId=MODEL, messages=messages)

    programs.asks(talk)(client)
    told = [[one["content"] for one in call.details_start["messages"]] for call in models(recording)]
    assert told == [["one"], ["two"], ["changed", "three"]]
    assert [call.details_start["request"]["messages"]["count"] for call in models(recording)] == [1, 3, 5]


def in_a_node(call: Callable[[Any], Any], root: Path) -> list[Attempt]:
    """The model calls of a graph of one node, LangChain and botocore being instrumented."""
    from langgraph.graph import START, MessagesState, StateGraph

    bedrock = BedrockAgentsInstrumentor()
    with recording_at(root, provider=TracerProvider(), instrumentor=LangGraphInstrumentor()) as recording:
        bedrock.instrument()
        try:
            graph = StateGraph(MessagesState)
            graph.add_node("call", call)
            graph.add_edge(START, "call")
            graph.compile().invoke({"messages": [("user", "Where to?")]})
        finally:
            bedrock.uninstrument()
        return models(recording)


def test_what_a_framework_asks_is_told_once(server: BedrockServer, client: Any, tmp_path: Path) -> None:
    """LangChain's model is a step, and its call of Bedrock none; numbers for a text, not told by it, are one."""
    server.script(say("To Rome."), body({"embedding": [0.5], "inputTextTokenCount": 3}))
    model = ChatBedrockConverse(client=client, bedrock_client=client, model=MODEL)
    embedding = BedrockEmbeddings(client=client, model_id="amazon.titan-embed-text-v2:0")

    def call(state: Any) -> Any:
        answer = model.invoke(state["messages"])
        assert embedding.embed_query("Rome") == [0.5]
        return {"messages": [answer]}

    calls = in_a_node(call, tmp_path)
    assert [one.name for one in calls] == [MODEL, "amazon.titan-embed-text-v2:0"]
    assert calls[1].details_start["attributes"]["gen_ai.operation.name"] == "embeddings"
    assert calls[1].usage is not None
    assert calls[1].usage.input_tokens == 10
    assert "raw" not in calls[0].details_end or "response" not in calls[0].details_end["raw"]


ASKED: dict[str, Callable[[Any, Any], Any]] = {
    "one": lambda model, asked: model.invoke(asked),
    "several at a time": lambda model, asked: model.batch([asked, asked]),
    "several in one call": lambda model, asked: model.generate([asked, asked]),
    "a stream": lambda model, asked: list(model.stream(asked)),
    "again, and another instead": lambda model, asked: model.with_retry().with_fallbacks([model]).invoke(asked),
    "async": lambda model, asked: asyncio.run(model.ainvoke(asked)),
    "async, several": lambda model, asked: asyncio.run(model.abatch([asked, asked])),
    "async, several in one call": lambda model, asked: asyncio.run(model.agenerate([asked, asked])),
    "an async stream": lambda model, asked: asyncio.run(_all(model.astream(asked))),
    "events": lambda model, asked: asyncio.run(_all(model.astream_events(asked))),
}


async def _all(parts: Any) -> list[Any]:
    return [part async for part in parts]


@pytest.mark.parametrize("kind", [ChatBedrockConverse, ChatBedrock])
@pytest.mark.parametrize("how", ASKED)
def test_in_each_way_that_a_framework_asks(
    server: BedrockServer, client: Any, tmp_path: Path, how: str, kind: Any
) -> None:
    """As many steps as there are requests, and each is the framework's."""
    server.script(say("To Rome."), say("To Rome."))
    model = kind(client=client, bedrock_client=client, model=MODEL)

    def call(state: Any) -> Any:
        ASKED[how](model, state["messages"])
        return {}

    calls = in_a_node(call, tmp_path)
    assert len(calls) == len(server.requests)
    assert not [one for one in calls if "remote" in one.details_start]


@pytest.mark.filterwarnings("ignore:Agent.structured_output:DeprecationWarning")
@pytest.mark.parametrize("streaming", [True, False])
def test_strands_asks_once(server: BedrockServer, tmp_path: Path, streaming: bool) -> None:
    """Its own model call is the step; what it asks by itself for a structured answer is one of Bedrock."""
    server.script(say("To Rome."), call_tool("Place", {"name": "Rome"}))
    model = BedrockModel(boto_session=server.session(), endpoint_url=server.url, model_id=MODEL, streaming=streaming)
    bedrock = BedrockAgentsInstrumentor()
    with strands_recording_at(tmp_path) as recording:
        bedrock.instrument()
        try:
            agent = Agent(model=model, callback_handler=None)
            agent("Where to?")
            agent.structured_output(Place, "Where?")
        finally:
            bedrock.uninstrument()
            model.client.close()
        recording.drain()
        told = [one for events in recording.sessions.values() for one in fold_steps(events).attempts]
    assert [one.details_start.get("remote", False) for one in told if one.kind == "MODEL"] == [False, True]


class Place(BaseModel):
    """Where to."""

    name: str


def test_a_model_step_by_hand_is_the_step(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A program that says that it asks a model has said so."""
    server.script(say("To Rome."))
    with session("s1") as run, run.step("model", "claude"):
        converse(client)
    assert [one.name for one in models(recording)] == ["claude"]


def test_outside_of_any_step_nothing_is_told(recording: Recording, server: BedrockServer, client: Any) -> None:
    """There is nothing that it would be a step of."""
    server.script(say("To Rome."))
    converse(client)
    assert not recording.sessions


def test_outside_of_any_step_in_a_session_with_a_name(server: BedrockServer, client: Any, tmp_path: Path) -> None:
    """`--session` has each call be a root of it, so that an agent by hand need say nothing."""
    server.script(say("To Rome."), say("To Paris."))
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor(), session_id="trip-3") as recording:
        converse(client)
        streamed(client)
        (session_id,) = recording.sessions
        assert session_id == "trip-3"
        assert [(one.kind, one.parent_step_id, one.outcome) for one in recording.steps.attempts] == [
            ("MODEL", None, "ok")
        ] * 2


def test_what_the_program_gave_is_left_to_it(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A body in a file is not read here: it goes out whole."""
    server.script(say("To Rome."))
    programs.asks(lambda it: it.invoke_model(modelId=MODEL, body=io.BytesIO(json.dumps(ANTHROPIC).encode())))(client)
    (request,) = server.requests
    assert request.body == ANTHROPIC
    assert [one.outcome for one in models(recording)] == ["ok"]


def test_a_body_is_read_in_every_way(recording: Recording, server: BedrockServer, client: Any) -> None:
    """As botocore's own: by pieces, by lines, in a loop, twice, and closed."""
    server.script(*[body(b"one\ntwo\n") for _ in range(4)])

    def read(client: Any) -> list[Any]:
        bodies: Iterator[Any] = (client.invoke_model(modelId=MODEL, body=b"{}")["body"] for _ in range(4))
        first, second, third, last = bodies
        last.close()
        return [(first.read(3), first.read(), first.read()), list(second.iter_lines()), b"".join(third)]

    assert programs.asks(read)(client) == [(b"one", b"\ntwo\n", b""), [b"one", b"two"], b"one\ntwo\n"]
    assert [one.outcome for one in models(recording)] == ["ok"] * 4


def test_a_stream_that_is_let_go_of(recording: Recording, server: BedrockServer, client: Any) -> None:
    """One that nobody reads ends with what had come; after the last word it is an answer."""
    server.script(slow(say("To Rome."), between_s=0.01), say("To Rome."))

    def leave(client: Any) -> None:
        client.converse_stream(modelId=MODEL, messages=HELLO)
        for part in client.converse_stream(modelId=MODEL, messages=HELLO)["stream"]:
            if "messageStop" in part:
                break

    programs.asks(leave)(client)
    calls = models(recording)
    assert [one.outcome for one in calls] == ["cancelled", "ok"]
    assert calls[1].details_end["output"]["content"] == "To Rome."


@pytest.mark.parametrize("how", [converse, streamed, invoke, programs.invoke_streamed])
def test_without_content(server: BedrockServer, client: Any, tmp_path: Path, how: Any) -> None:
    """Digests and tokens alone: nothing of what was said."""
    server.script(say("To the eternal city."))
    with recording_at(tmp_path, instrumentor=BedrockAgentsInstrumentor(), content=False) as recording:
        programs.asks(how)(client)
        (call,) = models(recording)
    assert call.usage is not None
    told = repr((call.details_start, call.details_end, [one.details for one in call.notes]))
    assert "eternal" not in told
    assert "Where to?" not in told
    assert call.details_start["request"]["messages"]["count"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda one: (
        st.lists(one, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "type",
                    "text",
                    "tool_calls",
                    "system",
                    "tools",
                    "delta",
                    "index",
                    "output",
                    "message",
                    "choices",
                    "messageStart",
                    "contentBlockDelta",
                    "toolUse",
                    "input",
                    "usage",
                ]
            ),
            one | st.sampled_from(["tool_use", "text", "content_block_delta", "message_start", "tool"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON)
def test_a_body_of_any_shape_is_read(data: Any) -> None:
    """Whatever a provider sends, the reading of it ends in an answer, or in none."""
    asked_by_body(json.dumps(data))
    answer_in(data)
    spoken = Spoken()
    for event in events_in_chunk(data):
        list(spoken.take(event))
    assert spoken.answer is not None


def test_a_long_answer_costs_what_arrives() -> None:
    """Ten times the words are folded in about ten times the work: no word is copied again for the next."""
    events = [{"contentBlockDelta": {"delta": {"text": "word "}, "contentBlockIndex": 0}}] * 50_000
    spoken = Spoken()
    tracemalloc.start()
    for event in events:
        for _ in spoken.take(event):
            pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000  # a list of words that are one; a text that grows would be copied at each
    assert spoken.answer.message == {"role": "assistant", "content": [{"text": "word " * 50_000}]}


class Interrupted:
    """A body that is left by Ctrl-C."""

    def read(self) -> bytes:
        """Be interrupted."""
        raise KeyboardInterrupt


def test_ctrl_c_while_a_body_is_read(recording: Recording) -> None:
    """It is the program's, and the step is cancelled."""
    with session("s1"):
        call = begin(recording.recorder, "InvokeModel", {"modelId": MODEL, "body": b"{}"}, "http://127.0.0.1")
        assert call is not None
        with pytest.raises(KeyboardInterrupt):
            call.answered({"body": Interrupted()})
    assert [one.outcome for one in models(recording)] == ["cancelled"]
