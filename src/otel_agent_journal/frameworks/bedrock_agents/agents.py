"""The agents of an invocation while they work, and what each has begun that has not been said to be over. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.frameworks.bedrock_agents.actions import Action, End

MODEL: Final = "model"
ACTION: Final = "action"
CODE: Final = "code"
LOOKUP: Final = "lookup"
COLLABORATOR: Final = "collaborator"


class Pending:
    """Something that began and has not been said to be over."""

    __slots__ = ("agent", "key", "name", "returns_control", "sort", "trace_id")

    def __init__(self, key: int, sort: str, trace_id: str, name: str) -> None:
        self.key = key
        self.sort = sort
        self.trace_id = trace_id
        self.name = name
        self.returns_control = False
        self.agent: Agent | None = None  # of a collaborator


class Agent:
    """An agent while it works: the one that was invoked, or a collaborator of it."""

    def __init__(self, key: int, name: str = "", alias: str = "") -> None:
        self.key = key
        self.name = name
        self.alias = alias
        self.pending: list[Pending] = []
        self.failure: ErrorInfo | None = None
        self.response: str | None = None

    def began(self, pending: Pending) -> int:
        """Remember what begins, and return its key."""
        self.pending.append(pending)
        return pending.key

    def take(self, sort: str, trace_id: str, name: str = "") -> Pending | None:
        """Return what an output belongs to, the best match first, and forget it."""
        fitting = [one for one in self.pending if one.sort == sort and (not name or one.name == name)]
        if not fitting:
            return None
        found = next((one for one in fitting if one.trace_id == trace_id), fitting[0])
        self.pending.remove(found)
        return found

    def collaborators(self) -> Iterator[Agent]:
        """Yield the collaborators that work for this agent now, those of theirs after them."""
        for one in list(self.pending):
            if one.agent is not None:
                yield one.agent
        for one in list(self.pending):
            if one.agent is not None:
                yield from one.agent.collaborators()


def left_open(agent: Agent, outcome: str, error: ErrorInfo | None) -> Iterator[Action]:
    """End what an agent has open, the innermost first, as the agent ends.

    What the program is asked to do is interrupted, with the collaborators that wait for it; of anything else that is
    open as an agent ends in order only the output was not told.
    """
    pending, agent.pending = agent.pending, []
    for one in reversed(pending):
        inner, why = outcome, error
        if one.agent is not None:
            if one.agent.failure is not None:
                inner, why = "error", one.agent.failure
            yield from left_open(one.agent, inner, why)
        elif one.returns_control:
            inner = "interrupted" if outcome == "ok" else outcome
        elif outcome == "interrupted":
            inner = "ok"
        yield End(one.key, inner, error=why)
