"""Programs of Strands that are recorded and replayed. Each notes the models and tools that it calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel
from strands import Agent, ToolContext, tool
from strands.hooks import BeforeModelCallEvent, BeforeToolCallEvent
from strands.types.exceptions import ModelThrottledException

from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands.agents import agent, answers, graph, swarm

Calls = list[str]


class Noting(ScriptedModel):
    """A scripted model that notes its calls."""

    calls: Calls

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        """Say what the script says."""
        self.calls.append("model")
        async for event in super().stream(*args, **kwargs):
            yield event


def noting(calls: Calls, turns: Sequence[Any]) -> Noting:
    """A model of a script."""
    model = Noting(turns)
    model.calls = calls
    return model


def tools(calls: Calls) -> list[Any]:
    """Tools that note their calls, and give another result each time."""

    @tool
    def draw(a: int) -> str:
        """Draw a number."""
        calls.append(f"draw {a}")
        return f"{a} {random.random()}"

    @tool
    def broken(a: int) -> str:
        """Fail."""
        calls.append("broken")
        raise LookupError(f"no {a}")

    @tool
    def refuse(a: int) -> dict[str, Any]:
        """Answer with an error."""
        calls.append("refuse")
        return {"status": "error", "content": [{"text": f"{a} is too much"}]}

    @tool(context=True)
    def ask(question: str, tool_context: ToolContext) -> str:
        """Ask a human."""
        calls.append("ask")
        return f"they said {tool_context.interrupt('approval', reason={'question': question})}"

    return [draw, broken, refuse, ask]


def an_agent(calls: Calls, turns: Sequence[Any], **options: Any) -> Agent:
    """An agent on a noting model."""
    one = agent([], model=noting(calls, turns), **({"tools": tools(calls)} | options))
    one.add_hook(a_while, BeforeModelCallEvent)
    one.add_hook(a_while, BeforeToolCallEvent)
    return one


async def a_while(event: Any) -> None:
    """Take a while, so that calls come in another order each time."""
    await asyncio.sleep(random.random() * 0.002)


def said(result: Any) -> Any:
    """What an agent said last, and how it stopped."""
    return result.stop_reason, result.message["content"]


def a_call(calls: Calls) -> Any:
    """Tools at a time, then an answer."""
    turns = [call(("draw", {"a": 1}), ("draw", {"a": 2}), ("draw", {"a": 3})), call(("draw", {"a": 4})), say("Done.")]
    one = an_agent(calls, turns)
    return said(one("go")), [message["content"] for message in one.messages]


def alike(calls: Calls) -> Any:
    """A tool that is called eight times at a time, with the same arguments."""
    one = an_agent(calls, [call(*[("draw", {"a": 1})] * 8), say("Done.")])
    return said(one("go")), [message["content"] for message in one.messages]


def a_stream(calls: Calls) -> Any:
    """What is streamed, read by the program."""

    async def run() -> str:
        one = an_agent(calls, [call(("draw", {"a": 1})), say("All of it is done.")])
        return "".join([event["data"] async for event in one.stream_async("go") if "data" in event])

    return asyncio.run(run())


def failures(calls: Calls) -> Any:
    """A tool that raises, one that answers with an error."""
    turns = [call(("broken", {"a": 1})), call(("refuse", {"a": 2})), say("Well.")]
    one = an_agent(calls, turns)
    return said(one("go")), [message["content"] for message in one.messages]


def throttled(calls: Calls) -> Any:
    """A model that is throttled once."""
    from strands.event_loop._retry import ModelRetryStrategy

    one = an_agent(
        calls,
        [ModelThrottledException("slow down"), say("At last.")],
        retry_strategy=ModelRetryStrategy(initial_delay=0, max_delay=0),
    )
    return said(one("go"))


def a_failure(calls: Calls) -> Any:
    """A model that fails."""
    return an_agent(calls, [ValueError("no such thing")])("go")


def resumed(calls: Calls) -> Any:
    """A tool that asks, and is answered by the program."""
    one = an_agent(calls, [call(("ask", {"question": "go on?"})), say("Done.")])
    first = one("go")
    return said(one(answers(first)))


def turns(calls: Calls) -> Any:
    """Three turns of one agent."""
    one = an_agent(calls, [say("one"), say("two"), say("three")])
    return [said(one(text)) for text in ("a", "b", "c")]


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def structured(calls: Calls) -> Any:
    """A structured answer."""
    one = an_agent(calls, [call(("Person", {"name": "Ann", "age": 7}))])
    return one("who?", structured_output_model=Person).structured_output


def below(calls: Calls) -> Any:
    """An agent as a tool of another."""
    inner = an_agent(calls, [call(("draw", {"a": 1})), say("inner says")], name="inner", session=None)
    outer = an_agent(calls, [call(("inner", {"input": "x"})), say("outer says")], tools=[inner.as_tool()])
    return said(outer("go"))


def a_graph(calls: Calls) -> Any:
    """A graph of nodes at a time, and one behind them."""
    nodes = {
        name: an_agent(calls, [call(("draw", {"a": at})), say(f"{name} {random.random()}")], name=name)
        for at, name in enumerate(("first", "left", "right", "last"))
    }
    edges = [("first", "left"), ("first", "right"), ("left", "last"), ("right", "last")]
    result = graph(nodes, edges)("go")
    return {name: one.result.message["content"] for name, one in result.results.items()}


def a_swarm(calls: Calls) -> Any:
    """A swarm that hands off once."""
    first = an_agent(
        calls, [call(("handoff_to_agent", {"agent_name": "second", "message": "yours"})), say("handed")], name="first"
    )
    second = an_agent(calls, [say(f"second {random.random()}")], name="second")
    result = swarm(first, second)("go")
    return {name: one.result.message["content"] for name, one in result.results.items()}


SCENARIOS: dict[str, Callable[[Calls], Any]] = {
    one.__name__: one
    for one in (
        a_call,
        a_stream,
        failures,
        throttled,
        a_failure,
        resumed,
        turns,
        structured,
        below,
        a_graph,
        a_swarm,
    )
}
