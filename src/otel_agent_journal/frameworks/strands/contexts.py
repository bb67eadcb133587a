"""A generator that runs in an OpenTelemetry context of its own, whatever its consumer does between two events.

What a generator attaches stays attached while its consumer runs, for both share a task. So the context is put back at
each event, and the generator's own is put in place again before it goes on: a stream that is broken off leaves nothing
behind, and the consumer's spans are not children of the agent's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context


async def isolated(events: AsyncGenerator[Any, None], context: Context) -> AsyncGenerator[Any, None]:
    """Yield the events of a generator that runs in `context`, and in what it makes of it. Closes it in the end."""
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
    finally:
        around = context_api.get_current()
        context_api.attach(context)
        try:
            await events.aclose()
        finally:
            context_api.attach(around)
