"""A fan-out into graphs of graphs of agents that all have the same names and ids, in the four ways to run it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.types import Send

from otel_agent_journal.testing.scripted import reply
from tests.replay.graphs import THREAD, Calls, Notes, an_agent, apause, pause, question, said

MANY = 20 if os.environ.get("AGENT_JOURNAL_SOAK") else 5
DEEP: Sequence[Any] = (
    reply("see", calls=[("search", {"query": "same"}), ("search", {"query": "same"})], call_ids=["1", "2"]),
    reply("said"),
)


def deep(calls: Calls, count: int = MANY) -> Any:
    """A fan-out, of one name, into graphs of graphs of agents that call a tool twice, by the same ids everywhere."""
    agent = an_agent(calls, DEEP)

    def found(result: Any) -> Notes:
        return {"notes": [str(said(result))]}

    def ask(state: Any) -> Notes:
        pause()
        return found(agent.invoke(question("same")))

    async def aask(state: Any) -> Notes:
        await apause()
        return found(await agent.ainvoke(question("same")))

    graph: Any = RunnableLambda(ask, aask)
    for name in ("ask", "inner", "middle"):
        builder = StateGraph(Notes)
        builder.add_node(name, graph)
        builder.add_edge(START, name)
        graph = builder.compile(name=f"around {name}")
    builder = StateGraph(Notes)
    builder.add_node("deep", lambda state: {"notes": graph.invoke({"notes": []})["notes"]})
    builder.add_node("sent", graph)
    builder.add_conditional_edges(START, lambda _: [Send("sent", {"notes": []}) for _ in range(count)], ["sent"])
    builder.add_edge("sent", "deep")
    return builder.compile(name="outer")


def deep_invoked(calls: Calls) -> Any:
    """`invoke`."""
    return deep(calls).invoke({"notes": []}, THREAD)["notes"]


def deep_ainvoked(calls: Calls) -> Any:
    """`ainvoke`."""
    return asyncio.run(deep(calls).ainvoke({"notes": []}, THREAD))["notes"]


def deep_streamed(calls: Calls) -> Any:
    """`stream` of values, and of the messages of all graphs below."""
    modes = ["values", "messages"]
    parts = [*deep(calls).stream({"notes": []}, THREAD, stream_mode=modes, subgraphs=True)]
    return [value for path, mode, value in parts if mode == "values" and not path][-1]["notes"]


def deep_astreamed(calls: Calls) -> Any:
    """`astream` of the same."""

    async def run() -> Any:
        modes = ["values", "messages"]
        parts = deep(calls).astream({"notes": []}, THREAD, stream_mode=modes, subgraphs=True)
        return [value async for path, mode, value in parts if mode == "values" and not path][-1]["notes"]

    return asyncio.run(run())


SCENARIOS: dict[str, Callable[[Calls], Any]] = {
    one.__name__: one for one in (deep_invoked, deep_ainvoked, deep_streamed, deep_astreamed)
}
