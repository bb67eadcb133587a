"""Strands agents of a session that is gone on with: what was left is done first, what was done is not done again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import context as context_api
from strands import Agent, tool
from strands.types.exceptions import EventLoopException

from otel_agent_journal import ContextService, JournalSessionManager
from otel_agent_journal.bootstrap.going_back import instance_of_fork
from otel_agent_journal.bootstrap.resuming import agents_named
from otel_agent_journal.event import derived_id
from otel_agent_journal.frameworks.strands.going_back import KEEPER
from otel_agent_journal.frameworks.strands.serving import raw_of_result, result_of
from otel_agent_journal.pipeline.resuming import (
    Receipt,
    Receipts,
    Resumption,
    begin_resumption,
    end_resumption,
)
from otel_agent_journal.pipeline.session_writer import SESSION_KEY
from otel_agent_journal.reading.agents import agents_of
from otel_agent_journal.reading.tool_calls import ToolCall
from otel_agent_journal.store.lineage import fork
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.agents import answers
from tests.frameworks.strands.recording import StrandsRecording

INSTANCE = derived_id("strands:s1:default")


def kept(store: MemoryStore, turns: list[Any], session_id: str = "s1", **options: Any) -> Agent:
    manager = JournalSessionManager(session_id, store)
    return agents.agent(turns, session=None, session_manager=manager, **options)


@contextmanager
def resumed(store: MemoryStore, session_id: str = "s1", **options: Any) -> Iterator[None]:
    calls: list[ToolCall] = options.pop("calls", [])
    once: list[ToolCall] = options.pop("once", [])
    one = Resumption(session_id, lambda: agents_named(store, session_id), lambda: Receipts(calls, once), **options)
    begin_resumption(one)
    try:
        yield
    finally:
        end_resumption(one)


def left_within(store: MemoryStore, turns: list[Any]) -> None:
    """Leave a context as a crash within a model call or a tool does: without what came after."""
    agent = kept(store, turns)
    with pytest.raises(RuntimeError):
        agent("go")


class Gone(RuntimeError):
    pass


def test_an_open_question_is_answered_first() -> None:
    """Whatever the program says: its own words come with its next call."""
    store = MemoryStore()
    left_within(store, [Gone()])
    with resumed(store):
        model = ScriptedModel([say("first"), say("second")])
        agent = kept(store, [], model=model)
        assert str(agent("again")) == "first\n"
        assert str(agent("more")) == "second\n"
    assert [[one["content"][0]["text"] for one in asked] for asked in model.asked] == [["go"], ["go", "first", "more"]]


def test_two_sessions_of_strands_in_one_of_the_journal() -> None:
    """Agents of one id in both go on each with its own; in a fork they are two as well."""
    store = MemoryStore()
    token = context_api.attach(context_api.set_value(SESSION_KEY, "shop"))
    try:
        for name in ("left", "right"):
            kept(store, [say("hello")], name)(f"I am {name}")
    finally:
        context_api.detach(token)
    with resumed(store, "shop"):
        for name in ("right", "left"):
            agent = kept(store, [say("again")], name)
            assert [block["text"] for block in agent.messages[0]["content"]] == [f"I am {name}"]
    both = list(agents_of(store, "shop"))
    assert len({instance_of_fork("what-if", one, both) for one in both}) == 2
    assert instance_of_fork("what-if", both[0], both[:1]) == derived_id("strands:what-if:default")


async def test_however_it_is_called() -> None:
    """Streamed, or awaited."""
    for way in ("stream", "await"):
        store = MemoryStore()
        left_within(store, [Gone()])
        with resumed(store):
            agent = kept(store, [say("first")])
            if way == "await":
                await agent.invoke_async("again")
            else:
                assert [event async for event in agent.stream_async("again")]
        assert len(agent.messages) == 2


def test_what_is_finished_takes_the_programs_words() -> None:
    """As the next turn."""
    store = MemoryStore()
    kept(store, [say("first")])("go")
    with resumed(store):
        agent = kept(store, [say("second")])
        agent("more")
    assert len(agent.messages) == 4


def test_an_interrupted_agent_takes_its_answers() -> None:
    """They are the program's words."""
    store = MemoryStore()
    asked = kept(store, [call(("ask", {"question": "go on?"}))])("ask")
    with resumed(store):
        assert str(kept(store, [say("done")])(answers(asked))) == "done\n"


def test_completed_calls_of_one_id_are_served_each_its_own() -> None:
    """The arguments decide where a model has given one id to several calls."""
    calls = [
        ToolCall(
            session_id="s1",
            number=number,
            step_id=f"step{number}",
            name="count",
            call_id="c1",
            arguments={"a": number},
            outcome="ok",
            whole=True,
            output=number,
            start_ns=number,
        )
        for number in range(2)
    ]
    receipts = Receipts(calls)
    for number in (1, 0):
        found = receipts.find("count", "c1", {"a": number})
        assert found is not None
        assert found.output == number
    assert receipts.find("count", "c1", {"a": 2}) is None


def test_tools_that_were_completed_are_not_called_again(recording: StrandsRecording) -> None:
    """Their results are served, and their steps say so; the others are called."""
    store = MemoryStore()
    called: list[int] = []

    @tool
    def count(a: int) -> int:
        """Count."""
        called.append(a)
        return a

    agent = kept(store, [call(("count", {"a": 1}, "c1"), ("count", {"a": 2}, "c2")), Gone()], tools=[count])
    with pytest.raises(EventLoopException):
        agent("go")
    assert sorted(called) == [1, 2]
    called.clear()
    context = ContextService(store, INSTANCE)
    asked = [number for number, one in enumerate(context.replay_from_sequence(0)) if one.type == "TOOL_CALL"]
    context.truncate_after_sequence(asked[-1])
    completed = ToolCall(
        session_id="s1",
        step_id="0" * 32,
        number=3,
        name="count",
        start_ns=1,
        call_id="c1",
        arguments={"a": 1},
        output={"role": "tool", "content": "1", "tool_call_id": "c1"},
        outcome="ok",
        whole=True,
    )
    with resumed(store, calls=[completed]):
        again = kept(store, [say("done")], tools=[count])
        assert str(again("go")) == "done\n"
    assert called == [2]
    results = [block["toolResult"] for block in again.messages[2]["content"]]
    assert [(one["toolUseId"], one["content"]) for one in results] == [("c1", [{"text": "1"}]), ("c2", [{"text": "2"}])]
    steps = [step for step in recording.steps_of(recording.sessions["s1"]).steps if step.kind == "TOOL"]
    assert [step.last.details_end.get("served") for step in steps] == ["0" * 32, None]
    assert [len(step.attempts) for step in steps] == [2, 2]


def test_what_may_not_be_called_with_other_arguments_stops_the_agent() -> None:
    """Once means once: it says what was called, and with what."""
    store = MemoryStore()
    called: list[int] = []

    @tool
    def pay(a: int) -> int:
        """Pay."""
        called.append(a)
        return a

    paid = ToolCall(
        session_id="s0",
        step_id="0" * 32,
        number=3,
        name="pay",
        start_ns=1,
        arguments={"a": 1},
        outcome="ok",
        whole=True,
    )
    with resumed(store, once=[paid]):
        result = kept(store, [call(("pay", {"a": 2}))], tools=[pay])("pay")
    assert called == []
    assert result.stop_reason == "cancelled"
    assert "is about to be called with" in str(result)


def test_each_step_says_on_which_point_of_the_context_it_ran(recording: StrandsRecording) -> None:
    """What the model was asked is what is in the context there."""
    store = MemoryStore()
    agent = kept(store, [call(("add", {"a": 1, "b": 2})), say("3")])
    agent("add")
    context = ContextService(store, INSTANCE)
    seen = []
    for step in recording.steps_of(recording.sessions["s1"]).steps:
        said = step.attempts[0].details_start.get("context")
        if step.kind in ("MODEL", "TOOL"):
            assert said is not None
            assert said["instance"] == INSTANCE
            seen.append(context.get_messages(said["seq"]))
    assert seen == [agent.messages[:1], agent.messages[:2], agent.messages[:3]]


def test_a_fork_goes_on_in_an_instance_of_its_own() -> None:
    """The program still names the session that it was forked from."""
    store = MemoryStore()
    kept(store, [say("one"), say("two")])("go")
    count = ContextService(store, INSTANCE).get_last_sequence() + 1
    fork(store, INSTANCE, count, derived_id("strands:s2:default"), "s2", now_ns=1)
    with resumed(store, "s2", bases=["s1"]):
        agent = kept(store, [say("other")])
        agent("more")
    assert len(ContextService(store, INSTANCE).get_messages()) == 2
    assert kept(store, [], "s2").messages == agent.messages
    assert len(agent.messages) == 4


def test_a_context_is_shown_as_the_openai_api_has_it() -> None:
    """With the system prompt in front; another state may be put in the place of the agent's."""
    store = MemoryStore()
    agent = kept(store, [call(("add", {"a": 1, "b": 2}), text="let me"), say("3")], system_prompt="You add.")
    agent.state.set("user", "Ann")
    agent("add")
    (context,) = agents_of(store, "s1")
    said = KEEPER.said(store, context, context.count, None)
    assert said["messages"] == [
        {"role": "system", "content": "You add."},
        {"role": "user", "content": "add"},
        {
            "role": "assistant",
            "content": "let me",
            "tool_calls": [
                {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a":1,"b":2}'}}
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "call-1"},
        {"role": "assistant", "content": "3"},
    ]
    assert said["state"] == {"user": "Ann"}
    KEEPER.set_state(store, context, {"user": "Bob", "more": 1})
    again = kept(store, [])
    assert again.state.get() == {"user": "Bob", "more": 1}
    assert again.system_prompt == "You add."


@pytest.mark.parametrize(
    "result",
    [
        {"toolUseId": "c", "status": "success", "content": [{"text": "3"}]},
        {"toolUseId": "c", "status": "success", "content": []},
        {"toolUseId": "c", "status": "success", "content": [{"json": {"a": 1}}, {"text": "b"}]},
        {"toolUseId": "c", "status": "success", "content": [{"image": {"source": {"bytes": b"\x89"}}}]},
        {"toolUseId": "c", "status": "success", "content": [{"text": ""}], "more": 1},
    ],
)
def test_a_result_is_made_again_of_its_receipt(result: dict[str, Any]) -> None:
    """Exactly, bytes included."""
    import msgspec

    from otel_agent_journal.mapping.converse import plain_result
    from otel_agent_journal.plain import plain

    kept_as = msgspec.to_builtins(plain({"output": plain_result(result), "raw": raw_of_result(result)}))
    receipt = Receipt(step_id="0" * 32, output=kept_as["output"], raw=kept_as["raw"])
    assert result_of(receipt, "c") == result
