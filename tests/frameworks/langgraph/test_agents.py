"""Agents: `create_agent`, agents as tools, models and what they used, streamed text."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

LOOP = """\
AGENT researcher ok
  NODE model ok
    MODEL scripted-1 ok input=10 output=5
  NODE tools ok
    TOOL search ok
  NODE model ok
    MODEL scripted-1 ok input=20 output=4"""


def test_create_agent(recording: Recording, snapshot: Any) -> None:
    """An agent of `create_agent` is an agent step, its rounds are nodes with model calls and tool calls below."""
    graphs.agent(graphs.SEARCH_THEN_ANSWER).invoke(graphs.question(), graphs.on_thread())
    assert recording.snapshot() == snapshot
    assert recording.status == ("COMPLETED", None)
    recording.drain()
    head = recording.store.head("t1")
    assert head is not None
    assert (head.agent, head.input_tokens, head.output_tokens, head.steps) == ("researcher", 30, 9, 7)


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream", "astream_events"])
async def test_every_way_to_run_an_agent(recording: Recording, how: str) -> None:
    """An agent's steps are the same however it is run."""
    agent = graphs.agent(graphs.SEARCH_THEN_ANSWER)
    given, config = graphs.question(), graphs.on_thread()
    match how:
        case "invoke":
            agent.invoke(given, config)
        case "ainvoke":
            await agent.ainvoke(given, config)
        case "stream":
            assert list(agent.stream(given, config, stream_mode="messages"))
        case "astream":
            assert [part async for part in agent.astream(given, config, stream_mode=["updates", "messages"])]
        case _:
            assert [event async for event in agent.astream_events(given, config)]
    lines = [line for line in recording.tree(details=False).splitlines() if "CHUNK" not in line]
    assert lines == LOOP.splitlines()


def test_tools_that_run_beside_each_other(recording: Recording) -> None:
    """Several tool calls of one answer are a step each."""
    calls = [("search", {"query": str(number)}) for number in range(3)]
    agent = graphs.agent([reply("", calls=calls, call_ids=["a", "b", "c"]), "done"])
    agent.invoke(graphs.question(), graphs.on_thread())
    tools = [step for step in recording.steps.steps if step.kind == "TOOL"]
    assert len(tools) == 3
    assert sorted(step.last.details_start["attributes"]["gen_ai.tool.call.id"] for step in tools) == ["a", "b", "c"]
    assert sorted(step.last.details_end["output"]["content"] for step in tools) == ["found 0", "found 1", "found 2"]


def test_an_agent_as_a_tool(recording: Recording, snapshot: Any) -> None:
    """An agent that another's tool runs hangs below that tool call."""
    helper = graphs.agent(graphs.SEARCH_THEN_ANSWER, name="helper")

    @tool
    def delegate(task: str) -> str:
        """Hand over."""
        return str(helper.invoke(graphs.question(task))["messages"][-1].content)

    boss = graphs.agent([reply("", calls=[("delegate", {"task": "find x"})]), "Thanks."], [delegate], name="boss")
    boss.invoke(graphs.question(), graphs.on_thread())
    assert recording.tree(details=False) == snapshot
    assert set(recording.sessions) == {"t1"}


async def test_an_async_agent_as_a_tool(recording: Recording, snapshot: Any) -> None:
    """The same holds of async agents."""
    helper = graphs.agent(graphs.SEARCH_THEN_ANSWER, name="helper")

    @tool
    async def delegate(task: str) -> str:
        """Hand over."""
        return str((await helper.ainvoke(graphs.question(task)))["messages"][-1].content)

    boss = graphs.agent([reply("", calls=[("delegate", {"task": "find x"})]), "Thanks."], [delegate], name="boss")
    await boss.ainvoke(graphs.question(), graphs.on_thread())
    assert recording.tree(details=False) == snapshot


def test_two_delegations_are_told_apart(recording: Recording) -> None:
    """Two calls of the same agent-tool are two subtrees."""
    helper = graphs.agent(["Done."], name="helper")

    @tool
    def delegate(task: str) -> str:
        """Hand over."""
        return str(helper.invoke(graphs.question(task))["messages"][-1].content)

    calls = [("delegate", {"task": "a"}), ("delegate", {"task": "b"})]
    boss = graphs.agent([reply("", calls=calls, call_ids=["1", "2"]), "Thanks."], [delegate], name="boss")
    boss.invoke(graphs.question(), graphs.on_thread())
    tools = [step for step in recording.steps.walk() if step.kind == "TOOL"]
    assert [[child.name for child in recording.steps.children(one)] for one in tools] == [["helper"], ["helper"]]


# --- usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_with_cache_and_reasoning(recording: Recording, streamed: bool, snapshot: Any) -> None:
    """A model step has its tokens, those of cache and reasoning apart, in journal, span and head; streamed too."""
    answer = reply(
        "forty two",
        input_tokens=100,
        output_tokens=50,
        cache_read=60,
        cache_creation=20,
        reasoning=30,
        model="scripted-1-2026",
    )
    graph = graphs.chat_node(ScriptedModel(script=[answer]))
    if streamed:
        list(graph.stream(graphs.question(), graphs.on_thread(), stream_mode="messages"))
    else:
        graph.invoke(graphs.question(), graphs.on_thread())
    assert recording.snapshot() == snapshot
    recording.drain()
    head = recording.store.head("t1")
    assert head is not None
    assert (head.input_tokens, head.output_tokens, head.cache_read_tokens) == (100, 50, 60)
    assert (head.cache_write_tokens, head.reasoning_tokens) == (20, 30)


def test_metrics(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's MeterProvider gets the GenAI histograms of duration and tokens of each model call."""
    from opentelemetry import metrics

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    graphs.chat_node(ScriptedModel(script=[reply("x", input_tokens=7, output_tokens=3)])).invoke(
        graphs.question(), graphs.on_thread()
    )
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: metric.data.data_points
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    (duration,) = found["gen_ai.client.operation.duration"]
    assert (duration.count, duration.attributes["gen_ai.request.model"]) == (1, "scripted-1")
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 7, "output": 3}


# --- messages -----------------------------------------------------------------------------------------------------


def test_streamed_text_is_chunks(recording: Recording) -> None:
    """Text that a model streams is journaled as it comes, gathered, and all of it."""
    text = " ".join(f"word{number}" for number in range(200))
    graph = graphs.chat_node(ScriptedModel(script=[text]))
    list(graph.stream(graphs.question(), graphs.on_thread(), stream_mode="messages"))
    attempt = recording.attempt("scripted-1")
    assert "".join(note.details["text"] for note in attempt.notes) == text
    assert len(attempt.notes) < 20
    assert attempt.details_end["output"]["content"] == text


def test_each_message_is_journaled_once(recording: Recording) -> None:
    """A model's START holds only messages that are not in the journal yet, with count and digest of them all."""
    script = [reply("", calls=[("search", {"query": str(number)})], call_ids=[f"c{number}"]) for number in range(20)]
    graphs.agent([*script, "done"]).invoke(graphs.question("the only question"), graphs.on_thread(recursion_limit=100))
    models = [step.last for step in recording.steps.walk() if step.kind == "MODEL"]
    assert [len(one.details_start["messages"]) for one in models] == [1] + [0] * 20
    told = [one.details_start["request"]["messages"] for one in models]
    assert [one["count"] for one in told] == list(range(1, 42, 2))
    assert len({one["digest"] for one in told}) == 21
    found = "found 7"
    holding = [event for event in recording.events if found in str(event.details)]
    assert [event.type for event in holding] == ["TOOL_END"]


def test_the_size_of_an_event_does_not_grow_with_history(recording: Recording) -> None:
    """Forty rounds make events as small as four do."""
    from otel_agent_journal.codec import encode_line

    script = [reply("", calls=[("search", {"query": str(number)})], call_ids=[f"c{number}"]) for number in range(40)]
    graphs.agent([*script, "done"]).invoke(graphs.question(), graphs.on_thread(recursion_limit=200))
    sizes = [len(encode_line(event)) for event in recording.events[1:-1]]
    assert max(sizes[-40:]) < 1.3 * max(sizes[8:48])


def test_a_second_turn_holds_its_new_message_only(recording: Recording) -> None:
    """The second invocation of a thread journals the new question and refers to the rest."""
    from langgraph.checkpoint.memory import InMemorySaver

    agent = graphs.agent(["first", "second"], checkpointer=InMemorySaver())
    agent.invoke({"messages": [HumanMessage("one", id="h1")]}, graphs.on_thread())
    agent.invoke({"messages": [HumanMessage("two", id="h2")]}, graphs.on_thread())
    second = [step.last for step in recording.steps.walk() if step.kind == "MODEL"][1]
    assert [message["content"] for message in second.details_start["messages"]] == ["two"]
    assert second.details_start["request"]["messages"]["count"] == 3


def test_a_model_called_alone(recording: Recording) -> None:
    """A model that is called outside of any graph is a step and a session of its own."""
    ScriptedModel(script=["hi"]).invoke([HumanMessage("hello")])
    assert recording.tree(details=False) == "MODEL scripted-1 ok"
    assert recording.attempt("scripted-1").details_end["output"]["content"] == "hi"


def test_a_tool_called_alone(recording: Recording) -> None:
    """A tool that is called outside of any graph is a step of its own."""
    assert graphs.search.invoke({"query": "x"}) == "found x"
    assert recording.tree(details=False) == "TOOL search ok"


async def test_a_sync_tool_in_an_async_agent(recording: Recording) -> None:
    """A sync tool that an async agent runs in a thread is a step like any other."""

    @tool
    def nested_search(query: str) -> str:
        """Look up twice."""
        return str(graphs.search.invoke({"query": query}))

    agent = graphs.agent([reply("", calls=[("nested_search", {"query": "x"})]), "done"], [nested_search])
    await asyncio.wait_for(agent.ainvoke(graphs.question(), graphs.on_thread()), 20)
    outer = next(step for step in recording.steps.steps if step.name == "nested_search")
    assert [child.name for child in recording.steps.children(outer)] == ["search"]


def test_structured_messages(recording: Recording) -> None:
    """Messages of several parts are journaled with all their parts."""
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    graph = graphs.chat_node(
        ScriptedModel(script=[lambda messages: AIMessage(content=[{"type": "text", "text": "a"}])])
    )
    graph.invoke({"messages": [HumanMessage(content=parts)]}, graphs.on_thread())
    attempt = recording.attempt("scripted-1")
    assert attempt.details_start["messages"][0]["content"] == parts
    assert attempt.details_end["output"]["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_calls_of_one_id(recording: Recording, how: str) -> None:
    """Calls that are made with one id, side by side or after one that went well, are steps of their own."""

    @tool
    def look(query: str) -> str:
        """Look something up."""
        return query

    def act(state: graphs.Notes) -> graphs.Notes:
        calls = [{"name": "look", "args": {"query": query}, "id": "c1", "type": "tool_call"} for query in "aab"]
        answers = RunnableLambda(look.invoke).batch(calls)
        return {"notes": [answer.content for answer in answers]}

    graph = graphs.nested(act)
    await graph.ainvoke({"notes": []}) if how == "ainvoke" else graph.invoke({"notes": []})
    tools = [step for step in recording.steps.walk() if step.kind == "TOOL"]
    assert sorted(step.last.details_end["output"]["content"] for step in tools) == ["a", "a", "b"]
    assert [len(step.attempts) for step in tools] == [1, 1, 1]


def test_a_call_that_is_tried_again(recording: Recording) -> None:
    """A call that failed and is made again with the same id and input is another attempt at the same step."""
    left = [1]

    @tool
    def look(query: str) -> str:
        """Look something up."""
        if left[0]:
            left[0] -= 1
            raise ConnectionError
        return query

    def act(state: graphs.Notes) -> graphs.Notes:
        call = {"name": "look", "args": {"query": "a"}, "id": "c1", "type": "tool_call"}
        with contextlib.suppress(ConnectionError):
            look.invoke(call)
        look.invoke(call)
        return {"notes": []}

    graphs.nested(act).invoke({"notes": []})
    (found,) = (step for step in recording.steps.walk() if step.kind == "TOOL")
    assert [one.outcome for one in found.attempts] == ["error", "ok"]
