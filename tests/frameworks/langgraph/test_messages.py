"""Messages by reference: one only ever stands for a message that is in the journal with that very content."""

from __future__ import annotations

import itertools
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from otel_agent_journal.codec import encode_line
from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


def journaled(recording: Recording) -> str:
    """Everything in the journal, as text."""
    return "\n".join(encode_line(event).decode() for event in recording.events)


def test_tool_call_ids_that_repeat(recording: Recording) -> None:
    """The results of two tool calls that a model gave the same id in one session are both journaled."""
    script = [
        reply("", calls=[("search", {"query": "first"})], call_ids=["call_0"]),
        reply("", calls=[("search", {"query": "second"})], call_ids=["call_0"]),
        "done",
    ]
    graphs.agent(script).invoke(graphs.question(), graphs.on_thread())
    outputs = [step.last.details_end["output"].get("content") for step in recording.steps.walk() if step.kind == "TOOL"]
    assert outputs == ["found first", "found second"]


def test_a_tool_that_is_called_again_with_another_result(recording: Recording) -> None:
    """Each attempt at one tool call is journaled with its own result."""
    counter = itertools.count(1)

    @tool
    def measure(query: str) -> str:
        """Measure."""
        return f"measured {next(counter)}"

    call: Any = {"name": "measure", "args": {"query": "x"}, "id": "c1", "type": "tool_call"}
    graphs.nested(lambda state: {"notes": [measure.invoke(call).content, measure.invoke(call).content]}).invoke(
        {"notes": []}, graphs.on_thread()
    )
    for number in (1, 2):
        assert f"measured {number}" in "".join(
            str(one.details_end) for step in recording.steps.steps if step.kind == "TOOL" for one in step.attempts
        )


def test_a_message_that_is_changed_under_its_id(recording: Recording) -> None:
    """A message that a node replaces by another of the same id, as summaries and edits do, is journaled again."""
    model = ScriptedModel(script=["one", "two"])
    builder = StateGraph(graphs.Chat)
    builder.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("edit", lambda state: {"messages": [HumanMessage("edited question", id="h1")]})
    builder.add_node("again", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "edit")
    builder.add_edge("edit", "again")
    builder.compile(name="editing").invoke({"messages": [HumanMessage("first question", id="h1")]}, graphs.on_thread())
    assert "edited question" in str(recording.attempt("edit").details_end)


def test_an_answer_that_is_changed_under_its_id(recording: Recording) -> None:
    """An answer that middleware rewrites under its id is journaled as what it became."""
    model = ScriptedModel(script=[reply("raw answer", message_id="a1")])

    def ask(state: graphs.Chat) -> Any:
        answer = model.invoke(state["messages"])
        return {"messages": [AIMessage(content="polished answer", id=answer.id)]}

    builder = StateGraph(graphs.Chat)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.compile(name="polish").invoke(graphs.question(), graphs.on_thread())
    assert "raw answer" in journaled(recording)
    assert "polished answer" in journaled(recording)


def test_equal_texts_without_an_id(recording: Recording) -> None:
    """Of two messages without ids that say the same, each is counted; lists of the same length are told apart."""
    model = ScriptedModel(script=["x"])
    parts = [[{"type": "text", "text": "look here"}], [{"type": "text", "text": "look there"}]]
    graphs.nested(
        lambda state: {"notes": [str(model.invoke([HumanMessage(content=part)]).content) for part in parts]}
    ).invoke({"notes": []}, graphs.on_thread())
    assert "look here" in journaled(recording)
    assert "look there" in journaled(recording)
