"""What an agent's context says, and how it is given another state: as whoever keeps it has it.

Each framework has its own form of messages and state; `frameworks.NAME.going_back` knows it. What a program keeps by
hand is as `reading.keepers` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import msgspec

from otel_agent_journal.errors import StoreError
from otel_agent_journal.reading.agents import BY_HAND, AgentContext
from otel_agent_journal.reading.keepers import ContextKeeper, Keeper
from otel_agent_journal.store.protocol import JournalStore

_HOME: Final = {
    "langgraph": "otel_agent_journal.frameworks.langgraph.going_back",
    "strands": "otel_agent_journal.frameworks.strands.going_back",
}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's messages, as the OpenAI API has them, and the rest of its state, as plain data."""

    messages: list[dict[str, Any]]
    state: dict[str, Any]


def kept_by(agent: AgentContext) -> Keeper:
    """Return who keeps an agent's context.

    Raises:
        StoreError: a framework that is not known here.
        MissingExtra: the framework is not installed.
    """
    if agent.framework == BY_HAND:
        return ContextKeeper()
    home = _HOME.get(agent.framework)
    if home is None:
        raise StoreError(
            f"the context of agent {agent.name} is kept by '{agent.framework}', which this version does not know:"
            " pip install --upgrade otel-agent-journal"
        )
    keeper: Keeper = import_module(home).KEEPER
    return keeper


def said_by(store: JournalStore, agent: AgentContext, count: int, checkpoints: Mapping[str, str] | None) -> Said:
    """Return the messages and the state of an agent after so many events of its context."""
    found = kept_by(agent).said(store, agent, count, checkpoints)
    return Said(messages=list(found["messages"]), state=dict(found["state"]))
