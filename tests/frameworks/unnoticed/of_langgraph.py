"""Scenarios of LangGraph and LangChain: each is called with what it notes in, and returns what its program has."""

from __future__ import annotations

import asyncio
import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any, Final

from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.unnoticed.observing import Seen, Watched

PICTURE: Final = [
    {"type": "text", "text": "what?"},
    {"type": "image", "base64": "QUJD" * 5000, "mime_type": "image/png"},
]


class Strange(Exception):
    """An error with more than a message."""


def one_node(act: Callable[..., Any]) -> Any:
    """A graph of one node."""
    builder = StateGraph(graphs.Notes)
    builder.add_node("act", act)
    builder.add_edge(START, "act")
    return builder.compile(name="one")


def an_agent(seen: Seen) -> Any:
    """Loop with a tool, over two turns of a thread."""
    agent = graphs.agent(graphs.SEARCH_THEN_ANSWER, checkpointer=InMemorySaver())
    return [agent.invoke(graphs.question(), graphs.on_thread()) for _ in range(2)], list(
        agent.get_state_history(graphs.on_thread())
    )


async def an_agent_streamed(seen: Seen) -> Any:
    """The same, streamed in every mode."""
    agent = graphs.agent(graphs.SEARCH_THEN_ANSWER)
    modes = ["values", "updates", "messages", "custom", "tasks", "debug"]
    return [part async for part in agent.astream(graphs.question(), graphs.on_thread(), stream_mode=modes)]


async def events(seen: Seen) -> Any:
    """The stream of events that LangChain makes of callbacks."""
    agent = graphs.agent(graphs.SEARCH_THEN_ANSWER)
    return [event["event"] async for event in agent.astream_events(graphs.question(), graphs.on_thread())]


def a_picture(seen: Seen) -> Any:
    """A message that LangChain writes anew for its callbacks."""
    model = ScriptedModel(script=["a cat"])
    return graphs.chat_node(model).invoke({"messages": [HumanMessage(PICTURE)]}, graphs.on_thread())


def a_config(seen: Seen) -> Any:
    """What a node and a runnable see of their configuration, as text, copied and pickled."""

    def act(state: Any, config: RunnableConfig) -> Any:
        kept = {key: value for key, value in config.items() if key not in ("callbacks", "configurable")}
        seen.note(sorted(config), kept, copy.deepcopy(kept), pickle.loads(pickle.dumps(kept)))
        return {"notes": [str(RunnableLambda(lambda _, config: sorted(config)).invoke(1))]}

    return one_node(act).invoke({"notes": []}, graphs.on_thread(tags=["mine"], metadata={"a": 1}))


def threads_and_tasks(seen: Seen) -> Any:
    """Nodes in threads, and how many there are."""
    return graphs.fan_out(lambda part: (seen.note(part), {"notes": [str(part)]})[1], 3).invoke({"notes": []})


async def tasks(seen: Seen) -> Any:
    """Nodes in tasks, and how many there are."""

    async def work(part: Any) -> Any:
        seen.note("working")
        await asyncio.sleep(0)
        return {"notes": [f"part {part['number']}"]}

    return await graphs.fan_out(work, 3).ainvoke({"notes": []})


def an_error(seen: Seen) -> Any:
    """A node that fails with notes and a cause."""

    def act(state: Any) -> Any:
        try:
            raise KeyError("first")
        except KeyError as cause:
            error = Strange("it failed", 7, {"a": 1})
            error.add_note("mine")
            raise error from cause

    return one_node(act).invoke({"notes": []})


def a_tool_that_fails(seen: Seen) -> Any:
    """A tool that raises."""
    agent = graphs.agent([reply("", calls=[("broken", {"query": "x"})]), "done"], [graphs.broken])
    return agent.invoke(graphs.question(), graphs.on_thread())


def a_model_that_fails(seen: Seen) -> Any:
    """A model that raises while it is streamed."""
    return list(graphs.agent([ConnectionError("gone")]).stream(graphs.question(), stream_mode="messages"))


def no_end(seen: Seen) -> Any:
    """A loop that runs into its limit."""
    script = [reply("", calls=[("search", {"query": "x"})])]
    try:
        return graphs.agent([lambda _: script[0]]).invoke(graphs.question(), {"recursion_limit": 5})
    except GraphRecursionError as error:
        return str(error), error.args


def a_question(seen: Seen) -> Any:
    """A question to a human, and the answer."""
    graph = graphs.asking(InMemorySaver())
    return [graph.invoke(given, graphs.on_thread()) for given in ({"notes": []}, Command(resume="yes"))]


def a_retry(seen: Seen) -> Any:
    """A node that is tried again."""
    return graphs.flaky(2).invoke({"notes": []})


async def a_cancel(seen: Seen) -> Any:
    """A task that is cancelled in a node."""

    async def act(state: Any) -> Any:
        await asyncio.sleep(30)

    task = asyncio.create_task(one_node(act).ainvoke({"notes": []}))
    await asyncio.sleep(0.05)
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError as error:
        return error.args, len(asyncio.all_tasks())
    return "not cancelled"


async def a_stream_that_is_left(seen: Seen) -> Any:
    """A stream that its reader leaves."""
    stream = graphs.agent(graphs.SEARCH_THEN_ANSWER).astream(graphs.question(), stream_mode="messages")
    first = await anext(stream)
    await stream.aclose()
    return first, len(asyncio.all_tasks())


def a_warning(seen: Seen) -> Any:
    """A node that warns."""

    def act(state: Any) -> Any:
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        print("said")
        return {"notes": ["warned"]}

    return one_node(act).invoke({"notes": []})


def objects(seen: Seen) -> Any:
    """Objects of the program's own in state, arguments, results, metadata: what anybody asks of them."""

    @tool
    def give(what: Any) -> Any:
        """Give."""
        return what

    value = Watched("state")

    def act(state: Any) -> Any:
        give.invoke({"what": Watched("argument")})
        return {"notes": [value]}

    out = one_node(act).invoke({"notes": [Watched("given")]}, {"metadata": {"mine": Watched("metadata")}})
    return len(out["notes"]), out["notes"][1] is value


def a_cache(seen: Seen) -> Any:
    """An answer from a cache."""
    model = ScriptedModel(script=[reply("yes", input_tokens=5, output_tokens=1)], cache=InMemoryCache())
    return [model.invoke("same?") for _ in range(2)]


def batches(seen: Seen) -> Any:
    """Several prompts at a time, and one that fails among them."""
    model = ScriptedModel(script=["one", ConnectionError("gone"), "three"])
    return model.batch(["a", "b", "c"], {"max_concurrency": 1}, return_exceptions=True)


def draws(seen: Seen) -> Any:
    """What a graph looks like from outside."""
    graph = graphs.nested(graphs.two_nodes())
    return graph.get_graph(xray=True).draw_mermaid(), sorted(graph.nodes), graph.get_input_jsonschema()


SCENARIOS: Final[dict[str, Callable[[Seen], Any]]] = {
    one.__name__: one
    for one in (
        an_agent,
        an_agent_streamed,
        events,
        a_picture,
        a_config,
        threads_and_tasks,
        tasks,
        an_error,
        a_tool_that_fails,
        a_model_that_fails,
        no_end,
        a_question,
        a_retry,
        a_cancel,
        a_stream_that_is_left,
        a_warning,
        objects,
        a_cache,
        batches,
        draws,
    )
}
