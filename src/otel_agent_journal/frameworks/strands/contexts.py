"""Generators that run in an OpenTelemetry context of their own, whatever their consumers do between two events.

What a generator attaches stays attached while its consumer runs, for both share a task. So the context is put back at
each event, and the generator's own is put in place again before it goes on: a stream that is broken off leaves nothing
behind, and the consumer's spans are not children of the agent's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_agent_journal.pipeline.adoption import CLAIM_KEY, Claim
from otel_agent_journal.pipeline.step import STEP_KEY, Step

CALL_KEY: Final = context_api.create_key("agent-journal-strands-call")

_Result = TypeVar("_Result")
Left = Callable[[BaseException | None, Any], None]


class Call:
    """One call of an agent, graph or swarm by the program, in the context that it runs in.

    Args:
        owner: what is called.
        prompt: what it is asked.
        span: how the name of the span begins that Strands opens for it after its first hook; empty if before.
    """

    __slots__ = ("opened", "owner", "prompt", "span")

    def __init__(self, owner: Any, prompt: Any, span: str = "") -> None:
        self.owner = owner
        self.prompt = prompt
        self.span = span
        self.opened: list[Any] = []  # the invocations that it made


def call_of(owner: Any) -> Call | None:
    """Return the call of an agent, graph or swarm that this code runs in."""
    call = context_api.get_current().get(CALL_KEY)
    return call if isinstance(call, Call) and call.owner is owner else None


async def awaited(answer: Awaitable[_Result], context: Context, left: Left) -> _Result:
    """Await in `context`, and in what is made of it; then say so, with the exception or the result that there is."""
    around = context_api.get_current()
    context_api.attach(context)
    error: BaseException | None = None
    result: Any = None
    try:
        result = await answer
        return result
    except BaseException as raised:
        error = raised
        raise
    finally:
        left(error, result)
        context_api.attach(around)


async def isolated(
    events: AsyncGenerator[Any, None], context: Context, left: Left | None = None
) -> AsyncGenerator[Any, None]:
    """Yield the events of a generator that runs in `context`, and in what it makes of it. Closes it in the end.

    Args:
        events: what runs.
        context: where it begins.
        left: told that it is over, with the exception if there is one.
    """
    error: BaseException | None = None
    try:
        while True:
            around = context_api.get_current()
            context_api.attach(context)
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
            finally:
                context = context_api.get_current()
                context_api.attach(around)
            yield event
    except BaseException as raised:
        error = raised
        raise
    finally:
        around = context_api.get_current()
        context_api.attach(context)
        try:
            await events.aclose()
        finally:
            if left is not None:
                left(error, None)
            context_api.attach(around)


def context_of(step: Step, current: Context, claimed: str, *, outlives: bool = False) -> Context:
    """Return the context that a step runs in: where it waits for a span of Strands', with its claim on that.

    Args:
        step: that has been started.
        current: the context around it.
        claimed: how the span's name begins.
        outlives: as for `Step.adopt`.
    """
    if step.pending is None:
        return step.context(current)
    return Context({**current, STEP_KEY: step, CLAIM_KEY: Claim(step, claimed, outlives=outlives)})
