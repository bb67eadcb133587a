"""Turning it on and off, and what the program's own agents feel of it: nothing."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import strands
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from strands import Agent, tool
from strands.hooks import BeforeInvocationEvent
from strands.multiagent import Swarm
from strands.multiagent.graph import Graph

from otel_agent_journal.frameworks.strands import JournalPlugin, StrandsInstrumentor
from otel_agent_journal.pipeline.current import is_adopted, set_recorder
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import (
    REPLACED,
    SCOPE,
    WAYS,
    StrandsRecording,
    forget_native_tracer,
    strands_recording_at,
)


@pytest.fixture
def instrumentor() -> Iterator[StrandsInstrumentor]:
    """The instrumentor, off again afterwards."""
    found = StrandsInstrumentor()
    yield found
    found.uninstrument()
    set_recorder(None)
    forget_native_tracer()


def test_an_agent_that_was_there_before(tmp_path: Path) -> None:
    """Agents, graphs and swarms that were made before the instrumentation are journaled from their next call on."""
    agent, swarm = agents.adding(), agents.swarm(agents.agent([say("x")], name="w", session=None))
    graph = agents.graph({"a": agents.agent([say("y")], name="a", session=None)})
    with strands_recording_at(tmp_path / "spool") as recording:
        agent("go")
        recording.drain()
        assert len(recording.steps.roots) == 1
        graph("go")
        swarm("go")
        told = {events[0].name for events in recording.sessions.values()}
        assert told == {"calc", "default_graph", "default_swarm"}


def test_off_and_on_again(tmp_path: Path) -> None:
    """After `uninstrument()` nothing is journaled; after `instrument()` again each step is, once, of old agents too.

    Without a TracerProvider: with one, Strands' spans are journaled as any other instrumentation's are.
    """
    with strands_recording_at(tmp_path / "spool", "no provider") as recording:
        agent = agents.agent([say("one"), say("two"), say("three")])
        agent("first")
        recording.instrumentor.uninstrument()
        assert not is_adopted(SCOPE)
        assert not recording.instrumentor.is_instrumented_by_opentelemetry
        recording.given.looking = False
        agent("second")
        agents.adding()("nobody sees it")
        recording.given.looking = True
        recording.instrumentor.instrument()
        recording.instrumentor.instrument()
        agent("third")
        assert [root.last.details_start["input"] for root in recording.steps.roots] == ["first", "third"]
        assert len(list(recording.steps.walk())) == 4
        recording.check()


@pytest.mark.parametrize("way", WAYS)
def test_off_while_an_agent_runs(tmp_path: Path, way: str) -> None:
    """Steps that are open when the instrumentation is turned off are still ended."""
    with strands_recording_at(tmp_path / "spool", way) as recording:

        @tool
        def turn_off() -> str:
            """Turn it off."""
            recording.instrumentor.uninstrument()
            return "off"

        agents.agent([call(("turn_off", {})), say("done")], tools=[turn_off])("go")
        assert recording.tree(details=False).startswith(
            "AGENT calc ok\n  MODEL scripted-1 ok input=10 output=5\n  TOOL turn_off ok"
        )
        assert not recording.recorder.open_roots()


def test_the_classes_are_restored(instrumentor: StrandsInstrumentor) -> None:
    """`uninstrument()` puts back what was patched, unless somebody has patched it since."""
    before = {(owner, name): owner.__dict__[name] for owner in (Agent, Graph, Swarm) for name in patched(owner)}
    instrumentor.instrument()
    assert all(owner.__dict__[name] is not original for (owner, name), original in before.items())
    theirs = Agent.stream_async

    def their_patch(*args: Any, **kwargs: Any) -> Any:
        return theirs(*args, **kwargs)

    Agent.stream_async = their_patch
    instrumentor.uninstrument()
    assert Agent.__dict__["stream_async"] is their_patch
    Agent.stream_async = before[Agent, "stream_async"]
    assert all(owner.__dict__[name] is original for (owner, name), original in before.items())


def patched(owner: Any) -> list[str]:
    """The names of a class that are patched."""
    names = ["__init__", "stream_async"]
    return [*names, "invoke_async", "structured_output_async"] if owner is Agent else names


def test_signatures_are_kept(instrumentor: StrandsInstrumentor) -> None:
    """What is patched has the signature, name and kind that it had."""
    before = [(inspect.signature(getattr(Agent, name)), getattr(Agent, name).__doc__) for name in patched(Agent)]
    instrumentor.instrument()
    assert [
        (inspect.signature(getattr(Agent, name)), getattr(Agent, name).__doc__) for name in patched(Agent)
    ] == before
    assert inspect.iscoroutinefunction(Agent.invoke_async)


def test_without_a_recorder(instrumentor: StrandsInstrumentor) -> None:
    """Instrumented, with no recorder in the process, agents run as ever."""
    instrumentor.instrument()
    assert str(agents.adding()("go")) == "It is 3.\n"
    assert agents.graph({"a": agents.adding(name="a")})("go")


def test_a_subclass(recording: StrandsRecording) -> None:
    """An agent of a subclass with its own constructor and stream is journaled once."""

    class Mine(Agent):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)

        async def stream_async(self, prompt: Any = None, **options: Any) -> Any:
            async for event in super().stream_async(prompt, **options):
                yield event

    made = agents.adding()
    mine = Mine(name="mine", model=made.model, tools=[agents.add], callback_handler=None)
    mine("go")
    assert recording.tree(details=False).startswith("AGENT mine ok")
    assert len(recording.steps.roots) == 1


def test_the_plugin(tmp_path: Path) -> None:
    """Where not every agent is journaled, those with the plugin are; beside the instrumentation it changes nothing."""
    with strands_recording_at(tmp_path / "spool", "no provider") as recording:
        recording.instrumentor.uninstrument()
        agents.adding(name="not")("go")
        agents.adding(name="only", plugins=[JournalPlugin()])("go")
        assert [root.name for root in recording.steps.roots] == ["only"]
        recording.instrumentor.instrument()
        agents.adding(name="both", plugins=[JournalPlugin()])("go")
        assert [root.name for root in recording.steps.roots] == ["only", "both"]
        assert len(list(recording.steps.walk())) == 8


def test_tracers_that_were_made_at_once(tmp_path: Path) -> None:
    """Where ours replace Strands' spans, none of its tracers opens any: the first agents may each have made one."""
    with strands_recording_at(tmp_path / "spool", REPLACED) as recording:
        first = agents.adding(name="first")
        forget_native_tracer()
        second = agents.adding(name="second")
        first("go")
        second("go")
        recording.check()
    assert not isinstance(first.tracer.tracer, trace.NoOpTracer)
    assert not isinstance(second.tracer.tracer, trace.NoOpTracer)


class Scripted:
    """What an agent's caller sees: events, result or exception, and the order in which its hooks and tools ran."""

    def __init__(self, turns: Any, leave: bool = False) -> None:
        self.seen: list[Any] = []
        self.agent = agents.agent(turns, callback_handler=self.called_back)
        self.agent.add_hook(lambda event: self.seen.append(type(event).__name__), BeforeInvocationEvent)
        self.leave = leave

    def called_back(self, **event: Any) -> None:
        """Be called back by the agent."""
        self.seen.append(("callback", sorted(event)))

    async def run(self) -> list[Any]:
        """Return all there is to see."""
        try:
            async for event in self.agent.stream_async("go"):
                self.seen.append(("event", sorted(event), plain(event)))
                if self.leave and "data" in event:
                    break
        except Exception as error:
            self.seen.append((type(error), str(error)))
        self.seen.append(without_ids(self.agent.messages))
        return self.seen


def plain(event: Any) -> Any:
    """What an event says."""
    return {key: event[key] for key in ("data", "current_tool_use", "force_stop_reason", "complete") if key in event}


def without_ids(messages: Any) -> str:
    """The messages, without the ids that Strands gives them."""
    return str([(message["role"], message["content"]) for message in messages])


SCRIPTS: dict[str, Any] = {
    "answer": lambda: Scripted([say("one two", thought="hm")]),
    "tools": lambda: Scripted([call(("add", {"a": 1, "b": 2})), call(("broken", {"a": 1})), say("done")]),
    "question": lambda: Scripted([call(("ask", {"question": "ok?"})), say("done")]),
    "error": lambda: Scripted([ConnectionError("no line")]),
    "too long": lambda: Scripted([say("x", stop="max_tokens")]),
    "left": lambda: Scripted([say("one two three")], leave=True),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("way", WAYS)
def test_what_the_caller_sees(tmp_path: Path, script: str, way: str) -> None:
    """Events, callbacks, result, messages and exceptions are those of an agent without instrumentation, in order."""
    without = asyncio.run(SCRIPTS[script]().run())
    with strands_recording_at(tmp_path / "spool", way) as recording:
        assert asyncio.run(SCRIPTS[script]().run()) == without
        recording.check()
    assert len(without) > 3


class Refusing:
    """A spool that takes nothing, or raises."""

    writer = "b" * 32

    def __init__(self, *, raises: bool) -> None:
        self.raises = raises

    def append(self, payload: bytes) -> bool:
        """Refuse."""
        if self.raises:
            raise OSError("no space left on device")
        return False


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("raises", [True, False])
def test_a_recorder_that_fails(instrumentor: StrandsInstrumentor, script: str, raises: bool) -> None:
    """A journal that cannot be written changes nothing that the caller sees; what was lost is counted."""
    without = asyncio.run(SCRIPTS[script]().run())
    recorder = Recorder(Refusing(raises=raises))
    set_recorder(recorder)
    instrumentor.instrument()
    assert asyncio.run(SCRIPTS[script]().run()) == without
    assert recorder.dropped >= 2
    assert not recorder.open_roots()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_recorder_that_is_broken(instrumentor: StrandsInstrumentor, script: str) -> None:
    """A recorder of which every call raises changes nothing that the caller sees either."""

    class Broken(Recorder):
        def start_step(self, *args: Any, **kwargs: Any) -> Any:
            raise MemoryError("start")

    without = asyncio.run(SCRIPTS[script]().run())
    recorder = Broken(Refusing(raises=False))
    set_recorder(recorder)
    instrumentor.instrument()
    assert asyncio.run(SCRIPTS[script]().run()) == without
    assert recorder.dropped >= 1
    assert context_api.get_current() == context_api.Context()


@pytest.mark.parametrize("method", ["end_step", "note", "adopt", "open", "resumed"])
def test_a_recorder_that_breaks_later(instrumentor: StrandsInstrumentor, method: str) -> None:
    """A recorder that breaks while a step is open changes nothing that the caller sees, nor what is attached."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError(method)

    broken: Any = type("Broken", (Recorder,), {method: fail})
    for script in SCRIPTS.values():
        instrumentor.uninstrument()
        without = asyncio.run(script().run())
        set_recorder(broken(Refusing(raises=False)))
        instrumentor.instrument()
        assert asyncio.run(script().run()) == without
    assert context_api.get_current() == context_api.Context()


def size_of(recording: StrandsRecording) -> list[int]:
    """How much is remembered, in all the places that could grow."""
    steps = recording.instrumentor.steps
    gc.collect()
    return [
        len(steps._open),
        len(steps._running),
        len(steps.pauses),
        len(steps._conversations),
        len(recording.instrumentor._hooked),
        len(recording.recorder.open_roots()),
        len(recording.recorder.histories._by_session),
    ]


def test_nothing_grows(tmp_path: Path) -> None:
    """After two thousand invocations of new agents, by all ends, no more is remembered than after the first hundred."""
    with strands_recording_at(tmp_path / "spool", "no provider") as recording:
        provider = TracerProvider()
        assert provider

        async def invoke(number: int) -> None:
            agent = agents.agent([say("x") if number % 3 else ConnectionError("no line")], tools=[])
            match number % 4:
                case 0:
                    with pytest.raises(ConnectionError) if number % 3 == 0 else trace.use_span(trace.INVALID_SPAN):
                        await agent.invoke_async("go")
                case 1:
                    events = agent.stream_async("go")
                    await anext(events)
                    await events.aclose()
                case _:
                    task = asyncio.create_task(agent.invoke_async("go"))
                    await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

        async def many(count: int) -> None:
            for number in range(count):
                await invoke(number)

        recording.given.looking = False  # what it keeps of each answer would grow
        asyncio.run(many(100))
        before, objects = size_of(recording), len(gc.get_objects())
        asyncio.run(many(1900))
        assert size_of(recording) == before
        assert len(gc.get_objects()) - objects < 2000
        assert recording.recorder.dropped == 0


def test_dependencies() -> None:
    """The instrumentor names what it instruments, and knows that it is there."""
    instrumentor = StrandsInstrumentor()
    assert instrumentor is StrandsInstrumentor()
    assert instrumentor.instrumentation_dependencies() == ("strands-agents >= 1.62",)
    assert instrumentor.missing() is None
    assert "strands" in sys.modules
    assert strands
