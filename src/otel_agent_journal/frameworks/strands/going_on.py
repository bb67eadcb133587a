"""An agent that goes on where it stood: its first call asks for nothing new, so that what was left is done first."""

from __future__ import annotations

from typing import Any


def go_on(agent: Any) -> None:
    """Have an agent's next call go on with its conversation, whatever it is asked.

    Strands then runs the tools that its last message asks for, or asks the model, and adds no message before.
    """

    def stream_once(prompt: Any = None, **options: Any) -> Any:
        agent.__dict__.pop("stream_async", None)
        return agent.stream_async(None, **options)

    agent.stream_async = stream_once
