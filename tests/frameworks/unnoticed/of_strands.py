"""Scenarios of Strands: each is called with what it notes in, and returns what its program has of it."""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel
from strands import ToolContext, tool
from strands.hooks import BeforeModelCallEvent

from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.unnoticed.observing import Seen, Watched


class Sum(BaseModel):
    """A sum."""

    value: int


def told(result: Any) -> Any:
    """Return what a program has of a result."""
    message = {key: value for key, value in result.message.items() if key in ("role", "content")}
    return result.stop_reason, message, result.state, str(result), result.metrics.accumulated_usage


def an_agent(seen: Seen) -> Any:
    """Loop with a tool, over two turns."""
    agent = agents.agent([call(("add", {"a": 1, "b": 2})), say("3", thought="hm"), say("more")])
    return told(agent("go")), told(agent("go on")), [one["content"] for one in agent.messages]


async def an_agent_streamed(seen: Seen) -> Any:
    """All that a stream gives, event by event."""
    agent = agents.agent([call(("add", {"a": 1, "b": 2})), say("It is three.")])
    return [sorted(event) async for event in agent.stream_async("go")], len(asyncio.all_tasks())


def callbacks(seen: Seen) -> Any:
    """What a callback handler is given."""
    given: list[Any] = []
    agents.agent([say("It is three.")], callback_handler=lambda **event: given.append(sorted(event)))("go")
    return given


def a_picture(seen: Seen) -> Any:
    """A message with a picture and a document."""
    image: Any = {"image": {"format": "png", "source": {"bytes": b"\x89PNG" * 5000}}}
    document: Any = {"document": {"format": "pdf", "name": "r", "source": {"bytes": b"%PDF" * 5000}}}
    agent = agents.agent([say("a cat")])
    return told(agent([{"text": "look"}, image, document])), agent.messages[0]["content"]


def tools_that_fail(seen: Seen) -> Any:
    """Tools that raise, refuse, or are not there."""
    turns = [call(("broken", {"a": 1}), ("refuse", {"a": 2}), ("missing", {})), say("well")]
    agent = agents.agent(turns)
    return told(agent("go")), [one["content"] for one in agent.messages]


def a_model_that_fails(seen: Seen) -> Any:
    """A model that raises, with notes."""
    error = ConnectionError("gone", 7)
    error.add_note("mine")
    return agents.agent([error])("go")


def a_question(seen: Seen) -> Any:
    """A question to a human, and the answer."""
    agent = agents.asking()
    first = agent("go")
    asked = [(one.name, one.reason) for one in first.interrupts]
    return asked, told(agent(agents.answers(first)))


def a_structured_answer(seen: Seen) -> Any:
    """An answer of a shape."""
    agent = agents.agent([call(("Sum", {"value": 3}))], tools=[])
    return agent("go", structured_output_model=Sum).structured_output


async def a_cancel(seen: Seen) -> Any:
    """A task that is cancelled in a tool."""
    agent = agents.agent([call(("slow", {"a": 1})), say("late")])
    task = asyncio.create_task(agent.invoke_async("go"))
    await asyncio.sleep(0.1)
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError as error:
        return error.args, [one["role"] for one in agent.messages]
    return "not cancelled"


async def a_stream_that_is_left(seen: Seen) -> Any:
    """A stream that its reader leaves."""
    stream = agents.agent([say("one two three")]).stream_async("go")
    first = await anext(stream)
    await stream.aclose()
    return sorted(first), len(asyncio.all_tasks())


def threads_and_tasks(seen: Seen) -> Any:
    """Tools side by side, and how many threads and tasks there are."""

    @tool
    def look(a: int) -> int:
        """Look."""
        seen.note("working")
        return a

    agent = agents.agent([call(("look", {"a": 1}), ("look", {"a": 2})), say("done")], tools=[look])
    return told(agent("go"))


def a_graph(seen: Seen) -> Any:
    """Agents in a graph and in a swarm."""
    graph = agents.graph(
        {"a": agents.agent([say("one")], name="a"), "b": agents.agent([say("two")], name="b")}, [("a", "b")]
    )
    swarm = agents.swarm(agents.agent([say("one")], name="a"), agents.agent([say("two")], name="b"))
    return [(str(one.status), sorted(one.results), one.execution_count) for one in (graph("go"), swarm("go"))]


def hooks(seen: Seen) -> Any:
    """Hooks and middleware of the program's own: how often, and in which order."""
    agent = agents.adding()
    agent.add_hook(lambda event: seen.note(type(event).__name__), BeforeModelCallEvent)
    return told(agent("go"))


def a_warning(seen: Seen) -> Any:
    """A tool that warns, and prints."""

    @tool
    def look(a: int) -> int:
        """Look."""
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        print("said")
        return a

    return told(agents.agent([call(("look", {"a": 1})), say("done")], tools=[look])("go"))


def objects(seen: Seen) -> Any:
    """Objects of the program's own in the invocation's state, results and streams: what anybody asks of them."""

    @tool(context=True)
    def give(a: int, tool_context: ToolContext) -> Any:
        """Give."""
        seen.note(sorted(key for key in tool_context.invocation_state if key == "mine"))
        return {"status": "success", "content": [{"json": {"deep": [Watched("result")]}}]}

    @tool
    async def stream(a: int) -> Any:
        """Stream."""
        yield Watched("streamed")
        yield "done"

    turns = [call(("give", {"a": 1})), call(("stream", {"a": 1})), say("done")]
    result = agents.agent(turns, tools=[give, stream])("go", invocation_state={"mine": Watched("state")})
    return told(result)[0]


def copies(seen: Seen) -> Any:
    """What an agent's messages and state are as copies."""
    agent = agents.adding()
    agent("go")
    return [one["content"] for one in copy.deepcopy(agent.messages)], agent.state.get(), sorted(agent.tool_names)


SCENARIOS: Final[dict[str, Callable[[Seen], Any]]] = {
    one.__name__: one
    for one in (
        an_agent,
        an_agent_streamed,
        callbacks,
        a_picture,
        tools_that_fail,
        a_model_that_fails,
        a_question,
        a_structured_answer,
        a_cancel,
        a_stream_that_is_left,
        threads_and_tasks,
        a_graph,
        hooks,
        a_warning,
        objects,
        copies,
    )
}
