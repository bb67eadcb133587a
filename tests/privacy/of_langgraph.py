"""Graphs, agents, models, tools and retrievers of LangGraph and LangChain that have a secret wherever one can be."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.privacy.places import CONTENT, NAME, NOWHERE, Kind, Scenario

PLACES: dict[str, Kind] = {
    "thread": NAME,
    "graph": NAME,
    "node": NAME,
    "run name": NAME,
    "model": NAME,
    "metadata": CONTENT,
    "metadata name": CONTENT,
    "tag": CONTENT,
    "configurable": CONTENT,
    "state": CONTENT,
    "name in the state": CONTENT,
    "update": CONTENT,
    "sent": CONTENT,
    "custom event": NOWHERE,
    "system message": CONTENT,
    "user message": CONTENT,
    "name of a message": CONTENT,
    "picture": CONTENT,
    "file name": CONTENT,
    "answer": CONTENT,
    "streamed answer": CONTENT,
    "thought": CONTENT,
    "additional argument": CONTENT,
    "response metadata": CONTENT,
    "stop sequence": CONTENT,
    "parameter user": CONTENT,
    "header": NOWHERE,  # secret by its name
    "tool description": CONTENT,
    "tool parameter": CONTENT,
    "schema of an answer": CONTENT,
    "tool argument": CONTENT,
    "tool result": CONTENT,
    "tool artifact": CONTENT,
    "tool error": CONTENT,
    "tool that is not there": CONTENT,
    "invalid tool call": CONTENT,
    "query": CONTENT,
    "document": CONTENT,
    "document metadata": CONTENT,
    "node error": CONTENT,
    "cause of a node's error": CONTENT,
    "model error": CONTENT,
    "cancelled": CONTENT,
    "question": CONTENT,
    "answer to a question": CONTENT,
}


class Texts(TypedDict):
    """The state of the graphs."""

    texts: Annotated[list[Any], operator.add]


class Pages(BaseRetriever):
    """Finds one page."""

    text: str
    about: str

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(self.text, metadata={"about": self.about})]


def graph_of(name: str = "graph", /, **nodes: Any) -> Any:
    """Return a graph of these nodes in a row."""
    builder = StateGraph(Texts)
    before = START
    for node, run in nodes.items():
        builder.add_node(node, run)
        builder.add_edge(before, node)
        before = node
    return builder.compile(checkpointer=InMemorySaver(), name=name)


def on(thread: str, **more: Any) -> dict[str, Any]:
    """Return a config."""
    return {"configurable": {"thread_id": thread}, **more}


def program(say: Callable[[str], str]) -> None:
    """Say all of it."""
    _graphs(say)
    _models(say)
    _tools(say)
    _failures(say)
    _questions(say)


def _graphs(say: Callable[[str], str]) -> None:
    def work(state: Any) -> Any:
        get_stream_writer()({"note": say("custom event")})
        return {"texts": [say("update"), {say("name in the state"): 1}]}

    def fan(state: Any) -> Any:
        return [Send("each", {"texts": [say("sent")]})]

    config = {
        "configurable": {"thread_id": say("thread"), "tier": say("configurable")},
        "metadata": {"note": say("metadata"), say("metadata name"): 1},
        "tags": [say("tag")],
    }
    graph = graph_of(say("graph"), **{say("node"): work})
    list(graph.stream({"texts": [say("state")]}, config, stream_mode="custom"))
    graph_of("named", a=lambda state: {"texts": [1]}).invoke({"texts": []}, on("named", run_name=say("run name")))
    builder = StateGraph(Texts)
    builder.add_node("each", lambda state: {"texts": [1]})
    builder.add_conditional_edges(START, fan)
    builder.compile(name="fans").invoke({"texts": []}, on("sent"))


class Answer(BaseModel):
    """An answer with fields."""

    text: str


def _models(say: Callable[[str], str]) -> None:
    messages = [
        SystemMessage(say("system message")),
        HumanMessage(
            [
                {"type": "text", "text": say("user message")},
                {"type": "image", "base64": _base64(say("picture")), "mime_type": "image/png"},
                {"type": "file", "base64": "AAAA", "mime_type": "text/plain", "filename": say("file name")},
            ],
            name=say("name of a message"),
        ),
    ]
    answered = reply(say("answer"), calls=[("look", {"q": 1})], input_tokens=3, output_tokens=2)
    answered.additional_kwargs["note"] = say("additional argument")
    answered.response_metadata["note"] = say("response metadata")
    answered.invalid_tool_calls = [
        {
            "name": "look",
            "args": f"{{{say('invalid tool call')}",
            "id": "c9",
            "error": "no JSON",
            "type": "invalid_tool_call",
        }
    ]
    thinking = AIMessage([{"type": "reasoning", "reasoning": say("thought")}, {"type": "text", "text": "done"}])
    model = ScriptedModel(script=[answered, thinking], model_name=say("model"))
    tools = [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": say("tool description"),
                "parameters": {"type": "object", "properties": {"q": {"description": say("tool parameter")}}},
            },
        }
    ]
    wanted = type("Wanted", (Answer,), {"__doc__": say("schema of an answer"), "__module__": __name__})
    given = {"stop": [say("stop sequence")], "user": say("parameter user"), "extra_headers": {"x-note": say("header")}}

    def ask(state: Any) -> Any:
        model.invoke(messages, tools=tools, response_format=wanted, **given)
        model.invoke(messages)
        list(ScriptedModel(script=[f"streamed {say('streamed answer')}"]).stream("go on"))
        return {"texts": [1]}

    graph_of(ask=ask).invoke({"texts": []}, on("models"))


def _tools(say: Callable[[str], str]) -> None:
    @tool(description="Look.", response_format="content_and_artifact")
    def look(q: str) -> Any:
        if q == "fail":
            raise ValueError(say("tool error"))
        return say("tool result"), {"artifact": say("tool artifact")}

    calls = [("look", {"q": say("tool argument")}), ("look", {"q": "fail"}), (say("tool that is not there"), {})]

    class State(TypedDict):
        messages: Annotated[list[Any], operator.add]

    builder = StateGraph(State)
    builder.add_node("tools", ToolNode([look], handle_tool_errors=True))
    builder.add_edge(START, "tools")
    asks = reply("", calls=calls, call_ids=["c0", "c1", "c2"])
    builder.compile(name="tools").invoke({"messages": [asks]}, on("tools"))
    found = Pages(text=say("document"), about=say("document metadata"))
    graph_of(find=lambda state: {"texts": [len(found.invoke(say("query")))]}).invoke({"texts": []}, on("pages"))


def _failures(say: Callable[[str], str]) -> None:
    def fail(state: Any) -> Any:
        try:
            raise KeyError(say("cause of a node's error"))
        except KeyError as error:
            raise ValueError(say("node error")) from error

    def ask(state: Any) -> Any:
        ScriptedModel(script=[ConnectionError(say("model error"))]).invoke("go")

    async def cancelled(state: Any) -> Any:
        raise asyncio.CancelledError(say("cancelled"))

    for node in (fail, ask):
        with contextlib.suppress(Exception):
            graph_of(node=node).invoke({"texts": []}, on("failures"))
    with contextlib.suppress(asyncio.CancelledError, Exception):
        asyncio.run(graph_of(node=cancelled).ainvoke({"texts": []}, on("cancelled")))


def _questions(say: Callable[[str], str]) -> None:
    graph = graph_of(ask=lambda state: {"texts": [interrupt({"question": say("question")})]})
    graph.invoke({"texts": []}, on("questions"))
    graph.invoke(Command(resume=say("answer to a question")), on("questions"))


def _base64(text: str) -> str:
    import base64

    return base64.b64encode(b"\x89PNG" + text.encode()).decode()


LANGGRAPH = Scenario(program, PLACES, instrumentors=lambda: [LangGraphInstrumentor()])
