"""What a LangGraph thread says at any of its points, and how a fork of it is given another state."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage, convert_to_messages, convert_to_openai_messages
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph.message import add_messages

from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import CONTEXT_FORKED, JournalEvent
from otel_agent_journal.frameworks.langgraph.checkpoints.log import ThreadLog
from otel_agent_journal.frameworks.langgraph.checkpoints.saver import Saver
from otel_agent_journal.frameworks.langgraph.checkpoints.thread import Thread
from otel_agent_journal.frameworks.langgraph.checkpoints.threads import Threads
from otel_agent_journal.frameworks.langgraph.checkpoints.values import Serde
from otel_agent_journal.plain import plain
from otel_agent_journal.reading.agents import AgentContext
from otel_agent_journal.reading.keepers import Keeper
from otel_agent_journal.store.lineage import read_through
from otel_agent_journal.store.protocol import JournalStore

_ROOT = ""
_PLUMBING = ("__", "branch:", "join:")  # channels of LangGraph's own


class ThreadKeeper(Keeper):
    """Threads that `JournalSaver` keeps."""

    def said(
        self, store: JournalStore, agent: AgentContext, count: int, checkpoints: Mapping[str, str] | None
    ) -> Mapping[str, Any]:
        """Return the messages and the state of a thread after so many events, at the checkpoints that are named."""
        thread = Thread(agent.known_as, _Past(store, agent.instance_id, count, checkpoints))
        saved = thread.newest(_ROOT)
        if saved is None:
            return {"messages": [], "state": {}}
        serde = Serde(JsonPlusSerializer())
        try:
            found = thread.tuple_of(serde, saved)
            versions = found.checkpoint["channel_versions"]
            left = [name for name in versions if name not in found.checkpoint["channel_values"] and is_state(name)]
            history = thread.delta_history(serde, saved, left)
        except NotImplementedError as error:
            raise StoreError(
                f"thread {agent.known_as} is written by a serialiser of its own or encrypted ({error});"
                " the program that wrote it can read it"
            ) from error
        values = dict(found.checkpoint["channel_values"])
        for name, told in history.items():
            if told["writes"] or "seed" in told:
                values[name] = rebuilt(told)
        messages: list[dict[str, Any]] = []
        state: dict[str, Any] = {}
        for name, value in values.items():
            if _are_messages(value):
                messages += cast("list[dict[str, Any]]", convert_to_openai_messages(value))
            elif is_state(name):
                state[name] = plain(value)
        return {"messages": messages, "state": state}

    def check_state(
        self,
        store: JournalStore,
        agent: AgentContext,
        count: int,
        checkpoints: Mapping[str, str] | None,
        state: Mapping[str, Any],
    ) -> None:
        """Return where the thread has channels of these names.

        Raises:
            StoreError: it has none, or no checkpoint yet.
        """
        thread = Thread(agent.known_as, _Past(store, agent.instance_id, count, checkpoints))
        saved = thread.newest(_ROOT)
        if saved is None:
            raise StoreError(f"thread {agent.known_as} has no checkpoint yet: there is no state to be set")
        _check_names(thread.tuple_of(Serde(JsonPlusSerializer()), saved), state)

    def set_state(self, store: JournalStore, agent: AgentContext, state: Mapping[str, Any]) -> None:
        """Put a checkpoint that has these values in place of those under their names.

        Raises:
            StoreError: the thread has no checkpoint, or no such names.
        """
        saver = Saver(Threads(store, instance_for=lambda _: agent.instance_id))
        config: Any = {"configurable": {"thread_id": agent.known_as, "checkpoint_ns": _ROOT}}
        found = saver.get_tuple(config)
        if found is None:
            raise StoreError(f"thread {agent.known_as} has no checkpoint yet: there is no state to be set")
        saver.put(found.config, *_with_state(saver, found, state))


KEEPER: Final = ThreadKeeper()


def _with_state(saver: Saver, found: CheckpointTuple, state: Mapping[str, Any]) -> tuple[Checkpoint, Any, Any]:
    """Return a checkpoint that follows another with other values, its metadata, and the versions that are new."""
    known = found.checkpoint["channel_versions"]
    _check_names(found, state)
    values = dict(found.checkpoint["channel_values"])
    for name, value in state.items():
        values[name] = convert_to_messages(value) if _are_messages(values.get(name)) else value
    latest = max(map(str, known.values()))
    new = {name: saver.get_next_version(latest, None) for name in state}
    fresh = empty_checkpoint()
    checkpoint = {**found.checkpoint, "id": str(uuid6()), "ts": fresh["ts"], "channel_values": values}
    checkpoint["channel_versions"] = {**known, **new}
    metadata: dict[str, Any] = {"source": "update", "step": (found.metadata.get("step") or 0) + 1, "parents": {}}
    return cast("Checkpoint", checkpoint), metadata, new


def _check_names(found: CheckpointTuple, state: Mapping[str, Any]) -> None:
    known = found.checkpoint["channel_versions"]
    unknown = sorted(name for name in state if name not in known or not is_state(name))
    if unknown:
        names = ", ".join(sorted(filter(is_state, known)))
        raise StoreError(f"the graph has no {', '.join(unknown)} in its state; it has {names}")


class _Past(ThreadLog):
    """A thread as it was after so many events, at some of its checkpoints. Only read."""

    def __init__(
        self, store: JournalStore, instance_id: str, count: int, checkpoints: Mapping[str, str] | None
    ) -> None:
        self._until = count
        self._goes_on_from = checkpoints
        super().__init__(store, instance_id, lambda: (_ROOT, {}))

    def refresh(self) -> None:
        """Read it once."""
        if self._loaded:
            return
        self._loaded = True
        self._take(islice(read_through(self.store, self.instance_id), self._until))
        if self._goes_on_from:
            details = {"checkpoint": dict(self._goes_on_from)}
            self.checkpoints.apply(
                JournalEvent(session_id="", event_id="", type=CONTEXT_FORKED, timestamp_ns=0, details=details)
            )

    def fetch(self, numbers: Any) -> None:
        """Have all values, as read."""


def is_state(name: str) -> bool:
    """Tell whether a channel is of a graph's state, and none of LangGraph's own."""
    return not name.startswith(_PLUMBING)


def _are_messages(value: Any) -> bool:
    found = cast("list[Any]", value) if isinstance(value, list) else []
    return bool(found) and all(isinstance(one, BaseMessage) for one in found)


def rebuilt(told: Mapping[str, Any]) -> Any:
    """Return what a delta channel has, as far as one can tell without its reducer: messages added, else its writes."""
    seed = getattr(told.get("seed"), "value", told.get("seed"))
    written = [write[2] for write in told["writes"]]
    try:
        value: Any = seed or []
        for one in written:
            value = add_messages(value, one)
        return value
    except Exception:  # noqa: BLE001 - no messages
        return [seed, *written]
