"""What a LangGraph thread holds at a checkpoint, for people; and how a fork of one is given another state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage, convert_to_messages
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.base.id import uuid6

from otel_agent_journal.errors import StoreError
from otel_agent_journal.foreign import is_a
from otel_agent_journal.frameworks.langgraph.checkpoints.saver import Saver
from otel_agent_journal.frameworks.langgraph.checkpoints.threads import Threads
from otel_agent_journal.frameworks.langgraph.messages import plain_message
from otel_agent_journal.plain import plain
from otel_agent_journal.reading.agents import AgentContext
from otel_agent_journal.store.protocol import JournalStore

_OF_GRAPH: Final = ("__", "branch:")  # channels that are LangGraph's own begin so
_MESSAGES: Final = "messages"


class Keeper:
    """Whoever keeps the contexts of LangGraph."""

    def said(
        self, store: JournalStore, agent: AgentContext, count: int, checkpoints: Mapping[str, str] | None
    ) -> Mapping[str, Any]:
        """Return the messages of a thread's channel of that name, and its other channels, at a checkpoint."""
        named = {"checkpoint_id": checkpoints[""]} if checkpoints and "" in checkpoints else {}
        found = _saver(store, agent).get_tuple({"configurable": {"thread_id": agent.known_as, **named}})
        values = {} if found is None else _state_of(found)
        messages: Any = _shown(values.get(_MESSAGES))
        told: list[Any] = messages if _are_messages(messages) else []
        state = {name: plain(_shown(value)) for name, value in values.items() if name != _MESSAGES or not told}
        return {"messages": told, "state": state}

    def set_state(self, store: JournalStore, agent: AgentContext, state: Mapping[str, Any]) -> None:
        """Save a checkpoint in which these channels have these values; what was about to run is so still.

        Raises:
            StoreError: the thread has no such channels.
        """
        saver = _saver(store, agent)
        found = saver.get_tuple({"configurable": {"thread_id": agent.known_as}})
        if found is None:
            raise StoreError(f"thread {agent.known_as} has no checkpoint whose state could be set")
        known = _state_of(found)
        if unknown := [name for name in state if name not in known]:
            raise StoreError(
                f"thread {agent.known_as} has no {', '.join(unknown)} in its state; it has {', '.join(known)}"
            )
        checkpoint = found.checkpoint
        versions = {name: saver.get_next_version(checkpoint["channel_versions"].get(name), None) for name in state}
        values = {name: _as_known(value, known[name]) for name, value in state.items()}
        changed: Any = {
            **checkpoint,
            "id": str(uuid6(clock_seq=-2)),
            "ts": datetime.now(UTC).isoformat(),
            "channel_values": {**checkpoint["channel_values"], **values},
            "channel_versions": {**checkpoint["channel_versions"], **versions},
        }
        metadata: Any = {**found.metadata, "source": "update", "step": found.metadata.get("step", -1)}
        saver.put(found.config, changed, metadata, cast("dict[str, str | int | float]", versions))


KEEPER: Final = Keeper()


def _saver(store: JournalStore, agent: AgentContext) -> Saver:
    return Saver(Threads(store, lambda: agent.session_id, lambda _: agent.instance_id))


def _state_of(found: CheckpointTuple) -> dict[str, Any]:
    """Return the values of a graph's own channels."""
    return {name: value for name, value in found.checkpoint["channel_values"].items() if not name.startswith(_OF_GRAPH)}


def _as_known(value: Any, known: Any) -> Any:
    """Return a value in the form of the one that it takes the place of: messages as LangChain has them."""
    if isinstance(known, list) and known and is_a(known[0], BaseMessage) and isinstance(value, list):
        return convert_to_messages(cast("list[Any]", value))
    return value


def _are_messages(shown: Any) -> bool:
    listed = cast("list[Any]", shown) if isinstance(shown, list) else []
    return all(isinstance(one, dict) and "role" in one for one in listed)


def _shown(value: Any) -> Any:
    if is_a(value, BaseMessage):
        return plain_message(value)
    return [_shown(one) for one in cast("list[Any]", value)] if type(value) is list else value
