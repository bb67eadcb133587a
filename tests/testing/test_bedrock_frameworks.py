"""Strands and LangChain on the scripted Bedrock: their real models, over the wire."""

from __future__ import annotations

import pytest
from langchain_aws import ChatBedrockConverse
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool as langchain_tool
from strands import Agent, tool
from strands.models import BedrockModel

from otel_agent_journal.testing.bedrock import BedrockServer, Usage, call_tool, say, throttle

MODEL = "anthropic.claude-sonnet-4-20250514-v1:0"


@tool
def search(q: str) -> str:
    """Search for something.

    Args:
        q: what to look for.
    """
    return f"found {q}"


@langchain_tool
def lookup(q: str) -> str:
    """Look something up."""
    return q


def chat(server: BedrockServer) -> ChatBedrockConverse:
    return ChatBedrockConverse(model=MODEL, client=server.client(), region_name="us-east-1")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_strands_agent_runs_its_tool_loop(server, streaming):
    """BedrockModel asks, runs the tool, and sends its result back, streamed or whole."""
    server.script(
        call_tool("search", {"q": "x"}, tool_use_id="t1", text="One moment.", usage=Usage(cache_read_tokens=100)),
        say("Found it."),
    )
    model = BedrockModel(boto_session=server.session(), endpoint_url=server.url, model_id=MODEL, streaming=streaming)
    result = Agent(model=model, tools=[search], callback_handler=None)("Find x")
    model.client.close()
    assert str(result).strip() == "Found it."
    first, second = server.requests
    assert first.operation == ("ConverseStream" if streaming else "Converse")
    assert first.text == "Find x"
    (given,) = second.tool_results
    assert (given["toolUseId"], given["content"]) == ("t1", [{"text": "found x"}])
    assert result.metrics.accumulated_usage["totalTokens"] == 130


def test_langchain_invokes_with_a_tool_call(server):
    """ChatBedrockConverse reads a whole reply: text, tool call and usage with the cache's tokens."""
    server.script(call_tool("lookup", {"q": "x"}, tool_use_id="t1", usage=Usage(cache_read_tokens=100)))
    answer = chat(server).bind_tools([lookup]).invoke([HumanMessage("Find x")])
    assert [(call["name"], call["args"], call["id"]) for call in answer.tool_calls] == [("lookup", {"q": "x"}, "t1")]
    assert answer.usage_metadata["input_token_details"]["cache_read"] == 100
    assert [given["toolSpec"]["name"] for given in server.requests[0].body["toolConfig"]["tools"]] == ["lookup"]


def test_langchain_streams_with_a_tool_call(server):
    """ChatBedrockConverse adds the fragments of a stream up to the same message."""
    server.script(call_tool("lookup", {"q": "something longer"}, text="One moment please.", tool_use_id="t1"))
    chunks = list(chat(server).bind_tools([lookup]).stream([HumanMessage("Find x")]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert len(chunks) > 4
    assert whole.tool_calls[0]["args"] == {"q": "something longer"}
    assert whole.text == "One moment please."
    assert whole.usage_metadata["total_tokens"] == 15


def test_many_agents_are_answered_by_a_function(server):
    """One function of the request serves any number of agents at once."""
    server.answer(lambda request: f"You said {request.text}")
    answers = chat(server).batch([f"number {index}" for index in range(8)], {"max_concurrency": 4})
    assert [answer.text for answer in answers] == [f"You said number {index}" for index in range(8)]
    assert sorted(request.number for request in server.requests) == list(range(1, 9))


def test_a_framework_survives_throttling_by_its_clients_retries(server):
    """The client below a framework retries, and the framework sees one answer."""
    server.script(throttle(), say("At last"))
    assert chat(server).invoke("Hi").text == "At last"
    assert len(server.requests) == 2
