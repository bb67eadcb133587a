"""The graphs and agents that the scenarios run. They know nothing of instrumentation."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import AnyMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import RetryPolicy, Send, interrupt

from otel_agent_journal.testing.scripted import ScriptedModel, reply


class Notes(TypedDict, total=False):
    """A state of texts that only grows."""

    notes: Annotated[list[str], operator.add]


class Chat(TypedDict):
    """A state of messages."""

    messages: Annotated[list[AnyMessage], add_messages]


def on_thread(thread: str = "t1", **more: Any) -> Any:
    """Return a configuration for a thread."""
    return {"configurable": {"thread_id": thread}, **more}


def two_nodes(**options: Any) -> Any:
    """A graph of a node after the other."""
    builder = StateGraph(Notes)
    builder.add_node("plan", lambda state: {"notes": ["planned"]})
    builder.add_node("write", lambda state: {"notes": ["written"]})
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "write")
    builder.add_edge("write", END)
    return builder.compile(name="two", **options)


def async_nodes() -> Any:
    """The same with async nodes and a conditional edge that is a plain function."""
    builder = StateGraph(Notes)

    async def plan(state: Notes) -> Notes:
        return {"notes": ["planned"]}

    async def write(state: Notes) -> Notes:
        return {"notes": ["written"]}

    async def choose(state: Notes) -> str:
        return "write"

    builder.add_node("plan", plan)
    builder.add_node("write", write)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", choose, ["write", END])
    builder.add_edge("write", END)
    return builder.compile(name="two")


def chat_node(model: Any) -> Any:
    """A graph with one node that calls a model."""
    builder = StateGraph(Chat)
    builder.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(name="chat")


def async_chat_node(model: Any) -> Any:
    """A graph with one async node that calls a model."""
    builder = StateGraph(Chat)

    async def ask(state: Chat) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(name="chat")


def fan_out(worker: Any = None, count: int = 3) -> Any:
    """A graph that sends `count` parts to a worker node each, and gathers them."""
    builder = StateGraph(Notes)
    builder.add_node("split", lambda state: {"notes": ["split"]})
    builder.add_node("work", worker or (lambda part: {"notes": [f"part {part['number']}"]}))
    builder.add_node("gather", lambda state: {"notes": ["gathered"]})
    builder.add_edge(START, "split")
    builder.add_conditional_edges(
        "split", lambda state: [Send("work", {"number": number}) for number in range(count)], ["work"]
    )
    builder.add_edge("work", "gather")
    builder.add_edge("gather", END)
    return builder.compile(name="fan")


def nested(inner: Any, name: str = "outer") -> Any:
    """A graph whose one node is another graph."""
    builder = StateGraph(Notes)
    builder.add_node("sub", inner)
    builder.add_edge(START, "sub")
    builder.add_edge("sub", END)
    return builder.compile(name=name)


def asking(checkpointer: Any = None, name: str = "approval") -> Any:
    """A graph whose second node asks a human."""
    builder = StateGraph(Notes)

    def approve(state: Notes) -> Notes:
        answer = interrupt({"question": "go on?"})
        return {"notes": [f"answered {answer}"]}

    builder.add_node("plan", lambda state: {"notes": ["planned"]})
    builder.add_node("approve", approve)
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "approve")
    builder.add_edge("approve", END)
    return builder.compile(name=name, checkpointer=checkpointer)


def nested_asking(checkpointer: Any) -> Any:
    """A graph whose node is a graph whose node asks a human."""
    builder = StateGraph(Notes)
    builder.add_node("before", lambda state: {"notes": ["before"]})
    builder.add_node("sub", asking(name="approval"))
    builder.add_node("after", lambda state: {"notes": ["after"]})
    builder.add_edge(START, "before")
    builder.add_edge("before", "sub")
    builder.add_edge("sub", "after")
    builder.add_edge("after", END)
    return builder.compile(name="outer", checkpointer=checkpointer)


def flaky(failures: int, *, attempts: int = 3, error: type[Exception] = ConnectionError) -> Any:
    """A graph whose node fails `failures` times and is retried."""
    left = [failures]

    def fetch(state: Notes) -> Notes:
        if left[0]:
            left[0] -= 1
            raise error(f"{left[0]} to go")
        return {"notes": ["fetched"]}

    builder = StateGraph(Notes)
    builder.add_node(
        "fetch", fetch, retry_policy=RetryPolicy(max_attempts=attempts, initial_interval=0.001, jitter=False)
    )
    builder.add_edge(START, "fetch")
    builder.add_edge("fetch", END)
    return builder.compile(name="flaky")


@tool
def search(query: str) -> str:
    """Look something up."""
    return f"found {query}"


@tool
def broken(query: str) -> str:
    """Fail."""
    raise LookupError(f"no {query}")


@tool
def ask_human(question: str) -> str:
    """Ask a human."""
    return f"human says {interrupt(question)}"


def agent(script: Sequence[Any], tools: Sequence[Any] = (search,), *, name: str = "researcher", **options: Any) -> Any:
    """An agent of `create_agent` on a scripted model."""
    return create_agent(ScriptedModel(script=script, by_turn=True), list(tools), name=name, **options)


SEARCH_THEN_ANSWER = (
    reply("", calls=[("search", {"query": "x"})], input_tokens=10, output_tokens=5),
    reply("It is x.", input_tokens=20, output_tokens=4),
)


def question(text: str = "what?") -> dict[str, Any]:
    """A first message."""
    return {"messages": [("user", text)]}
