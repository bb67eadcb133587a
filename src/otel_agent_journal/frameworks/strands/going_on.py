"""An agent that goes on where it stood: its first call asks for nothing new, so that what was left is done first.

Where nothing was left, and its process was killed before it said so, the call gives the answer that is there.
"""

from __future__ import annotations

from typing import Any

from otel_agent_journal.mapping.converse import plain_messages
from otel_agent_journal.pipeline.resuming import Resumption
from otel_agent_journal.pipeline.session import session


def go_on(agent: Any) -> None:
    """Have an agent's next call go on with its conversation, whatever it is asked.

    Strands then runs the tools that its last message asks for, or asks the model, and adds no message before.
    """

    def stream_once(prompt: Any = None, **options: Any) -> Any:
        agent.__dict__.pop("stream_async", None)
        return agent.stream_async(None, **options)

    agent.stream_async = stream_once


def give_answer(agent: Any, resumed: Resumption) -> None:
    """Have an agent's next call give the last message as its answer, and say in the session that it has ended."""

    async def stream_once(prompt: Any = None, **options: Any) -> Any:
        from strands.agent.agent_result import AgentResult

        agent.__dict__.pop("stream_async", None)
        answer = agent.messages[-1]
        with session(resumed.session_id, agent=agent.name) as turn:
            turn.respond(plain_messages(answer))
        yield {"result": AgentResult("end_turn", answer, agent.event_loop_metrics, {})}

    agent.stream_async = stream_once
