"""Whoever keeps the contexts of agents: how a context is told to people, and how a fork of one gets another state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from otel_agent_journal.context.service import Context
from otel_agent_journal.reading.agents import AgentContext
from otel_agent_journal.store.protocol import JournalStore


class Keeper(Protocol):
    """Whoever keeps the contexts of one framework."""

    def said(
        self, store: JournalStore, agent: AgentContext, count: int, checkpoints: Mapping[str, str] | None
    ) -> Mapping[str, Any]:
        """Return `messages` and `state` of an agent after so many events, at the checkpoints that are named."""
        ...

    def check_state(
        self,
        store: JournalStore,
        agent: AgentContext,
        count: int,
        checkpoints: Mapping[str, str] | None,
        state: Mapping[str, Any],
    ) -> None:
        """Return where an agent can take this state after so many events.

        Raises:
            StoreError: it has no such names, or cannot take such values.
        """
        ...

    def set_state(self, store: JournalStore, agent: AgentContext, state: Mapping[str, Any]) -> None:
        """Give the agent's state these values in place of those that it has under their names.

        Raises:
            StoreError: as `check_state`.
        """
        ...


class ContextKeeper(Keeper):
    """Contexts as `context.service` has them: those that a program keeps itself."""

    def said(
        self, store: JournalStore, agent: AgentContext, count: int, checkpoints: Mapping[str, str] | None
    ) -> Mapping[str, Any]:
        """Return the messages as they were given, and the state."""
        context = Context(store, agent.instance_id)
        return {"messages": context.get_messages(count), "state": context.get_state(count)}

    def check_state(
        self,
        store: JournalStore,
        agent: AgentContext,
        count: int,
        checkpoints: Mapping[str, str] | None,
        state: Mapping[str, Any],
    ) -> None:
        """Any names will do."""

    def set_state(self, store: JournalStore, agent: AgentContext, state: Mapping[str, Any]) -> None:
        """Give the agent's state these values in place of those that it has under their names."""
        context = Context(store, agent.instance_id, session_id=agent.session_id)
        context.set_state({**context.get_state(), **state})
