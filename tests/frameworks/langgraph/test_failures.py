"""What goes wrong: errors, retries and cancels end each step as what it was, and reach the caller untouched."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph

from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

# --- errors -------------------------------------------------------------------------------------------------------


class Fault(Exception):
    """An exception of the program's own."""


def failing(error: BaseException) -> Any:
    """A graph whose node raises."""

    def fail(state: graphs.Notes) -> graphs.Notes:
        raise error

    return graphs.nested(fail)


def test_a_node_that_fails(recording: Recording, snapshot: Any) -> None:
    """A node that raises fails, and its graph with it; the caller gets the very exception."""
    error = Fault("no luck")
    with pytest.raises(Fault) as raised:
        failing(error).invoke({"notes": []}, graphs.on_thread())
    assert raised.value is error
    assert recording.snapshot() == snapshot
    assert recording.status == ("ERROR", None)


def test_an_error_in_a_graph_in_a_graph(recording: Recording) -> None:
    """An error ends every step that it passes through as failed."""
    with pytest.raises(Fault):
        graphs.nested(failing(Fault("deep")), name="top").invoke({"notes": []}, graphs.on_thread())
    assert [(step.name, step.status) for step in recording.steps.walk()] == [
        ("top", "error"),
        ("sub", "error"),
        ("outer", "error"),
        ("sub", "error"),
    ]


def test_an_error_that_is_caught(recording: Recording) -> None:
    """A step that failed below one that caught the error leaves that one well."""
    inner = failing(Fault("caught"))

    def careful(state: graphs.Notes) -> graphs.Notes:
        with pytest.raises(Fault):
            inner.invoke({"notes": []})
        return {"notes": ["went on"]}

    graphs.nested(careful, name="top").invoke({"notes": []}, graphs.on_thread())
    assert [(step.name, step.status) for step in recording.steps.walk()] == [
        ("top", "ok"),
        ("sub", "ok"),
        ("outer", "error"),
        ("sub", "error"),
    ]
    assert recording.status == ("COMPLETED", None)


def test_a_model_that_fails(recording: Recording, snapshot: Any) -> None:
    """A model call that raises is a failed model step."""
    with pytest.raises(Fault):
        graphs.chat_node(ScriptedModel(script=[Fault("overloaded")])).invoke(graphs.question(), graphs.on_thread())
    assert recording.snapshot() == snapshot


def test_a_stream_that_fails_in_the_middle(recording: Recording) -> None:
    """A model that fails while it streams is a failed model step that keeps what was streamed."""

    class Breaking(ScriptedModel):
        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            chunks = super()._stream(messages, stop, run_manager, **kwargs)
            yield next(chunks)
            raise Fault("cut off")

    graph = graphs.chat_node(Breaking(script=["one two three"]))
    with pytest.raises(Fault):
        list(graph.stream(graphs.question(), graphs.on_thread(), stream_mode="messages"))
    attempt = recording.attempt("scripted-1")
    assert attempt.outcome == "error"
    assert "".join(note.details["text"] for note in attempt.notes) == "one "


def test_a_tool_that_fails(recording: Recording, snapshot: Any) -> None:
    """A tool that raises is a failed tool step, and where nothing handles the error the agent fails with it."""
    agent = graphs.agent([reply("", calls=[("broken", {"query": "x"})]), "done"], [graphs.broken])
    with pytest.raises(LookupError):
        agent.invoke(graphs.question(), graphs.on_thread())
    assert recording.snapshot() == snapshot


def test_a_tool_whose_error_the_agent_handles(recording: Recording) -> None:
    """A tool call that comes back as an error is a failed tool step in an agent that is well."""
    agent = graphs.agent([reply("", calls=[("search", {"wrong": "x"})]), "done"])
    agent.invoke(graphs.question(), graphs.on_thread())
    assert recording.status == ("COMPLETED", None)
    failed = [step for step in recording.steps.steps if step.status == "error"]
    assert [step.name for step in failed] in ([], ["search"])


def test_the_head_counts_errors(recording: Recording) -> None:
    """A head counts an error once, where it began, and not again in the graph that it passes through."""
    with pytest.raises(Fault):
        failing(Fault("x")).invoke({"notes": []}, graphs.on_thread())
    recording.drain()
    head = recording.store.head("t1")
    assert head is not None
    assert (head.errors, head.steps) == (1, 2)


def test_an_exception_whose_text_fails(recording: Recording) -> None:
    """An exception that cannot say what it is passes untouched too."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = Mute()
    with pytest.raises(Mute) as raised:
        failing(error).invoke({"notes": []}, graphs.on_thread())
    assert raised.value is error
    assert [step.status for step in recording.steps.walk()] == ["error", "error"]


# --- retries ------------------------------------------------------------------------------------------------------


def test_retries(recording: Recording, snapshot: Any) -> None:
    """Each try of a RetryPolicy is another attempt at one step, with a span of its own."""
    graphs.flaky(2).invoke({"notes": []}, graphs.on_thread())
    assert recording.snapshot() == snapshot
    assert recording.status == ("COMPLETED", None)


async def test_async_retries(recording: Recording) -> None:
    """The same holds of async runs."""
    await graphs.flaky(2).ainvoke({"notes": []}, graphs.on_thread())
    step = next(step for step in recording.steps.steps if step.name == "fetch")
    assert [(one.attempt, one.outcome) for one in step.attempts] == [(1, "error"), (2, "error"), (3, "ok")]


def test_retries_that_do_not_help(recording: Recording) -> None:
    """Where the last try fails too, the graph fails."""
    with pytest.raises(ConnectionError):
        graphs.flaky(5).invoke({"notes": []}, graphs.on_thread())
    assert recording.status == ("ERROR", None)
    step = next(step for step in recording.steps.steps if step.name == "fetch")
    assert [one.outcome for one in step.attempts] == ["error", "error", "error"]


def test_retries_of_one_step_have_children_of_their_own(recording: Recording) -> None:
    """What ran in each try hangs below that try, and is the same step again."""
    model = ScriptedModel(script=[Fault("first"), "second"])
    builder = StateGraph(graphs.Chat)
    from langgraph.types import RetryPolicy

    builder.add_node(
        "ask",
        lambda state: {"messages": [model.invoke(state["messages"])]},
        retry_policy=RetryPolicy(initial_interval=0.001, retry_on=Fault),
    )
    builder.add_edge(START, "ask")
    builder.compile(name="again").invoke(graphs.question(), graphs.on_thread())
    step = next(step for step in recording.steps.steps if step.kind == "MODEL")
    assert [(one.ordinal, one.outcome) for one in step.attempts] == [(1, "error"), (2, "ok")]


# --- cancels ------------------------------------------------------------------------------------------------------


async def test_asyncio_cancel(recording: Recording, snapshot: Any) -> None:
    """A task that is cancelled ends every open step as cancelled, which is no error."""
    started = asyncio.Event()

    async def wait(state: graphs.Notes) -> graphs.Notes:
        started.set()
        await asyncio.sleep(60)
        return {}

    running = asyncio.create_task(graphs.nested(wait).ainvoke({"notes": []}, graphs.on_thread()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert recording.snapshot() == snapshot
    assert recording.status == ("INTERRUPTED", "cancelled")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_leaving(recording: Recording, error: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit end every open step as cancelled and reach the caller."""
    with pytest.raises(error):
        failing(error()).invoke({"notes": []}, graphs.on_thread())
    assert [step.status for step in recording.steps.walk()] == ["cancelled", "cancelled"]
    assert recording.status == ("INTERRUPTED", "cancelled")
    assert not [span for span in recording.spans if span.status.status_code.name == "ERROR"]


def test_control_c(recording: Recording) -> None:
    """Ctrl-C while a node runs ends every open step as cancelled."""

    def wait(state: graphs.Notes) -> graphs.Notes:
        _thread.interrupt_main()
        time.sleep(10)
        return {}

    with pytest.raises(KeyboardInterrupt):
        graphs.nested(wait).invoke({"notes": []}, graphs.on_thread())
    assert [step.status for step in recording.steps.walk()] == ["cancelled", "cancelled"]


def test_keyboard_interrupt_in_a_fan_out(recording: Recording) -> None:
    """A KeyboardInterrupt in one of several tasks leaves none of them open."""
    barrier = threading.Barrier(3, timeout=10)

    def work(part: dict[str, int]) -> graphs.Notes:
        barrier.wait()
        if part["number"] == 0:
            raise KeyboardInterrupt
        return {"notes": ["done"]}

    with pytest.raises(KeyboardInterrupt):
        graphs.fan_out(worker=work).invoke({"notes": []}, graphs.on_thread())
    assert recording.status == ("INTERRUPTED", "cancelled")
    assert [step.status for step in recording.steps.steps if step.name == "work"].count("cancelled") >= 1


def test_recursion_limit(recording: Recording) -> None:
    """A graph that runs into its recursion limit fails."""
    builder = StateGraph(graphs.Notes)
    builder.add_node("again", lambda state: {"notes": ["x"]})
    builder.add_edge(START, "again")
    builder.add_edge("again", "again")
    from langgraph.errors import GraphRecursionError

    with pytest.raises(GraphRecursionError):
        builder.compile(name="endless").invoke({"notes": []}, graphs.on_thread(recursion_limit=3))
    assert recording.status == ("ERROR", None)
    assert [step.status for step in recording.steps.walk()] == ["error", "ok", "ok", "ok"]


def test_a_message_that_is_no_message(recording: Recording) -> None:
    """Content that cannot be encoded is journaled as what it says of itself, and the agent does not notice."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    cyclic: dict[str, Any] = {"odd": Odd(), "bytes": b"\xff", "set": {1}}
    cyclic["self"] = cyclic
    graph = graphs.nested(lambda state: {"notes": [cyclic]})
    assert graph.invoke({"notes": [object()]}, graphs.on_thread())["notes"][1] is cyclic
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok"]
    assert isinstance(recording.attempt("sub").details_end["output"], dict)


def test_the_result_is_the_callers(recording: Recording) -> None:
    """What a graph returns is what it would return without us, the same objects included."""
    message = AIMessage(content="kept", id="m1")
    graph = graphs.chat_node(ScriptedModel(script=[lambda messages: message]))
    result = graph.invoke(graphs.question(), graphs.on_thread())
    assert result["messages"][-1].content == "kept"
