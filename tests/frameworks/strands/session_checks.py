"""What holds of Strands' sessions over each store: in memory and SQLite, and over those on servers in `tests/real`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from strands import Agent
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.session.repository_session_manager import RepositorySessionManager
from strands.session.snapshot_session_manager import SnapshotSessionManager
from strands.storage.storage import Storage
from strands.types.exceptions import SessionException, StorageError
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from otel_agent_journal import JournalSessionManager, JournalSessionRepository, JournalStorage
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.agents import answers

SECRET = "my card is 4711"


def a_message(number: int, text: str = "hello", **more: Any) -> SessionMessage:
    return SessionMessage.from_message({"role": "user", "content": [{"text": text}], **more}, number)  # type: ignore[typeddict-item]


def an_agent(**more: Any) -> SessionAgent:
    state = {"agent_id": "a1", "state": {"key": "value"}, "conversation_manager_state": {"removed_message_count": 0}}
    return SessionAgent(**{**state, **more})


def repository(store: JournalStore) -> JournalSessionRepository:
    made = JournalSessionRepository(store)
    made.create_session(Session("r1", SessionType.AGENT))
    return made


# --- the session manager ------------------------------------------------------------------------------------------


def is_brought_back(store: JournalStore) -> None:
    """An agent with tools, bytes, a state, and a window that has moved, by another manager."""

    def made(turns: list[Any]) -> Agent:
        return agents.agent(
            turns,
            session=None,
            session_manager=JournalSessionManager("m1", store),
            conversation_manager=SlidingWindowConversationManager(window_size=4),
            system_prompt="You add.",
        )

    agent = made([call(("add", {"a": 1, "b": 2})), say("3"), say("a picture"), say("long")])
    agent.state.set("user", {"name": "Ann"})
    agent("add")
    agent([{"image": {"format": "png", "source": {"bytes": bytes(range(256))}}}])
    agent("x" * 20_000)
    again = made([])
    assert again.messages == agent.messages
    assert again.state.get() == {"user": {"name": "Ann"}}
    assert again.conversation_manager.removed_message_count == agent.conversation_manager.removed_message_count
    assert again.system_prompt == "You add."


def goes_on_after_an_interrupt(store: JournalStore) -> None:
    """In another process."""

    def made(turns: list[Any]) -> Agent:
        return agents.agent(turns, session=None, session_manager=JournalSessionManager("m2", store))

    asked = made([call(("ask", {"question": "go on?"}))])("ask")
    assert str(made([say("done")])(answers(asked))) == "done\n"


def redacts(store: JournalStore) -> None:
    """What the user said last, also a long text, is in no event and no document."""
    manager = JournalSessionManager("m3", store)
    agent = agents.agent([say("no")], session=None, session_manager=manager)
    agent("hello")
    agent.messages.append({"role": "user", "content": [{"text": SECRET + "x" * 500_000}]})
    manager.append_message(agent.messages[-1], agent)
    agent.messages[-1]["content"] = [{"text": "[redacted]"}]
    manager.redact_latest_message(agent.messages[-1], agent)
    assert SECRET not in everything(store, "m3")
    agent.messages.append({"role": "assistant", "content": [{"text": "I cannot"}]})
    manager.append_message(agent.messages[-1], agent)
    assert SECRET not in everything(store, "m3")
    again = agents.agent([], session=None, session_manager=JournalSessionManager("m3", store))
    assert again.messages == agent.messages


def everything(store: Any, session_id: str) -> str:
    documents = [one.data for one in store.documents(f"session/{session_id}")]
    return repr([[dict(event.details) for event in store.read(session_id)], documents])


def loses_nothing_of_two(store: JournalStore) -> None:
    """Two managers of one session, in turns."""

    def made(*texts: str) -> Agent:
        manager = JournalSessionManager("m4", store)
        return agents.agent([say(text) for text in texts], session=None, session_manager=manager)

    one, other = made("r0", "r2"), made("r1", "r3")
    one("u0")
    other("u1")
    one("u2")
    other("u3")
    texts = [message["content"][0]["text"] for message in made().messages]
    assert texts == ["u0", "r0", "u1", "r1", "u2", "r2", "u3", "r3"]


# --- the repository -----------------------------------------------------------------------------------------------


def sessions_are_made_once(store: JournalStore) -> None:
    """And read as they were made."""
    made = repository(store)
    found = JournalSessionRepository(store).read_session("r1")
    assert found is not None
    assert (found.session_id, found.session_type) == ("r1", SessionType.AGENT)
    assert made.read_session("other") is None
    with pytest.raises(SessionException, match="already exists"):
        made.create_session(Session("r1", SessionType.AGENT))


def agents_are_updated(store: JournalStore) -> None:
    """When they were made stays; one that is not there is none."""
    made = repository(store)
    assert made.read_agent("r1", "a1") is None
    with pytest.raises(SessionException, match="does not exist"):
        made.update_agent("r1", an_agent())
    first = an_agent(created_at="2026-01-01T00:00:00+00:00")
    made.create_agent("r1", first)
    made.update_agent("r1", an_agent(state={"key": "other"}, _internal_state={"model_state": {"id": 1}}))
    found = JournalSessionRepository(store).read_agent("r1", "a1")
    assert found is not None
    assert found.state == {"key": "other"}
    assert found.conversation_manager_state == {"removed_message_count": 0}
    assert found._internal_state == {"model_state": {"id": 1}}
    assert found.created_at == "2026-01-01T00:00:00+00:00"
    assert found.updated_at > first.updated_at


def messages_are_listed_by_number(store: JournalStore) -> None:
    """In pages, and each by itself; bytes as they were."""
    made = repository(store)
    with pytest.raises(SessionException, match="Messages missing"):
        made.list_messages("r1", "a1")
    made.create_agent("r1", an_agent())
    for number in range(12):
        made.create_message("r1", "a1", a_message(number, f"text {number}"))
    picture = SessionMessage.from_message({"role": "user", "content": [{"image": {"source": {"bytes": b"\x89"}}}]}, 12)  # type: ignore[typeddict-item]
    made.create_message("r1", "a1", picture)
    for one in (made, JournalSessionRepository(store)):
        listed = one.list_messages("r1", "a1")
        assert [message.message_id for message in listed] == list(range(13))
        assert listed[12].message == picture.message
        assert listed[3].created_at <= listed[3].updated_at
        assert [message.message_id for message in one.list_messages("r1", "a1", limit=3, offset=9)] == [9, 10, 11]
        assert one.list_messages("r1", "a1", offset=20) == []
        found = one.read_message("r1", "a1", 5)
        assert found is not None
        assert found.message["content"] == [{"text": "text 5"}]
        assert one.read_message("r1", "a1", 99) is None
    with pytest.raises(ValueError, match="must be an integer"):
        made.read_message("r1", "a1", "../5")  # type: ignore[arg-type]


def messages_are_updated(store: JournalStore) -> None:
    """The newest without a trace, an older one too."""
    made = repository(store)
    made.create_agent("r1", an_agent())
    made.create_message("r1", "a1", a_message(0))
    made.create_message("r1", "a1", a_message(1, SECRET))
    with pytest.raises(SessionException, match="does not exist"):
        made.update_message("r1", "a1", a_message(7))
    made.update_message("r1", "a1", a_message(1, "[redacted]"))
    assert SECRET not in everything(store, "r1")
    redacted = a_message(0)
    redacted.redact_message = {"role": "user", "content": [{"text": "gone"}]}
    made.update_message("r1", "a1", redacted)
    first, second = JournalSessionRepository(store).list_messages("r1", "a1")
    assert first.to_message()["content"] == [{"text": "gone"}]
    assert first.message["content"] == [{"text": "hello"}]
    assert second.message["content"] == [{"text": "[redacted]"}]


def strands_own_manager_stands_on_it(store: JournalStore) -> None:
    """With an agent, and a graph that is interrupted."""

    def manager(session_id: str) -> RepositorySessionManager:
        return RepositorySessionManager(session_id, JournalSessionRepository(store))

    agent = agents.agent(
        [call(("add", {"a": 1, "b": 2})), say("3")], session=None, session_manager=manager("r2"), state={"a": 1}
    )
    agent("add")
    again = agents.agent([say("more")], session=None, session_manager=manager("r2"))
    assert again.messages == agent.messages
    assert again.state.get() == {"a": 1}
    again("more")
    assert len(agents.agent([], session=None, session_manager=manager("r2")).messages) == 6

    def graph(turns: list[Any]) -> Any:
        return agents.graph({"a": agents.agent(turns, session=None, name="a")}, session_manager=manager("r3"))

    asked = graph([call(("ask", {"question": "go on?"}))])("go")
    assert graph([say("a")])(answers(asked)).status.value == "completed"


def graphs_are_updated(store: JournalStore) -> None:
    """One that is not there is none."""
    made = repository(store)
    graph: Any = agents.graph({"a": agents.agent([], session=None, name="a")})
    assert made.read_multi_agent("r1", graph.id) is None
    with pytest.raises(SessionException, match="does not exist"):
        made.update_multi_agent("r1", graph)
    made.create_multi_agent("r1", graph)
    made.update_multi_agent("r1", graph)
    assert JournalSessionRepository(store).read_multi_agent("r1", graph.id) == json.loads(
        json.dumps(graph.serialize_state())
    )


# --- the storage --------------------------------------------------------------------------------------------------


async def storage_keeps_bytes(store: JournalStore) -> None:
    """Under keys with slashes; the last write wins; large ones, too."""
    storage = JournalStorage("st", store)
    assert isinstance(storage, Storage)
    assert await storage.read("a/b") is None
    await storage.delete("a/b")
    large = bytes(range(256)) * 4_000
    for data in (b"", b"\x00\n\xff", large, b"small again"):
        await storage.write("//a//b/", data)
        assert await JournalStorage("st", store).read("a/b") == data
    await storage.write("a/c", large)
    await storage.write("b", b"b")
    assert await storage.list("") == ["a/b", "a/c", "b"]
    assert await storage.list("a/") == ["a/b", "a/c"]
    assert [one.key for one in await storage.search("small")] == ["a/b"]
    await storage.delete("a/c")
    assert await storage.list("a/") == ["a/b"]
    for key in ("", "/", "a/../b", "a\\b"):
        with pytest.raises(StorageError):
            await storage.write(key, b"")


def snapshots_stand_on_it(store: JournalStore) -> None:
    """Strands' own manager of snapshots, which brings any of them back."""

    def manager() -> SnapshotSessionManager:
        return SnapshotSessionManager("st2", storage=JournalStorage("st2", store))

    agent = agents.agent([say("one")], session=None, session_manager=manager())
    agent("go")
    again = agents.agent([], session=None, session_manager=manager())
    assert [one["content"] for one in again.messages] == [one["content"] for one in agent.messages]


CHECKS: list[Callable[[JournalStore], None]] = [
    is_brought_back,
    goes_on_after_an_interrupt,
    redacts,
    loses_nothing_of_two,
    sessions_are_made_once,
    agents_are_updated,
    messages_are_listed_by_number,
    messages_are_updated,
    strands_own_manager_stands_on_it,
    graphs_are_updated,
    snapshots_stand_on_it,
]
