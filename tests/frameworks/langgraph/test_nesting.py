"""A user's own spans: inside a node or tool they nest under its step, outside they stay outside."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from opentelemetry import context as context_api
from opentelemetry import trace

from otel_agent_journal.pipeline.step import current_step
from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


def mine(name: str = "mine") -> Any:
    """A span of the user's own."""
    return trace.get_tracer("user").start_as_current_span(name)


def parent_of(recording: Recording, name: str) -> str | None:
    """The name of the parent span of the one span of that name."""
    parent = recording.span(name).parent
    names = {span.context.span_id: span.name for span in recording.spans}
    return names[parent.span_id] if parent else None


def test_in_a_node(recording: Recording) -> None:
    """A span opened in a node is the node's child."""

    def work(state: graphs.Notes) -> graphs.Notes:
        with mine():
            return {"notes": ["x"]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    assert parent_of(recording, "mine") == "invoke_node sub"


async def test_in_an_async_node(recording: Recording) -> None:
    """A span opened in an async node is the node's child, also after an await."""

    async def work(state: graphs.Notes) -> graphs.Notes:
        await asyncio.sleep(0)
        with mine():
            await asyncio.sleep(0.01)
        return {"notes": ["x"]}

    await graphs.nested(work).ainvoke({"notes": []}, graphs.on_thread())
    assert parent_of(recording, "mine") == "invoke_node sub"


def test_in_a_tool(recording: Recording) -> None:
    """A span opened in a tool is the tool call's child."""

    @tool
    def work(query: str) -> str:
        """Work."""
        with mine():
            return query

    graphs.agent([reply("", calls=[("work", {"query": "x"})]), "done"], [work]).invoke(
        graphs.question(), graphs.on_thread()
    )
    assert parent_of(recording, "mine") == "execute_tool work"


async def test_in_an_async_tool(recording: Recording) -> None:
    """A span opened in an async tool is the tool call's child, as is one of a sync tool of an async agent."""

    @tool
    async def work(query: str) -> str:
        """Work."""
        with mine():
            await asyncio.sleep(0.01)
            return query

    @tool
    def sync_work(query: str) -> str:
        """Work."""
        with mine("mine too"):
            return query

    calls = [("work", {"query": "x"}), ("sync_work", {"query": "y"})]
    agent = graphs.agent([reply("", calls=calls, call_ids=["1", "2"]), "done"], [work, sync_work])
    await agent.ainvoke(graphs.question(), graphs.on_thread())
    assert parent_of(recording, "mine") == "execute_tool work"
    assert parent_of(recording, "mine too") == "execute_tool sync_work"


def test_in_parallel_nodes(recording: Recording) -> None:
    """Spans of nodes that run at once do not mix."""
    barrier = threading.Barrier(3, timeout=10)

    def work(part: dict[str, int]) -> graphs.Notes:
        barrier.wait()
        with mine(f"mine {part['number']}"):
            barrier.wait()
            with mine(f"inner {part['number']}"):
                barrier.wait()
        return {"notes": ["x"]}

    graphs.fan_out(worker=work).invoke({"notes": []}, graphs.on_thread())
    for number in range(3):
        assert parent_of(recording, f"inner {number}") == f"mine {number}"
        assert parent_of(recording, f"mine {number}") == "invoke_node work"
    assert len({recording.span(f"mine {number}").parent.span_id for number in range(3)}) == 3


def test_a_step_below_a_users_span(recording: Recording) -> None:
    """A model called within a user's span hangs below that span in the trace, and below the node in the journal."""
    model = ScriptedModel(script=["x"])

    def work(state: graphs.Notes) -> graphs.Notes:
        with mine():
            return {"notes": [str(model.invoke("hi").content)]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    assert parent_of(recording, "chat scripted-1") == "mine"
    assert recording.tree(details=False) == "AGENT outer ok\n  NODE sub ok\n    MODEL scripted-1 ok"
    assert recording.attempt("scripted-1").details_start["parent_span_id"] == (
        f"{recording.span('mine').context.span_id:016x}"
    )


def test_a_graph_below_a_callers_span(recording: Recording) -> None:
    """A graph that is invoked within the caller's span is part of the caller's trace."""
    with mine("request"):
        graphs.two_nodes().invoke({"notes": []}, graphs.on_thread())
    assert parent_of(recording, "invoke_workflow two") == "request"
    assert len({span.context.trace_id for span in recording.spans}) == 1


def test_the_callers_span_is_current_again(recording: Recording) -> None:
    """After a run, whatever its end, the caller's span and context are the current ones."""

    def work(state: graphs.Notes) -> graphs.Notes:
        raise ValueError

    with mine("request") as request:
        before = context_api.get_current()
        graphs.two_nodes().invoke({"notes": []}, graphs.on_thread("a"))
        assert trace.get_current_span() is request
        with contextlib.suppress(ValueError):
            graphs.nested(work).invoke({"notes": []}, graphs.on_thread("b"))
        assert context_api.get_current() == before
        assert current_step() is None


def test_a_step_knows_itself(recording: Recording) -> None:
    """Code in a node can ask which step it runs in, and note its progress there."""

    def work(state: graphs.Notes) -> graphs.Notes:
        step = current_step()
        assert step is not None
        step.note("PROGRESS", {"done": "half"})
        return {"notes": ["x"]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    (note,) = recording.attempt("sub").notes
    assert (note.type, note.details) == ("PROGRESS", {"done": "half"})


def test_attributes_set_on_the_current_span(recording: Recording) -> None:
    """Attributes that user code sets on the current span in a node are on the node's span."""

    def work(state: graphs.Notes) -> graphs.Notes:
        trace.get_current_span().set_attribute("customer", "c1")
        return {"notes": ["x"]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    assert (recording.span("invoke_node sub").attributes or {})["customer"] == "c1"


def test_in_a_conditional_edge(recording: Recording) -> None:
    """A span opened in an edge function hangs somewhere within the graph, not beside it."""

    def choose(state: graphs.Notes) -> str:
        with mine():
            return "last"

    builder = StateGraph(graphs.Notes)
    builder.add_node("first", lambda state: {"notes": ["x"]})
    builder.add_node("last", lambda state: {"notes": ["y"]})
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", choose, ["last"])
    builder.compile(name="edges").invoke({"notes": []}, graphs.on_thread())
    assert parent_of(recording, "mine") in ("invoke_node first", "invoke_workflow edges")


async def test_two_runs_in_one_task_do_not_mix(recording: Recording) -> None:
    """Streams that one task reads in turns keep their spans apart."""

    def graph(name: str) -> Any:
        async def work(state: graphs.Notes) -> graphs.Notes:
            with mine(f"mine {name}"):
                return {"notes": ["x"]}

        builder = StateGraph(graphs.Notes)
        builder.add_node("a", work)
        builder.add_edge(START, "a")
        return builder.compile(name=name)

    one = graph("one").astream({"notes": []}, graphs.on_thread("t1"), stream_mode=["updates", "values"])
    two = graph("two").astream({"notes": []}, graphs.on_thread("t2"), stream_mode=["updates", "values"])
    for _ in range(3):
        await anext(one, None)
        await anext(two, None)
    assert [part async for part in one] == []
    assert [part async for part in two] == []
    for name in ("one", "two"):
        own = recording.span(f"mine {name}")
        assert own.context.trace_id == recording.span(f"invoke_workflow {name}").context.trace_id
