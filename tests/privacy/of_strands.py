"""Agents, tools and graphs of Strands that have a secret wherever one can be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from strands import Agent, ToolContext, tool

from otel_agent_journal.frameworks.strands import StrandsInstrumentor
from otel_agent_journal.frameworks.strands.instrumentor import SPANS_VARIABLE
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call
from otel_agent_journal.testing.scripted_strands import say as answer
from tests.frameworks.strands.recording import forget_native_tracer
from tests.privacy.places import CONTENT, NAME, NOWHERE, Kind, Scenario

PLACES: dict[str, Kind] = {
    "session": NAME,
    "agent": NAME,
    "model": NAME,
    "tool call": NAME,
    "agent description": NOWHERE,
    "agent state": NOWHERE,
    "trace attribute": CONTENT,
    "trace attribute name": CONTENT,
    "system prompt": CONTENT,
    "prompt": CONTENT,
    "picture": CONTENT,
    "document": CONTENT,
    "document name": CONTENT,
    "answer": CONTENT,
    "thought": CONTENT,
    "stop sequence": CONTENT,
    "parameter": CONTENT,
    "tool description": CONTENT,
    "tool parameter": CONTENT,
    "tool argument": CONTENT,
    "tool result": CONTENT,
    "tool stream": CONTENT,
    "tool error": CONTENT,
    "tool that is not there": CONTENT,
    "argument of such a tool": CONTENT,
    "model error": CONTENT,
    "cancelled": CONTENT,
    "question": CONTENT,
    "answer to a question": CONTENT,
}


def program(say: Callable[[str], str]) -> None:
    """Say all of it."""

    @tool(
        description=say("tool description"),
        inputSchema={
            "json": {
                "type": "object",
                "properties": {"q": {"type": "string", "description": say("tool parameter")}},
            }
        },
    )
    async def look(q: str) -> Any:
        """Look."""
        yield say("tool stream")
        yield say("tool result")

    @tool
    def broken(q: str) -> str:
        """Fail."""
        raise LookupError(say("tool error"))

    @tool(context=True)
    def ask(tool_context: ToolContext) -> str:
        """Ask."""
        return str(tool_context.interrupt("approval", reason={"question": say("question")}))

    def agent(*turns: Any, **options: Any) -> Agent:
        model = ScriptedModel(turns, model_id=say("model"))
        model.config |= {"stop_sequences": [say("stop sequence")], "params": {"user": say("parameter")}}
        about = {"session.id": say("session"), "note": say("trace attribute"), say("trace attribute name"): 1}
        options = {"trace_attributes": about, "callback_handler": None, "tools": [look, broken, ask], **options}
        options |= {
            "name": say("agent"),
            "description": say("agent description"),
            "system_prompt": say("system prompt"),
        }
        return Agent(model=model, state={"note": say("agent state")}, **options)

    asked = agent(
        call(
            ("look", {"q": say("tool argument")}, say("tool call")),
            ("broken", {"q": "a"}),
            (say("tool that is not there"), {"q": say("argument of such a tool")}),
        ),
        answer(say("answer"), thought=say("thought")),
    )
    asked(
        [
            {"text": say("prompt")},
            {"image": {"format": "png", "source": {"bytes": b"\x89PNG" + say("picture").encode()}}},
            {
                "document": {
                    "name": say("document name"),
                    "format": "txt",
                    "source": {"bytes": say("document").encode()},
                }
            },
        ]
    )
    with contextlib.suppress(ConnectionError):
        agent(ConnectionError(say("model error")))("go")
    with contextlib.suppress(asyncio.CancelledError):
        agent(asyncio.CancelledError(say("cancelled")))("go")
    waits = agent(call(("ask", {})), answer("done"))
    paused = waits("go")
    waits(
        [
            {"interruptResponse": {"interruptId": one.id, "response": say("answer to a question")}}
            for one in paused.interrupts
        ]
    )


class _Fresh(StrandsInstrumentor):
    """Has Strands make its tracer anew for each run."""

    def instrument(self, **options: Any) -> None:
        """Hook Strands."""
        forget_native_tracer()
        super().instrument(**options)

    def uninstrument(self, **options: Any) -> None:
        """Take the hooks off."""
        super().uninstrument(**options)
        forget_native_tracer()


# With the program's own provider, what Strands puts on its own spans is its own business, and its own switch's.
STRANDS = Scenario(program, PLACES, instrumentors=lambda: [_Fresh()], environ=lambda say: {SPANS_VARIABLE: "replace"})
STRANDS_ADOPTED = Scenario(program, PLACES, instrumentors=lambda: [_Fresh()], providers=("no provider",))
