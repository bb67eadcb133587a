"""Objects of the program's own in a graph: we ask none for anything, and what the graph does with them is the same."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any, TypedDict

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from otel_agent_journal.pipeline.content import CUT
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording
from tests.untouchable import Noticing


class State(TypedDict, total=False):
    """Whatever a node puts into it."""

    out: Any
    more: Any


def graph(*nodes: Any) -> Any:
    """A graph of these nodes, one after the other."""
    builder = StateGraph(State)
    names = [f"n{number}" for number in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        builder.add_node(name, node)
    for one, other in zip([START, *names], names, strict=False):
        builder.add_edge(one, other)
    return builder.compile()


@tool(response_format="content_and_artifact")
def fetch(what: Any) -> Any:
    """Fetch."""
    return "fetched", what


@tool
def give(what: Any) -> Any:
    """Give."""
    return what


class Search(BaseRetriever):
    """Finds one document, with an object in its metadata."""

    found: Any

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("page", metadata={"row": self.found})]


class Failing(Exception):
    """An error that holds an object, and has a property that must not be read."""

    def __init__(self, held: Any) -> None:
        super().__init__("it failed")
        self.held = held

    @property
    def response(self) -> Any:
        """Fail the test."""
        self.held.noticed.append(".response")
        return None


@pytest.mark.parametrize("span_content", [False, True])
@pytest.mark.parametrize("kind", Noticing().objects())
def test_nobody_notices(recording: Recording, kind: str, span_content: bool) -> None:
    """In input, metadata, state, arguments, results, artifacts, documents, commands: nothing is asked of an object."""
    recording.recorder.span_content = span_content
    noticing = Noticing()
    value = noticing.objects()[kind]

    def node(state: State) -> Any:
        fetch.invoke({"name": "fetch", "args": {"what": value}, "id": "c1", "type": "tool_call"})
        return Command(update={"out": {"deep": [value]}})

    def finds(state: State) -> Any:
        give.invoke({"what": value})
        return {"more": Search(found=value).invoke("q")}

    # LangGraph and LangChain themselves fail on some; what matters is what we asked meanwhile.
    for given, metadata in (({"more": value}, {}), ({}, {"mine": value}), (value, {})):
        with contextlib.suppress(Exception):
            graph(node, finds).invoke(given, graphs.on_thread(metadata=metadata))
    assert noticing.noticed == []


def test_errors(recording: Recording) -> None:
    """Of an exception that passes no property is read."""
    noticing = Noticing()

    def fail(state: State) -> Any:
        raise Failing(noticing)

    with pytest.raises(Failing):
        graph(fail).invoke({}, graphs.on_thread())
    assert noticing.noticed == []
    assert recording.status == ("ERROR", None)


def test_a_stream_is_read_by_the_next_node(recording: Recording) -> None:
    """What is in a state is not consumed: files, generators and iterators come to the next node as they were."""
    opened = {"file": io.StringIO("a\nb\n"), "generator": (number for number in range(3)), "iterator": iter([1, 2])}
    read = graph(
        lambda state: {"out": opened},
        lambda state: {
            "more": [state["out"]["file"].readline(), *state["out"]["generator"], *state["out"]["iterator"]]
        },
    ).invoke({}, graphs.on_thread())
    assert read["more"] == ["a\n", 0, 1, 2, 1, 2]


def test_no_warning_is_caused(recording: Recording) -> None:
    """A model with a field of another type than it declares warns nobody."""

    class Envelope(BaseModel):
        parsed: None = None

    envelope = Envelope.model_construct(parsed=Envelope())  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph(lambda state: {"out": envelope}).invoke({}, graphs.on_thread())
    assert recording.attempt("n0").details_end["output"] == {"out": {"parsed": {"parsed": None}}}


def test_a_message_is_known_by_its_class(recording: Recording) -> None:
    """What only looks like a message is left alone, and what stands beside it is journaled."""

    class Template:
        content, type, additional_kwargs = property(lambda self: 1 / 0), "human", None

    graph(lambda state: {"out": [Template(), "beside"]}).invoke({}, graphs.on_thread())
    assert recording.attempt("n0").details_end["output"]["out"][1] == "beside"


def test_a_large_value(recording: Recording) -> None:
    """Of a table a part is journaled, with what stands beside it, and the event says so."""
    rows = [{"a": number, "b": "text"} for number in range(300_000)]
    graph(lambda state: {"out": rows, "more": "beside"}).invoke({"out": rows}, graphs.on_thread())
    details = recording.attempt("n0").details_end
    assert details[CUT] == ["output"]
    assert details["output"]["more"] == "beside"
    assert details["output"]["out"][0] == {"a": 0, "b": "text"}
    assert recording.attempt("LangGraph").details_start[CUT] == ["input"]
