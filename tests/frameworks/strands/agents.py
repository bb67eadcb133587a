"""The agents, tools and graphs that the scenarios run. They know nothing of instrumentation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from strands import Agent, ToolContext, tool
from strands.multiagent import GraphBuilder, Swarm

from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say

SESSION = "s1"


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
def broken(a: int) -> int:
    """Fail."""
    raise LookupError(f"no {a}")


@tool
def refuse(a: int) -> dict[str, Any]:
    """Answer with an error."""
    return {"status": "error", "content": [{"text": f"{a} is too much"}]}


@tool
async def slow(a: int) -> int:
    """Take long."""
    await asyncio.sleep(30)
    return a


@tool(context=True)
def ask(question: str, tool_context: ToolContext) -> str:
    """Ask a human."""
    return f"they said {tool_context.interrupt('approval', reason={'question': question})}"


TOOLS = (add, broken, refuse, slow, ask)


def agent(
    turns: Sequence[Any], *, name: str = "calc", session: str | None = SESSION, delay_s: float = 0.0, **options: Any
) -> Agent:
    """An agent on a scripted model, in a session of its trace attributes."""
    options.setdefault("tools", list(TOOLS))
    options.setdefault("callback_handler", None)
    if session is not None:
        options.setdefault("trace_attributes", {"session.id": session})
    if "model" not in options:
        options["model"] = ScriptedModel(turns, delay_s=delay_s)
    return Agent(name=name, **options)


def answers(*results: Any, response: Any = "yes") -> list[Any]:
    """What resumes an agent, graph or swarm: the same answer to each question of these results."""
    return [
        {"interruptResponse": {"interruptId": one.id, "response": response}}
        for result in results
        for one in result.interrupts
    ]


def graph(nodes: dict[str, Any], edges: Sequence[tuple[str, str]] = (), **options: Any) -> Any:
    """A graph of these agents or graphs, whose first node is where it begins."""
    builder = GraphBuilder()
    for name, executor in nodes.items():
        builder.add_node(executor, name)
    for one, other in edges:
        builder.add_edge(one, other)
    builder.set_entry_point(next(iter(nodes)))
    builder.set_max_node_executions(20)
    if "node_timeout" in options:
        builder.set_node_timeout(options["node_timeout"])
    if "graph_id" in options:
        builder.set_graph_id(options["graph_id"])
    if "session_manager" in options:
        builder.set_session_manager(options["session_manager"])
    return builder.build()


def swarm(*agents: Agent, **options: Any) -> Swarm:
    """A swarm that begins with its first agent."""
    return Swarm(list(agents), **options)


def adding(**options: Any) -> Agent:
    """An agent that adds, then answers."""
    return agent([call(("add", {"a": 1, "b": 2})), say("It is 3.")], **options)


def asking(**options: Any) -> Agent:
    """An agent whose tool asks a human."""
    return agent([call(("ask", {"question": "go on?"})), say("Done.")], **options)
