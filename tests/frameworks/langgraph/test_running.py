"""Ways to run a graph: each gives the same steps, one span a step, and leaves no context behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from opentelemetry import trace

from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

TWO = """\
AGENT two ok
  NODE plan ok
  NODE write ok"""


def run_sync(graph: Any, how: str) -> None:
    """Run a graph in one of the sync ways."""
    given, config = {"notes": ["begin"]}, graphs.on_thread()
    match how:
        case "invoke":
            graph.invoke(given, config)
        case "batch":
            graph.batch([given], config)
        case mode:
            list(graph.stream(given, config, stream_mode=mode))


async def run_async(graph: Any, how: str) -> None:
    """Run a graph in one of the async ways."""
    given, config = {"notes": ["begin"]}, graphs.on_thread()
    match how:
        case "ainvoke":
            await graph.ainvoke(given, config)
        case "abatch":
            await graph.abatch([given], config)
        case "astream_events":
            assert [event async for event in graph.astream_events(given, config, version="v2")]
        case mode:
            assert [part async for part in graph.astream(given, config, stream_mode=mode)] or mode == "messages"


def test_invoke(recording: Recording, snapshot: Any) -> None:
    """A graph is an agent step, a node a step below it, in journal and trace alike."""
    graphs.two_nodes().invoke({"notes": ["begin"]}, graphs.on_thread())
    assert recording.snapshot() == snapshot
    assert recording.status == ("COMPLETED", None)


@pytest.mark.parametrize("how", ["invoke", "batch", "values", "updates", "messages", "custom", "debug"])
def test_every_sync_way_gives_the_same_steps(recording: Recording, how: str) -> None:
    """invoke, batch and stream in every mode give the same steps."""
    run_sync(graphs.two_nodes(), how)
    assert recording.tree(details=False) == TWO


@pytest.mark.parametrize("how", ["ainvoke", "abatch", "values", "updates", "messages", "astream_events"])
@pytest.mark.parametrize("graph", [graphs.two_nodes, graphs.async_nodes])
async def test_every_async_way_gives_the_same_steps(recording: Recording, how: str, graph: Any) -> None:
    """ainvoke, abatch, astream in every mode and astream_events give the same steps, with sync and async nodes."""
    await run_async(graph(), how)
    assert recording.tree(details=False) == TWO


def test_batch(recording: Recording) -> None:
    """Each input of a batch is an invocation of its own, in the session of its own thread."""
    configs = [graphs.on_thread(f"t{number}") for number in range(4)]
    graphs.two_nodes().batch([{"notes": [str(number)]} for number in range(4)], configs)
    assert set(recording.sessions) == {"t0", "t1", "t2", "t3"}
    for session in recording.sessions:
        assert recording.tree(session=session, details=False) == TWO


async def test_abatch(recording: Recording) -> None:
    """The same holds of an async batch."""
    configs = [graphs.on_thread(f"t{number}") for number in range(4)]
    await graphs.async_nodes().abatch([{"notes": [str(number)]} for number in range(4)], configs)
    assert set(recording.sessions) == {"t0", "t1", "t2", "t3"}
    for session in recording.sessions:
        assert recording.tree(session=session, details=False) == TWO


def test_invocations_of_a_thread_are_one_session(recording: Recording) -> None:
    """Each invocation of a thread is a root step of its own in the thread's session."""
    graph = graphs.two_nodes()
    graph.invoke({"notes": ["one"]}, graphs.on_thread())
    graph.invoke({"notes": ["two"]}, graphs.on_thread())
    assert recording.tree(details=False) == f"{TWO}\n{TWO}"


def test_without_a_thread_the_trace_is_the_session(recording: Recording) -> None:
    """Where a graph has no thread its session is its trace id, on its span too."""
    graphs.two_nodes().invoke({"notes": ["begin"]})
    (session,) = recording.sessions
    assert session == f"{recording.span('invoke_workflow two').context.trace_id:032x}"


# --- streams that are broken off ----------------------------------------------------------------------------------


def test_a_stream_that_is_closed(recording: Recording, snapshot: Any) -> None:
    """A stream that is closed early ends its steps as cancelled, which is no error."""
    stream = graphs.two_nodes().stream({"notes": ["begin"]}, graphs.on_thread(), stream_mode="updates")
    next(stream)
    stream.close()
    assert recording.snapshot() == snapshot
    assert recording.status == ("INTERRUPTED", "cancelled")


def test_a_stream_that_is_never_closed(recording: Recording) -> None:
    """A stream that is dropped ends its steps as cancelled when it is collected."""
    stream = graphs.two_nodes().stream({"notes": ["begin"]}, graphs.on_thread(), stream_mode="updates")
    next(stream)
    del stream
    gc.collect()
    assert recording.tree(details=False).startswith("AGENT two cancelled")
    assert recording.status == ("INTERRUPTED", "cancelled")


async def test_an_async_stream_that_is_closed(recording: Recording) -> None:
    """An async stream that is closed early ends its steps as cancelled."""
    stream = graphs.async_nodes().astream({"notes": ["begin"]}, graphs.on_thread(), stream_mode="updates")
    await anext(stream)
    await stream.aclose()
    assert recording.tree(details=False).startswith("AGENT two cancelled")
    assert recording.status == ("INTERRUPTED", "cancelled")


async def test_an_async_stream_that_is_left_by_break(recording: Recording) -> None:
    """Breaking out of an async stream, which closes it when the loop collects it, ends its steps as cancelled."""
    async for _ in graphs.async_nodes().astream({"notes": ["begin"]}, graphs.on_thread(), stream_mode="updates"):
        break
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.05)
        if recording.tree(details=False).startswith("AGENT two cancelled"):
            return
    raise AssertionError(recording.tree(details=False))


def test_a_stream_that_is_still_open_is_processing(recording: Recording) -> None:
    """While a stream waits for its reader the session is PROCESSING, and what has run is in the journal."""
    stream = graphs.two_nodes().stream({"notes": ["begin"]}, graphs.on_thread(), stream_mode="updates")
    next(stream)
    assert recording.status == ("PROCESSING", None)
    assert recording.tree(details=False) == "AGENT two running\n  NODE plan ok"
    list(stream)
    assert recording.tree(details=False) == TWO


def test_a_callers_span_does_not_fall_into_an_open_stream(recording: Recording) -> None:
    """A span that the caller opens between two parts of a stream is the caller's, not the graph's."""
    tracer = trace.get_tracer("caller")
    with tracer.start_as_current_span("request") as request:
        for _ in graphs.two_nodes().stream({"notes": ["begin"]}, graphs.on_thread(), stream_mode="updates"):
            assert trace.get_current_span() is request
            with tracer.start_as_current_span("between") as between:
                assert between.parent.span_id == request.get_span_context().span_id
    assert recording.span("invoke_workflow two").parent.span_id == request.get_span_context().span_id


async def test_a_callers_span_does_not_fall_into_an_open_async_stream(recording: Recording) -> None:
    """The same holds of an async stream."""
    tracer = trace.get_tracer("caller")
    with tracer.start_as_current_span("request") as request:
        async for _ in graphs.async_nodes().astream({"notes": ["b"]}, graphs.on_thread(), stream_mode="updates"):
            assert trace.get_current_span() is request
            with tracer.start_as_current_span("between") as between:
                assert between.parent.span_id == request.get_span_context().span_id
    assert trace.get_current_span() is trace.INVALID_SPAN
