"""Tags, metadata and settings of a run on its root; effects of tools; errors counted once."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from tests.frameworks.langgraph.recording import Recording


class State(TypedDict, total=False):
    out: Any


@tool
def peek(x: int) -> int:
    """Look."""
    return x


def graph() -> Any:
    built = StateGraph(State)
    built.add_node("n", lambda state: {"out": peek.invoke({"x": 1})})
    built.add_edge(START, "n")
    return built.compile(name="g")


CONFIG: dict[str, Any] = {
    "configurable": {"thread_id": "t1", "user_id": "anna", "openai_api_key": "s3cret", "client": object()},
    "tags": ["canary"],
    "metadata": {"tenant": "acme"},
}


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_said_of_a_run(recording: Recording, way: str) -> None:
    """Metadata, tags and the scalars of `configurable` that are the user's are on the root, and in the head."""
    if way == "sync":
        graph().invoke({}, CONFIG)
    else:
        await graph().ainvoke({}, CONFIG)
    starts = [event for event in recording.events if event.type.endswith("_START")]
    said = {name: value for name, value in starts[0].details.items() if name in ("metadata", "tags", "user", "tenant")}
    assert said == {
        "metadata": {"user_id": "anna", "openai_api_key": "***", "tenant": "acme"},
        "tags": ["canary"],
        "user": "anna",
        "tenant": "acme",
    }
    assert all("metadata" not in event.details for event in starts[1:])
    head = recording.store.head("t1")
    assert head is not None
    assert head.about.tags == ("canary",)
    assert head.about.labels["tenant"] == "acme"


def test_settings_are_of_the_graph_that_they_were_given(recording: Recording) -> None:
    """What one graph was called with is not said of the next."""
    graph().invoke({}, CONFIG)
    graph().invoke({}, {"configurable": {"thread_id": "t2"}})
    (start,) = (event for event in recording.sessions["t2"] if event.type == "AGENT_START")
    assert "metadata" not in start.details


def test_hints_of_a_tool(recording: Recording) -> None:
    """A tool whose metadata are the annotations of MCP says what it does."""
    peek.metadata = {"readOnlyHint": True}
    try:
        graph().invoke({}, CONFIG)
    finally:
        peek.metadata = None
    (start,) = (event for event in recording.events if event.type == "TOOL_START")
    assert start.details["effects"] == "read"
