"""Strands' sessions in the journal: an agent's messages and state are events of its context, written as they change.

Strands calls us at its hooks. What an agent has is compared with what is written, so that each change is one append,
wherever it came from. Nothing is written of an agent's that has a session manager of Strands' own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final, cast
from uuid import uuid4

from opentelemetry import context as context_api
from strands.agent.agent import Agent
from strands.agent.state import AgentState
from strands.hooks import (
    AfterInvocationEvent,
    AfterMultiAgentInvocationEvent,
    AfterNodeCallEvent,
    AgentInitializedEvent,
    HookRegistry,
    MessageAddedEvent,
    MultiAgentInitializedEvent,
)
from strands.middleware import ExecuteToolStage
from strands.session.session_manager import SessionManager
from strands.types.content import Message
from strands.types.exceptions import SessionException
from strands.types.session import SessionAgent

from otel_agent_journal.context.blocks import copied, is_unfinished, well_formed
from otel_agent_journal.context.history import OWN_STATE
from otel_agent_journal.context.transcript import Look, Transcript
from otel_agent_journal.event import derived_id
from otel_agent_journal.frameworks.strands import serving
from otel_agent_journal.frameworks.strands.going_on import give_answer, go_on
from otel_agent_journal.frameworks.strands.instrumentor import StrandsInstrumentor
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.resuming import meant, resumption
from otel_agent_journal.pipeline.session import session_within
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.threads import RLock

_log = logging.getLogger(__name__)

FRAMEWORK: Final = "strands"
_MANAGER: Final = f"{OWN_STATE}conversation_manager"
_INTERRUPTS: Final = f"{OWN_STATE}interrupts"
_MODEL: Final = f"{OWN_STATE}model_state"
_PROMPT: Final = f"{OWN_STATE}system_prompt"


class StrandsSessions(SessionManager[Any]):
    """Keeps the agents, graphs and swarms of one Strands session. Thread-safe.

    Args:
        session_id: Strands' session.
        store: where the journal lives; None: nothing is kept.
    """

    def __init__(self, session_id: str, store: JournalStore | None) -> None:
        self.session_id = session_id
        self._store = store
        self._kept: dict[str, _Kept] = {}
        self._multi: dict[str, Transcript] = {}
        self._lock = RLock()

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Have Strands tell what happens. Called by Strands."""
        if self._store is None:
            return
        registry.add_callback(AgentInitializedEvent, lambda event: self.initialize(event.agent))
        registry.add_callback(MessageAddedEvent, lambda event: self.append_message(event.message, event.agent))
        registry.add_callback(AfterInvocationEvent, lambda event: self._follow(event.agent, "some"))
        registry.add_callback(MultiAgentInitializedEvent, lambda event: self.initialize_multi_agent(event.source))
        registry.add_callback(AfterNodeCallEvent, lambda event: self.sync_multi_agent(event.source))
        registry.add_callback(AfterMultiAgentInvocationEvent, lambda event: self.sync_multi_agent(event.source))

    # --- agents ---

    def initialize(self, agent: Any, **kwargs: Any) -> None:
        """Bring an agent back as it was last, or begin to keep it.

        Raises:
            SessionException: another agent of this id is kept here.
            StoreError: the store cannot be read.
        """
        if self._store is None:
            return
        with self._lock:
            if agent.agent_id in self._kept:
                raise SessionException("The `agent_id` of an agent must be unique in a session.")
            transcript = self._transcript(agent.agent_id, agent.name)
            kept = _Kept(transcript, _prompt_of(agent))
            if transcript.load():
                self._restore(agent, kept)
            else:
                for message in agent.messages:  # as Strands does before its model is asked
                    message.setdefault("tracking_id", _new_id())
                transcript.follow(agent.messages, _state_of(agent, kept.given), "all")
                kept.version = _version_of(agent)
            self._kept[agent.agent_id] = kept
            if resumption() is not None and not StrandsInstrumentor().is_instrumented_by_opentelemetry:
                agent.add_middleware(ExecuteToolStage, serving.around_tool)

    def append_message(self, message: Message, agent: Any, **kwargs: Any) -> None:
        """Write a message that an agent has got, and what else of it has changed.

        Raises:
            StoreError: it may be that it was not written; the next call writes what is missing.
        """
        if not any(message is one for one in reversed(agent.messages)):
            self._follow(agent, "end", [*agent.messages, message])
        else:
            self._follow(agent, "end")

    def sync_agent(self, agent: Any, **kwargs: Any) -> None:
        """Write whatever of an agent has changed.

        Raises:
            StoreError: call again.
        """
        self._follow(agent, "all")

    def redact_latest_message(self, redact_message: Message, agent: Any, **kwargs: Any) -> None:
        """Put another message in the place of the last one; what a user said is not at rest any more.

        Raises:
            SessionException: there is no message.
            StoreError: call again.
        """
        if self._store is None:
            return
        with self._lock:
            transcript = self._of(agent).transcript
            if not transcript.messages and not agent.messages:
                raise SessionException("No message to redact.")
            if agent.messages and not any(agent.messages[-1] is one for one in transcript.messages[-1:]):
                transcript.follow(agent.messages, look="all")  # which writes it as it is by now
                return
            if not transcript.redact_last(cast("dict[str, Any]", redact_message)):
                _log.warning(
                    "session_id=<%s>, agent_id=<%s> | the redacted message is no user's that waits for its answer:"
                    " what it said stays in its event",
                    self.session_id,
                    agent.agent_id,
                )

    def point_of(self, agent: Any) -> dict[str, Any] | None:
        """Return where an agent's context is: its instance, and how many events there are."""
        with self._lock:
            kept = self._kept.get(agent.agent_id)
            return None if kept is None else kept.transcript.point

    def _follow(self, agent: Any, look: Look, messages: list[Any] | None = None) -> None:
        if self._store is None:
            return
        with self._lock:
            kept = self._of(agent)
            version = _version_of(agent)
            state = None if version == kept.version else _state_of(agent, kept.given)
            kept.transcript.follow(agent.messages if messages is None else messages, state, look)
            kept.version = version

    def _of(self, agent: Any) -> _Kept:
        kept = self._kept.get(agent.agent_id)
        if kept is None:
            raise SessionException(
                f"agent {agent.agent_id} is not of session {self.session_id}: give it its session_manager when it is"
                " made"
            )
        return kept

    def _restore(self, agent: Any, kept: _Kept) -> None:
        state = kept.transcript.state
        own = {key: value for key, value in state.items() if key.startswith(OWN_STATE)}
        agent.state = AgentState({key: value for key, value in state.items() if key not in own})
        _restore_own(agent, own, kept)
        kept.version = _version_of(agent)
        if getattr(getattr(agent, "model", None), "stateful", False) is True:
            return  # its model has the conversation
        agent.messages = well_formed(kept.transcript.messages, _new_id)
        interrupts: Any = getattr(agent, "_interrupt_state", None)
        resumed = resumption()
        if resumed is None or not agent.messages or getattr(interrupts, "activated", False):
            return
        if is_unfinished(agent.messages):
            go_on(agent)
        elif resumed.cut_off:
            give_answer(agent, resumed)

    # --- graphs and swarms ---

    def initialize_multi_agent(self, source: Any, **kwargs: Any) -> None:
        """Bring a graph or swarm back as it was last, or begin to keep it.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._store is None:
            return
        with self._lock:
            transcript = self._multi[source.id] = self._transcript(f"multi_agent/{source.id}", source.id)
            if transcript.load():
                source.deserialize_state(transcript.state)
            else:
                transcript.follow([], source.serialize_state())

    def sync_multi_agent(self, source: Any, **kwargs: Any) -> None:
        """Write what of a graph or swarm has changed.

        Raises:
            StoreError: call again.
        """
        if self._store is None:
            return
        with self._lock:
            if source.id not in self._multi:
                self._multi[source.id] = self._transcript(f"multi_agent/{source.id}", source.id)
                self._multi[source.id].load()
            self._multi[source.id].follow([], source.serialize_state())

    def close(self) -> None:
        """Let go of what is kept in memory; the session goes on when it is opened again."""
        with self._lock:
            for kept in self._kept.values():
                kept.transcript.close()
            self._kept.clear()
            self._multi.clear()

    def _transcript(self, name: str, shown: str) -> Transcript:
        assert self._store is not None
        resumed = resumption()
        instance_id = None if resumed is None else resumed.instance_for(FRAMEWORK, name, within=self.session_id)
        session_id = meant(self.session_id)
        said = {"name": shown, "framework": FRAMEWORK, "session": self.session_id, "agent": name}
        return Transcript(
            self._store,
            instance_id or derived_id(f"{FRAMEWORK}:{session_id}:{name}"),
            _session_around() or session_id,
            said,
        )


class _Kept:
    """What is kept of an agent: its transcript, the prompt that its program gave it, and which state is written."""

    __slots__ = ("given", "transcript", "version")

    def __init__(self, transcript: Transcript, given: Any) -> None:
        self.transcript = transcript
        self.given = given
        self.version: Any = None


def point_of(agent: Any) -> dict[str, Any] | None:
    """Return where the context of an agent is that is kept here, as the START of each of its steps says it."""
    sessions: Any = getattr(agent, "_session_manager", None)
    return sessions.point_of(agent) if isinstance(sessions, StrandsSessions) else None


def _session_around() -> str | None:
    """Return the session that this code runs in, else the process's."""
    context, recorder = context_api.get_current(), get_recorder()
    return session_within(context) if recorder is None else recorder.session_fixed(context)


def _prompt_of(agent: Any) -> Any:
    return copied(agent.system_prompt_content)


def _version_of(agent: Any) -> Any:
    """Return what tells one state of an agent from another, at the cost of what may be large only where it changed."""
    if not isinstance(agent, Agent):
        return agent.state.get()
    return (
        agent.state._get_version(),  # noqa: SLF001 - as Strands' own session managers do
        agent._interrupt_state._get_version(),  # noqa: SLF001
        copied(agent.conversation_manager.get_state()),
        copied(agent._model_state),  # noqa: SLF001
        _prompt_of(agent),
    )


def _state_of(agent: Any, given: Any) -> dict[str, Any]:
    """Return an agent's state, and what Strands itself keeps of it."""
    state: dict[str, Any] = agent.state.get()
    if isinstance(agent, Agent):
        inner = SessionAgent.from_agent(agent)
        state[_MANAGER] = inner.conversation_manager_state
        state[_INTERRUPTS] = inner._internal_state["interrupt_state"]  # noqa: SLF001
        state[_MODEL] = inner._internal_state["model_state"]  # noqa: SLF001
    state[_PROMPT] = {"given": given, "now": _prompt_of(agent)}
    return state


def _restore_own(agent: Any, own: Mapping[str, Any], kept: _Kept) -> None:
    """Bring back what Strands itself keeps of an agent."""
    if not isinstance(agent, Agent):
        return
    found = {"interrupt_state": own.get(_INTERRUPTS), "model_state": own.get(_MODEL)}
    inner = SessionAgent(
        agent_id=agent.agent_id,
        state={},
        conversation_manager_state={},
        _internal_state={name: value for name, value in found.items() if value is not None},
    )
    inner.initialize_internal_state(agent)
    manager = own.get(_MANAGER)
    if isinstance(manager, dict):
        try:
            agent.conversation_manager.restore_from_session(cast("dict[str, Any]", manager))
        except ValueError:  # of another class: the messages are as they were, and it begins anew
            _log.warning(
                "agent_id=<%s> | the conversation manager is no %s any more, as the session was written with: its own"
                " state begins anew",
                agent.agent_id,
                cast("dict[str, Any]", manager).get("__name__"),
            )
    prompt: Any = own.get(_PROMPT)
    if isinstance(prompt, dict) and kept.given in (None, prompt["given"]):  # else the program has another one by now
        kept.given = prompt["given"]
        with contextlib.suppress(AttributeError):
            agent.system_prompt = prompt["now"]


def _new_id() -> str:
    return str(uuid4())
