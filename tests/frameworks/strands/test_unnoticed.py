"""Objects of the program's own in an agent of Strands: we ask none for anything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from strands import Agent, ToolContext, tool

from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands.recording import StrandsRecording
from tests.untouchable import Noticing


@pytest.mark.parametrize("kind", Noticing().objects())
def test_nobody_notices(recording: StrandsRecording, kind: str) -> None:
    """In arguments, results, streams, questions, state, prompts, trace attributes, errors."""
    noticing = Noticing()
    value = noticing.objects()[kind]

    @tool
    def give(a: int) -> Any:
        """Give."""
        return {"status": "success", "content": [{"json": {"deep": [value]}}]}

    @tool
    async def stream(a: int) -> AsyncGenerator[Any, None]:
        """Stream."""
        yield value
        yield {"deep": value}
        yield "done"

    @tool
    def fail(a: int) -> Any:
        """Fail."""
        raise LookupError(value)

    @tool(context=True)
    def ask(a: int, tool_context: ToolContext) -> Any:
        """Ask."""
        return tool_context.interrupt("approval", reason={"what": value})

    names = ("give", "stream", "fail", "ask")
    turns = [*(call((name, {"a": 1})) for name in names), say("done")]
    agent = Agent(model=ScriptedModel(turns), tools=[give, stream, fail, ask], callback_handler=None, name="noticing")
    # Strands itself fails on some; what matters is what we asked meanwhile.
    with contextlib.suppress(Exception):
        agent("begin", invocation_state={"mine": value})
    if kind == "dumps":
        assert {step.name for step in recording.steps.steps if step.kind == "TOOL"} == set(names)
    for prompt in ([{"text": "begin"}, {"json": value}], value):
        with contextlib.suppress(Exception):
            Agent(model=ScriptedModel([say("done")]), callback_handler=None)(prompt)
    assert noticing.noticed == []
