"""Programs of LangGraph that are recorded and replayed. Each notes the models and tools that it calls."""

from __future__ import annotations

import asyncio
import operator
import random
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, LLMResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from otel_agent_journal.testing.scripted import ScriptedModel, reply

Calls = list[str]
SLOW_S = 0.002  # at most, of what a program does beside its calls: they come in another order each time
THREAD: Any = {"configurable": {"thread_id": "reading-7"}}


class Notes(TypedDict, total=False):
    """A state of texts that only grows."""

    notes: Annotated[list[str], operator.add]


def pause() -> None:
    """Take a while."""
    time.sleep(random.random() * SLOW_S)


async def apause() -> None:
    """Take a while, and let others go on."""
    await asyncio.sleep(random.random() * SLOW_S)


class Noting(ScriptedModel):
    """A scripted model that notes its calls, and takes a while."""

    calls: Any = None
    slow_s: float = 0.0

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("model")
        time.sleep(random.random() * self.slow_s)
        return super()._generate(*args, **kwargs)

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("model")
        await asyncio.sleep(random.random() * self.slow_s)
        return await super()._agenerate(*args, **kwargs)

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("model")
        yield from super()._stream(*args, **kwargs)

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("model")
        async for chunk in super()._astream(*args, **kwargs):
            yield chunk


def searching(calls: Calls, slow_s: float = 0.0) -> Any:
    """A tool that notes its calls, and gives another result each time."""

    @tool
    def search(query: str) -> str:
        """Look something up."""
        calls.append(f"search {query}")
        time.sleep(random.random() * slow_s)
        return f"found {query} {random.random()}"

    return search


SCRIPT: Sequence[Any] = (
    reply("let me see", calls=[("search", {"query": "a"}), ("search", {"query": "b"})], call_ids=["1", "2"]),
    reply("one more", calls=[("search", {"query": "c"})], call_ids=["3"], input_tokens=20, output_tokens=4),
    reply("It is c.", input_tokens=20, output_tokens=4),
)


def an_agent(calls: Calls, script: Sequence[Any] = SCRIPT, slow_s: float = 0.0, **options: Any) -> Any:
    """An agent that searches three times."""
    model = Noting(script=script, by_turn=True, calls=calls, slow_s=slow_s)
    options.setdefault("tools", [searching(calls, slow_s)])
    return create_agent(model, name="researcher", **options)


def alike(calls: Calls) -> Any:
    """An agent that calls a tool eight times at a time, with the same arguments."""
    ids = [str(number) for number in range(8)]
    script = [reply("see", calls=[("search", {"query": "a"})] * len(ids), call_ids=ids), reply("It is a.")]
    return said(an_agent(calls, script, SLOW_S).invoke(question(), THREAD))


def question(text: str = "what?") -> dict[str, Any]:
    """A first message."""
    return {"messages": [("user", text)]}


def said(result: Any) -> list[Any]:
    """What an agent said and heard."""
    return [(one.type, one.content, getattr(one, "tool_calls", None)) for one in result["messages"]]


def invoked(calls: Calls) -> Any:
    """`invoke`."""
    return said(an_agent(calls).invoke(question(), THREAD))


def ainvoked(calls: Calls) -> Any:
    """`ainvoke`."""
    return said(asyncio.run(an_agent(calls).ainvoke(question(), THREAD)))


def streamed(calls: Calls) -> Any:
    """`stream` of messages: the text of the answers, whatever its pieces."""
    parts = list(an_agent(calls).stream(question(), THREAD, stream_mode="messages"))
    return "".join(chunk.text for chunk, _ in parts if chunk.type in ("ai", "AIMessageChunk"))


def astreamed(calls: Calls) -> Any:
    """`astream` of messages and values."""

    async def run() -> Any:
        found: list[Any] = []
        async for mode, part in an_agent(calls).astream(question(), THREAD, stream_mode=["messages", "values"]):
            if mode == "values":
                found = said(part)
        return found

    return asyncio.run(run())


def sent(calls: Calls, count: int = 20, slow_s: float = 0.0) -> Any:
    """A fan-out of workers of one name, each with a model call and two equal calls of a tool without an id."""
    search = searching(calls, slow_s)

    def work(part: Any) -> Notes:
        pause()
        model = Noting(script=[reply(f"part {part['number']} {random.random()}")], calls=calls, slow_s=slow_s)
        answer = model.invoke(f"do {part['number']}")
        found = [search.invoke({"query": "same"}), search.invoke({"query": "same"})]
        return {"notes": [f"{answer.content} {found}"]}

    builder = StateGraph(Notes)
    builder.add_node("split", lambda state: {"notes": ["split"]})
    builder.add_node("work", work)
    builder.add_edge(START, "split")
    builder.add_conditional_edges("split", lambda _: [Send("work", {"number": n}) for n in range(count)], ["work"])
    builder.add_edge("work", END)
    return builder.compile(name="fan").invoke({"notes": []}, THREAD)["notes"]


def sent_into_subgraphs(calls: Calls, slow_s: float = 0.0) -> Any:
    """A fan-out into graphs whose nodes have equal names, and one that is called twice from a node."""

    def ask(state: Any) -> Notes:
        pause()
        model = Noting(script=[reply(f"{random.random()}")], calls=calls, slow_s=slow_s)
        return {"notes": [model.invoke("same question").text]}

    inner = StateGraph(Notes)
    inner.add_node("ask", ask)
    inner.add_node("again", ask)
    inner.add_edge(START, "ask")
    inner.add_edge("ask", "again")
    sub = inner.compile(name="sub")

    def twice(state: Any) -> Notes:
        return {"notes": sub.invoke({"notes": []})["notes"] + sub.invoke({"notes": []})["notes"]}

    builder = StateGraph(Notes)
    builder.add_node("sub", sub)
    builder.add_node("twice", twice)
    builder.add_conditional_edges(START, lambda _: [Send("sub", {"notes": []}) for _ in range(7)], ["sub"])
    builder.add_edge("sub", "twice")
    builder.add_edge("twice", END)
    return builder.compile(name="outer").invoke({"notes": []}, THREAD)["notes"]


def at_once(calls: Calls, slow_s: float = 0.0) -> Any:
    """A node that asks several models at a time, by itself."""
    model = Noting(script=[lambda messages: f"{messages[-1].content} {random.random()}"], calls=calls, slow_s=slow_s)

    async def one(number: int) -> str:
        await apause()
        return (await model.ainvoke(f"question {number}")).text

    async def ask(state: Any) -> Notes:
        return {"notes": list(await asyncio.gather(*map(one, range(8))))}

    builder = StateGraph(Notes)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return asyncio.run(builder.compile(name="gather").ainvoke({"notes": []}, THREAD))["notes"]


def retried(calls: Calls) -> Any:
    """A node whose model is throttled, and that is tried again."""
    script = iter([TimeoutError("429"), reply("at last")])
    model = Noting(script=[lambda _: _next(script)], calls=calls)
    builder = StateGraph(Notes)
    builder.add_node(
        "ask",
        lambda state: {"notes": [model.invoke("x").text]},
        retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False, retry_on=TimeoutError),
    )
    builder.add_edge(START, "ask")
    return builder.compile(name="flaky").invoke({"notes": []}, THREAD)["notes"]


def _next(script: Any) -> Any:
    one = next(script)
    if isinstance(one, Exception):
        raise one
    return one


def failed(calls: Calls) -> Any:
    """A tool that fails, and an agent that fails with it."""

    @tool
    def broken(query: str) -> str:
        """Fail."""
        calls.append("broken")
        raise LookupError(f"no {query}")

    script = [reply("see", calls=[("broken", {"query": "a"})], call_ids=["1"])]
    return an_agent(calls, script, tools=[broken]).invoke(question(), THREAD)


def resumed(calls: Calls) -> Any:
    """An interrupt in a tool, and in a node, each answered by the program."""

    @tool
    def ask_human(about: str) -> str:
        """Ask a human."""
        calls.append("ask_human")
        return f"human says {interrupt(about)}"

    script = [reply("ask", calls=[("ask_human", {"about": "x"})], call_ids=["1"]), reply("done")]
    agent = an_agent(calls, script, tools=[ask_human], checkpointer=InMemorySaver())
    agent.invoke(question(), THREAD)
    assert agent.get_state(THREAD).next
    return said(agent.invoke(Command(resume="yes"), THREAD))


def asked_in_a_node(calls: Calls) -> Any:
    """An interrupt in a node behind a model call."""
    model = Noting(script=[reply("planned")], calls=calls)

    def approve(state: Notes) -> Notes:
        return {"notes": [f"answered {interrupt('go on?')}"]}

    builder = StateGraph(Notes)
    builder.add_node("plan", lambda state: {"notes": [model.invoke("plan").text]})
    builder.add_node("approve", approve)
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "approve")
    graph = builder.compile(name="approval", checkpointer=InMemorySaver())
    graph.invoke({"notes": []}, THREAD)
    return graph.invoke(Command(resume="yes"), THREAD)["notes"]


def turns(calls: Calls) -> Any:
    """Three turns of a conversation."""
    model = Noting(script=[lambda messages: f"{len(messages)} {random.random()}"], calls=calls)
    agent = create_agent(model, checkpointer=InMemorySaver())
    for text in ("one", "two", "three"):
        result = agent.invoke(question(text), THREAD)
    return said(result)


def functional(calls: Calls) -> Any:
    """The functional API: tasks at a time."""
    model = Noting(script=[lambda messages: f"{messages[-1].content} {random.random()}"], calls=calls, slow_s=0.01)

    @task
    def ask(text: str) -> str:
        pause()
        return model.invoke(text).text

    @entrypoint()
    def flow(count: int) -> list[str]:
        return [one.result() for one in [ask(f"q{n}") for n in range(count)]]

    return flow.invoke(5, THREAD)


class Finding(BaseRetriever):
    """A retriever that notes its calls."""

    calls: Any = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        self.calls.append("retriever")
        return [Document(page_content=f"about {query} {random.random()}", metadata={"n": 1}, id="d1")]


class Texts(BaseLLM):
    """A text model that notes its calls."""

    calls: Any = None

    @property
    def _llm_type(self) -> str:
        return "texts"

    def _generate(self, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> LLMResult:
        self.calls.append("text model")
        return LLMResult(generations=[[Generation(text=f"{one} {random.random()}")] for one in prompts])


def retrieved(calls: Calls) -> Any:
    """A retriever, a text model of several prompts, a null of a tool, in one node."""

    @tool
    def nothing() -> None:
        """Return nothing."""
        calls.append("nothing")

    def look(state: Notes) -> Notes:
        documents = Finding(calls=calls).invoke("birds")
        texts = Texts(calls=calls).batch(["one", "two"])
        return {"notes": [documents[0].page_content, str(documents[0].metadata), *texts, repr(nothing.invoke({}))]}

    builder = StateGraph(Notes)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    return builder.compile(name="look").invoke({"notes": []}, THREAD)["notes"]


def without_a_thread(calls: Calls) -> Any:
    """An agent that is in no session, but in that of its trace."""
    return said(an_agent(calls).invoke(question()))


SCENARIOS: dict[str, Callable[[Calls], Any]] = {
    one.__name__: one
    for one in (
        invoked,
        ainvoked,
        streamed,
        astreamed,
        sent,
        sent_into_subgraphs,
        at_once,
        retried,
        failed,
        resumed,
        asked_in_a_node,
        turns,
        functional,
        retrieved,
        without_a_thread,
    )
}
