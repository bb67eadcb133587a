"""Strands agents in the journal: brought back as they were, whatever was done to them, by another process."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from strands import Agent, tool
from strands.agent.conversation_manager import SlidingWindowConversationManager, SummarizingConversationManager
from strands.types.exceptions import SessionException

from otel_agent_journal import ContextService, JournalSessionManager, session
from otel_agent_journal.event import derived_id
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.agents import answers

SECRET = "my card is 4711"


def kept(store: JournalStore, turns: list[Any], session_id: str = "s1", **options: Any) -> Agent:
    manager = JournalSessionManager(session_id, store)
    return agents.agent(turns, session=None, session_manager=manager, **options)


def instance(agent_id: str = "default", session_id: str = "s1") -> str:
    return derived_id(f"strands:{session_id}:{agent_id}")


def folded(store: JournalStore) -> list[Any]:
    return ContextService(store, instance()).get_messages()


def is_as_it_was(store: JournalStore, agent: Agent, **options: Any) -> None:
    again = kept(store, [], **options)
    assert again.messages == agent.messages == folded(store)
    assert again.state.get() == agent.state.get()
    assert again.conversation_manager.get_state() == agent.conversation_manager.get_state()
    assert again._interrupt_state.to_dict() == agent._interrupt_state.to_dict()
    assert again.system_prompt_content == agent.system_prompt_content
    assert again._model_state == agent._model_state


def test_an_agent_is_brought_back_as_it_was() -> None:
    """Messages, state, what Strands keeps itself; each message with its calls is an event of its agent's instance."""
    store = MemoryStore()
    agent = kept(store, [call(("add", {"a": 1, "b": 2})), say("It is 3.")], system_prompt="You add.")
    agent.state.set("user", {"name": "Ann"})
    agent("1 + 2?")
    agent.system_prompt = "You add well."
    agent._session_manager.sync_agent(agent)  # type: ignore[union-attr]
    is_as_it_was(store, agent, system_prompt="You add.")
    first = next(iter(store.read_context(instance())))
    assert first.details["agent"] == {
        "name": "calc",
        "framework": "strands",
        "session": "s1",
        "agent": "default",
    }
    assert ContextService(store, instance()).get_state() == {"user": {"name": "Ann"}}
    assert [event.name for event in store.read_context(instance()) if event.type == "TOOL_CALL"] == ["add"]


def test_a_prompt_that_the_program_has_changed_is_the_programs() -> None:
    """And what the agent changed itself comes back where the program's is the same."""
    store = MemoryStore()
    agent = kept(store, [], system_prompt="v1")
    agent.system_prompt = "v1, changed"
    agent("go")
    assert kept(store, [], system_prompt="v1").system_prompt == "v1, changed"
    assert kept(store, []).system_prompt == "v1, changed"
    assert kept(store, [], system_prompt="v2").system_prompt == "v2"


@pytest.mark.parametrize("pinned", [None, 1, 2])
def test_a_window_that_moves_is_brought_back_exactly(pinned: int | None) -> None:
    """With what is pinned in front of it."""
    store = MemoryStore()

    def window() -> SlidingWindowConversationManager:
        return SlidingWindowConversationManager(window_size=4, pin_first=pinned)

    agent = kept(store, [say(f"r{number}") for number in range(6)], conversation_manager=window())
    for number in range(6):
        agent(f"u{number}")
        is_as_it_was(store, agent, conversation_manager=window())
    assert len(agent.messages) <= 6
    agent = kept(store, [say(f"r{number}") for number in range(6, 9)], conversation_manager=window())
    for number in range(6, 9):
        agent(f"u{number}")
        is_as_it_was(store, agent, conversation_manager=window())


def test_a_summary_is_brought_back_in_front_of_what_it_does_not_say() -> None:
    """Once, though the conversation manager has it, too."""
    store = MemoryStore()

    def summary() -> SummarizingConversationManager:
        return SummarizingConversationManager(summary_ratio=0.5, preserve_recent_messages=2)

    agent = kept(store, [say(f"r{number}") for number in range(4)] + [say("so far")], conversation_manager=summary())
    for number in range(4):
        agent(f"u{number}")
    agent.conversation_manager.reduce_context(agent)
    agent._session_manager.sync_agent(agent)  # type: ignore[union-attr]
    assert len(agent.messages) < 8
    is_as_it_was(store, agent, conversation_manager=summary())


def test_a_conversation_manager_of_another_class_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A program may change it; that is said, and the messages are as they were."""
    store = MemoryStore()
    agent = kept(store, [say("r")])
    agent("u")
    again = kept(store, [], conversation_manager=SummarizingConversationManager())
    assert again.messages == agent.messages
    assert "no SlidingWindowConversationManager any more" in caplog.text


def test_what_is_done_to_the_messages_directly_is_seen() -> None:
    """At the end of a call at the latest: inserted, changed inside, removed, another list."""
    store = MemoryStore()
    agent = kept(store, [say("r0"), say("r1"), say("r2"), say("r3")])
    agent("u0")
    agent.messages.insert(0, {"role": "user", "content": [{"text": "first"}]})
    agent("u1")
    is_as_it_was(store, agent)
    agent.messages[1]["content"][0]["text"] = "other"  # type: ignore[index]
    agent("u2")
    is_as_it_was(store, agent)
    agent.messages = agent.messages[2:]
    del agent.messages[0]
    agent("u3")
    is_as_it_was(store, agent)


def test_messages_that_are_told_of_together_are_written_once() -> None:
    """Strands has put all of them in its list before it tells of the first; what is in no list is written, too."""
    store = MemoryStore()
    agent = kept(store, [])
    told: list[Any] = [
        {"role": role, "content": [{"text": str(number)}]}
        for number, role in enumerate(("user", "assistant", "user", "assistant"))
    ]
    agent.messages += told
    for message in told:
        agent._session_manager.append_message(message, agent)  # type: ignore[union-attr]
    assert folded(store) == told
    agent._session_manager.append_message({"role": "user", "content": [{"text": "beside"}]}, agent)  # type: ignore[union-attr]
    assert len(folded(store)) == 5


def test_messages_that_a_program_begins_with_are_written_once() -> None:
    """Strands gives them ids of its own as it begins."""
    store = MemoryStore()
    given: list[Any] = [{"role": "user", "content": [{"text": "q"}]}, {"role": "assistant", "content": [{"text": "a"}]}]
    agent = kept(store, [say("r")], messages=given)
    agent("u")
    is_as_it_was(store, agent)
    types = [event.type for event in store.read_context(instance())]
    assert types.count("ASSISTANT_MESSAGE") == 2
    assert "CONTEXT_REPLACED" not in types


def test_an_interrupted_agent_goes_on_in_another_process() -> None:
    """Its questions are as they were, and so is what the tools had done."""
    store = MemoryStore()
    asked = kept(store, [call(("ask", {"question": "go on?"}), ("add", {"a": 1, "b": 2}))])("ask")
    assert asked.stop_reason == "interrupt"
    again = kept(store, [say("done")])
    result = again(answers(asked))
    assert str(result).strip() == "done"
    assert "they said yes" in json.dumps(again.messages)
    is_as_it_was(store, again)


class Guarded(ScriptedModel):
    """A model whose guardrail redacts what it is asked."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        async for event in super().stream(messages, *args, **kwargs):
            yield event
        if SECRET in json.dumps(messages):
            yield {"redactContent": {"redactUserContentMessage": "[redacted]"}}


@pytest.mark.parametrize("of_tool", [False, True])
def test_what_a_guardrail_redacts_is_at_rest_nowhere(tmp_path: Path, of_tool: bool) -> None:
    """Neither what the user said, nor what a tool returned."""
    store = open_store(f"sqlite:///{tmp_path}/journal.db")

    @tool
    def say_secret() -> str:
        """Say it."""
        return SECRET

    turns = [call(("say_secret", {})), say("no")] if of_tool else [say("no")]
    agent = kept(store, [], model=Guarded(turns), tools=[say_secret])
    agent("what is it?" if of_tool else SECRET)
    assert SECRET not in json.dumps(agent.messages)
    is_as_it_was(store, agent)
    store.close()
    for path in tmp_path.iterdir():
        assert SECRET.encode() not in path.read_bytes()


def test_a_crash_within_a_tool_is_mended_by_an_event() -> None:
    """What Strands puts in the place of the result is an event that says so, and what the model gets is the fold."""
    store = MemoryStore()
    model = ScriptedModel([say("sorry")])
    told: list[Any] = []

    @tool
    def die() -> str:
        """Never end: what another process sees then is what a crash leaves."""
        again = kept(store, [], model=model, tools=[])
        again("go on")
        told.extend([again.messages, folded(store)])
        return "too late"

    kept(store, [call(("die", {}))], tools=[die])("go")
    messages, seen = told
    assert model.asked[0] == [{"role": one["role"], "content": one["content"]} for one in messages[:-1]]
    assert messages == seen
    assert "Tool was interrupted." in json.dumps(messages)
    repairs = [event for event in store.read_context(instance()) if event.details.get("repair")]
    assert len(repairs) == 1


def test_two_processes_on_one_session_lose_nothing() -> None:
    """Each goes on with what it had; who comes later has all of both."""
    store = MemoryStore()
    one, other = kept(store, [say("r0"), say("r2")]), kept(store, [say("r1"), say("r3")])
    one("u0")
    other("u1")
    one("u2")
    other("u3")
    texts = [message["content"][0]["text"] for message in kept(store, []).messages]
    assert texts == ["u0", "r0", "u1", "r1", "u2", "r2", "u3", "r3"]


def test_a_graph_goes_on_where_it_was_interrupted() -> None:
    """And one that has ended begins anew."""
    store = MemoryStore()

    def made(first: list[Any]) -> Any:
        return agents.graph(
            {"a": agents.agent(first, session=None, name="a"), "b": agents.agent([say("b")], session=None, name="b")},
            [("a", "b")],
            session_manager=JournalSessionManager("s1", store),
        )

    asked = made([call(("ask", {"question": "go on?"}))])("go")
    assert asked.status.value == "interrupted"
    result = made([say("a")])(answers(asked))
    assert result.status.value == "completed"
    assert [node.node_id for node in result.execution_order] == ["a", "b"]
    said = next(iter(store.read_context(instance("multi_agent/default_graph"))))
    assert said.details["agent"]["agent"] == "multi_agent/default_graph"
    assert made([say("a")])("again").status.value == "completed"


def test_a_swarm_is_kept() -> None:
    """Its state is that of its last node."""
    store = MemoryStore()
    swarm = agents.swarm(
        agents.agent(
            [call(("handoff_to_agent", {"agent_name": "b", "message": "you"})), say("a")], session=None, name="a"
        ),
        agents.agent([say("b")], session=None, name="b"),
        session_manager=JournalSessionManager("s1", store),
    )
    swarm("go")
    state = ContextService(store, instance("multi_agent/default_swarm")).get_state()
    assert state == json.loads(json.dumps(swarm.serialize_state()))


def test_what_does_not_fit_is_said() -> None:
    """Two agents of one id, an agent of another session, nothing to redact."""
    store = MemoryStore()
    manager = JournalSessionManager("s1", store)
    agent = agents.agent([], session=None, session_manager=manager)
    with pytest.raises(SessionException, match="must be unique"):
        agents.agent([], session=None, session_manager=manager)
    with pytest.raises(SessionException, match="No message to redact"):
        manager.redact_latest_message({"role": "user", "content": []}, agent)
    with pytest.raises(SessionException, match="give it its session_manager"):
        manager.sync_agent(agents.agent([], session=None, agent_id="other"))


def test_off_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENT_JOURNAL_CONTEXT=off."""
    monkeypatch.setenv("AGENT_JOURNAL_CONTEXT", "off")
    store = MemoryStore()
    manager = JournalSessionManager("s1", store)
    agent = agents.agent([say("r")], session=None, session_manager=manager)
    agent("u")
    manager.sync_agent(agent)
    manager.redact_latest_message(agent.messages[-1], agent)
    manager.close()
    assert list(store.session_ids()) == []


def test_an_instance_is_of_the_session_around_it(tmp_path: Path) -> None:
    """Else of Strands' own."""
    store = open_store(f"sqlite:///{tmp_path}/journal.db")
    with session("outer"):
        kept(store, [say("r")])("u")
    assert [*store.instances("outer")] == [instance()]
    kept(store, [say("r")], "s2")("u")
    assert [*store.instances("s2")] == [instance(session_id="s2")]
    store.close()
