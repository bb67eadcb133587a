"""Instrumenting and not: in any order with others, before and after imports, and without `langchain`."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langgraph.checkpoint.memory import InMemorySaver
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
from otel_agent_journal.pipeline.current import set_recorder
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at


class Other:
    """Another instrumentation, which wraps the same function and takes its wrapper off as careless ones do."""

    def __init__(self) -> None:
        self.calls = 0
        self.before: Any = None

    def instrument(self) -> None:
        """Wrap what is there."""
        self.before = before = BaseCallbackManager.__init__

        def wrapper(manager: Any, *args: Any, **kwargs: Any) -> None:
            self.calls += 1
            before(manager, *args, **kwargs)

        BaseCallbackManager.__init__ = wrapper  # type: ignore[method-assign]

    def uninstrument(self) -> None:
        """Put back what was there, over whatever is there now."""
        BaseCallbackManager.__init__ = self.before  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def clean() -> Any:
    """Leave the patched function as it was."""
    before = BaseCallbackManager.__init__
    yield
    LangGraphInstrumentor().uninstrument()
    BaseCallbackManager.__init__ = before  # type: ignore[method-assign]
    set_recorder(None)


def run() -> None:
    """Run a graph."""
    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread())


def count(recording: Recording) -> int:
    """How many steps are in the journal."""
    return sum(event.type.endswith("_START") for events in recording.sessions.values() for event in events)


def test_after_uninstrument_nothing_is_journaled(recording: Recording) -> None:
    """After `uninstrument()` a run is journaled no more, and again after the next `instrument()`."""
    run()
    assert count(recording) == 3
    recording.instrumentor.uninstrument()
    run()
    assert count(recording) == 3
    recording.instrumentor.instrument()
    run()
    assert count(recording) == 6


def test_instrumenting_twice_journals_once(recording: Recording) -> None:
    """However often it is instrumented, a step is journaled once."""
    recording.instrumentor.instrument()
    LangGraphInstrumentor().instrument()
    run()
    assert count(recording) == 3


ORDERS = [
    order
    for order in itertools.permutations(("+ours", "+other", "-ours", "-other"))
    if order.index("+ours") < order.index("-ours") and order.index("+other") < order.index("-other")
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_in_any_order_with_another(tmp_path: Path, order: tuple[str, ...]) -> None:
    """In any order of instrumenting and uninstrumenting beside another, ours does nothing after and the other's stays.

    The other one puts back blindly what it found, as some do; that may cost us our place, never the other its own.
    """
    original = BaseCallbackManager.__init__
    other = Other()
    ours_on = other_on = False
    with recording_at(tmp_path / "spool", provider=TracerProvider()) as recording:
        recording.instrumentor.uninstrument()
        for action in order:
            match action:
                case "+ours":
                    recording.instrumentor.instrument()
                    ours_on = True
                case "-ours":
                    recording.instrumentor.uninstrument()
                    ours_on = False
                case "+other":
                    other.instrument()
                    other_on = True
                case _:
                    other.uninstrument()
                    other_on = False
            before, calls = count(recording), other.calls
            run()
            if other_on:
                assert other.calls > calls, "the other's wrapper was removed"
            if not ours_on:
                assert count(recording) == before, "ours journals though it is off"
            # Only one order costs us our place: the other took off its wrapper after ours went on above it.
            if ours_on and order[:2] != ("+other", "+ours"):
                assert count(recording) == before + 3
    BaseCallbackManager.__init__ = original  # type: ignore[method-assign]


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_with_a_wrapt_instrumentation(tmp_path: Path, order: str) -> None:
    """Beside an instrumentation that wraps by wrapt, as OpenInference and Traceloop do, both work and both come off."""
    import wrapt

    seen: list[int] = []

    def wrapper(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(1)
        return wrapped(*args, **kwargs)

    original = BaseCallbackManager.__init__
    with recording_at(tmp_path / "spool", provider=TracerProvider()) as recording:
        if order == "theirs first":
            recording.instrumentor.uninstrument()
        wrapt.wrap_function_wrapper("langchain_core.callbacks", "BaseCallbackManager.__init__", wrapper)
        recording.instrumentor.instrument()
        run()
        assert seen
        assert count(recording) == 3
        recording.instrumentor.uninstrument()
        seen.clear()
        run()
        assert seen
        assert count(recording) == 3
    BaseCallbackManager.__init__ = original  # type: ignore[method-assign]


def test_uninstrumented_while_a_stream_is_open(recording: Recording) -> None:
    """Steps that are open when it is uninstrumented are still ended."""
    stream = graphs.two_nodes().stream({"notes": []}, graphs.on_thread(), stream_mode="updates")
    next(stream)
    recording.instrumentor.uninstrument()
    list(stream)
    assert recording.steps.roots[0].status == "ok"


def test_beside_a_handler_of_the_users(recording: Recording) -> None:
    """Handlers that a program passes itself are called as ever, also those that listen to interrupts."""
    heard: list[str] = []

    class Mine(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            heard.append("start")

        def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
            heard.append("end")

    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread(callbacks=[Mine()]))
    assert heard.count("start") == heard.count("end") >= 3
    assert count(recording) == 3


def test_without_a_recorder_nothing_happens() -> None:
    """Instrumented but with nothing to record to, agents run as ever."""
    LangGraphInstrumentor().instrument()
    run()


def test_a_recorder_that_fails(recording: Recording) -> None:
    """Whatever fails in us, the agent's result is what it would have been."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    recording.recorder.start_step = fail  # type: ignore[method-assign]
    graph = graphs.asking(InMemorySaver())
    assert graph.invoke({"notes": []}, graphs.on_thread())["notes"] == ["planned"]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert recording.recorder.dropped > 0
    recording.recorder.dropped = 0


def test_no_warning_of_langchain(recording: Recording, caplog: pytest.LogCaptureFixture) -> None:
    """LangChain has nothing to complain about in our handler, in any of its callbacks."""
    graphs.asking(InMemorySaver()).invoke({"notes": []}, graphs.on_thread())
    graphs.agent(graphs.SEARCH_THEN_ANSWER).invoke(graphs.question(), graphs.on_thread("t2"))
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


ALONE = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "langchain" or name.startswith("langchain."):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
import otel_agent_journal
if sys.argv[2] == "before":
    otel_agent_journal.configure("sqlite:///" + sys.argv[1])
from typing import TypedDict
from langgraph.graph import START, StateGraph
if sys.argv[2] == "after":
    otel_agent_journal.configure("sqlite:///" + sys.argv[1])

class State(TypedDict):
    n: int

from otel_agent_journal.testing.scripted import ScriptedModel, reply
model = ScriptedModel(script=[reply("hi", input_tokens=3, output_tokens=1)])
builder = StateGraph(State)
builder.add_node("ask", lambda state: {"n": len(model.invoke("hello").content)})
builder.add_edge(START, "ask")
assert builder.compile(name="alone").invoke({"n": 0}, {"configurable": {"thread_id": "t1"}}) == {"n": 2}
assert "langchain" not in sys.modules
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_without_langchain(tmp_path: Path, when: str) -> None:
    """With langgraph alone, `langchain` not importable, all is as ever, configured before or after the imports."""
    from otel_agent_journal.projections.steps import fold_steps
    from otel_agent_journal.store.registry import open_store

    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "journal.db"), when],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    store = open_store(f"sqlite:///{tmp_path}/journal.db")
    tree = fold_steps(store.read("t1"))
    store.close()
    assert [(step.kind, step.name, step.status) for step in tree.walk()] == [
        ("AGENT", "alone", "ok"),
        ("NODE", "ask", "ok"),
        ("MODEL", "scripted-1", "ok"),
    ]
