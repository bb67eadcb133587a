"""Strands' `SessionRepository` on the journal, for `RepositorySessionManager` and session managers of a program's own.

An agent's messages are events as `sessions.py` writes them, each with what Strands' record says beside it. Where one is
free to choose, the session manager is better: Strands' own looks at all messages at each one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from strands.session.session_repository import SessionRepository
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.context.history import OWN_STATE
from otel_agent_journal.context.transcript import Transcript
from otel_agent_journal.event import derived_id
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore, of_session
from otel_agent_journal.threads import RLock

_SESSION: Final = "strands/session"  # the document of a session
_ROW: Final = "$record"  # in a message: what Strands' record says of it
_TIMES: Final = ("created_at", "updated_at")


class StrandsRepository(SessionRepository):
    """Sessions, agents and messages as Strands' own session managers keep them. Thread-safe.

    Args:
        store: where the journal lives; it must keep contexts and documents.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._transcripts: dict[tuple[str, str], Transcript] = {}
        self._lock = RLock()

    # --- sessions ---

    def create_session(self, session: Session, **kwargs: Any) -> Session:
        """Create a session.

        Raises:
            SessionException: it is there already.
        """
        data = encode_value(session.to_dict())
        document = Document(scope=of_session(session.session_id), name=_SESSION, data=data)
        if self._documents.put_document(document) is None:
            raise SessionException(f"Session {session.session_id} already exists")
        return session

    def read_session(self, session_id: str, **kwargs: Any) -> Session | None:
        """Return a session, or None."""
        found = self._documents.get_document(of_session(session_id), _SESSION)
        if found is None:
            return None
        said = cast("dict[str, Any]", decode_value(found.data))
        return Session.from_dict({**said, "session_type": SessionType(said["session_type"])})

    # --- agents ---

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:
        """Create an agent of a session."""
        with self._lock:
            transcript = self._transcript(session_id, session_agent.agent_id)
            transcript.follow(transcript.messages, _state_of(session_agent))

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:
        """Return an agent, or None."""
        with self._lock:
            state = self._transcript(session_id, agent_id, anew=True).state
        if not state:
            return None
        own = {key.removeprefix(OWN_STATE): state.pop(key) for key in list(state) if key.startswith(OWN_STATE)}
        return SessionAgent(
            agent_id=agent_id,
            state=state,
            conversation_manager_state=own.get("conversation_manager") or {},
            _internal_state=own.get("internal") or {},
            **{name: own[name] for name in _TIMES},
        )

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:
        """Write what of an agent has changed.

        Raises:
            SessionException: it is not there.
        """
        with self._lock:
            transcript = self._transcript(session_id, session_agent.agent_id)
            known = transcript.state
            if not known:
                raise SessionException(f"Agent {session_agent.agent_id} in session {session_id} does not exist")
            session_agent.created_at = known[f"{OWN_STATE}created_at"]
            transcript.follow(transcript.messages, _state_of(session_agent))

    # --- messages ---

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:
        """Append a message of an agent."""
        with self._lock:
            transcript = self._transcript(session_id, agent_id)
            transcript.follow([*transcript.messages, _with_record(session_message)])

    def read_message(self, session_id: str, agent_id: str, message_id: int, **kwargs: Any) -> SessionMessage | None:
        """Return a message by its number, or None.

        Raises:
            ValueError: it is no number.
        """
        if type(message_id) is not int:
            raise ValueError(f"message_id=<{message_id}> | message id must be an integer")
        with self._lock:
            messages = self._transcript(session_id, agent_id, anew=True).messages
        return next((_record_of(one) for one in messages if _id_of(one) == message_id), None)

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:
        """Put another message in the place of one; what the newest of a user's said before is not at rest any more.

        Raises:
            SessionException: it is not there.
        """
        with self._lock:
            transcript = self._transcript(session_id, agent_id)
            messages = transcript.messages
            places = [at for at, one in enumerate(messages) if _id_of(one) == session_message.message_id]
            if not places:
                raise SessionException(f"Message {session_message.message_id} does not exist")
            session_message.created_at = messages[places[-1]][_ROW]["created_at"]
            messages[places[-1]] = _with_record(session_message)
            transcript.follow(messages, look="all")

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **kwargs: Any
    ) -> list[SessionMessage]:
        """Return messages in the order of their numbers.

        Raises:
            SessionException: there is no such agent.
        """
        with self._lock:
            transcript = self._transcript(session_id, agent_id, anew=True)
            if not transcript.is_there:
                raise SessionException(f"Messages missing from agent: {agent_id} in session {session_id}")
            messages = sorted(transcript.messages, key=_id_of)
        end = None if limit is None else offset + limit
        return [_record_of(one) for one in messages[offset:end]]

    # --- graphs and swarms ---

    def create_multi_agent(self, session_id: str, multi_agent: Any, **kwargs: Any) -> None:
        """Create a graph or swarm of a session."""
        with self._lock:
            self._transcript(session_id, f"multi_agent/{multi_agent.id}").follow([], multi_agent.serialize_state())

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:
        """Return the state of a graph or swarm, or None."""
        with self._lock:
            return self._transcript(session_id, f"multi_agent/{multi_agent_id}", anew=True).state or None

    def update_multi_agent(self, session_id: str, multi_agent: Any, **kwargs: Any) -> None:
        """Write what of a graph or swarm has changed.

        Raises:
            SessionException: it is not there.
        """
        with self._lock:
            transcript = self._transcript(session_id, f"multi_agent/{multi_agent.id}")
            if not transcript.is_there:
                raise SessionException(f"MultiAgent state {multi_agent.id} in session {session_id} does not exist")
            transcript.follow([], multi_agent.serialize_state())

    @property
    def _documents(self) -> DocumentStore:
        assert isinstance(self._store, DocumentStore)
        return self._store

    def _transcript(self, session_id: str, name: str, *, anew: bool = False) -> Transcript:
        """Return the transcript of an agent, read anew where others may have written."""
        known = self._transcripts.get((session_id, name))
        if known is None:
            said = {"name": name, "framework": "strands", "session": session_id, "agent": name}
            instance_id = derived_id(f"strands:{session_id}:{name}")
            known = self._transcripts[session_id, name] = Transcript(self._store, instance_id, session_id, said)
            anew = True
        if anew:
            known.load()
        return known


def _state_of(agent: SessionAgent) -> dict[str, Any]:
    return {
        **agent.state,
        f"{OWN_STATE}conversation_manager": agent.conversation_manager_state,
        f"{OWN_STATE}internal": agent._internal_state,  # noqa: SLF001 - what Strands itself writes
        f"{OWN_STATE}created_at": agent.created_at,
        f"{OWN_STATE}updated_at": datetime.now(UTC).isoformat(),
    }


def _with_record(message: SessionMessage) -> dict[str, Any]:
    """Return a message with its record in it."""
    record: dict[str, Any] = {"message_id": message.message_id}
    record |= {name: getattr(message, name) for name in _TIMES}
    if message.redact_message is not None:
        record["redact_message"] = message.redact_message
    return {**message.message, _ROW: record}


def _record_of(message: Mapping[str, Any]) -> SessionMessage:
    said = {key: value for key, value in message.items() if key != _ROW}
    return SessionMessage(message=cast("Any", said), **message[_ROW])


def _id_of(message: Mapping[str, Any]) -> int:
    return cast("int", message[_ROW]["message_id"])
