"""Each message once, over all processes of a session, in the order in which it was said."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.request import parts_of
from otel_agent_journal.reading.conversation import as_text, conversation
from otel_agent_journal.testing.builders import JournalBuilder, an_event
from tests.mapping.recordings import DIALECTS, played, request
from tests.mapping.test_received import journaled


def said_in(events: list[JournalEvent]) -> list[Any]:
    """Return what was said, message by message."""
    return [message["content"] for message in conversation(lambda: events)]


class Process:
    """A process that calls a model with lists of messages, and tells them as our recorder does: by keys."""

    def __init__(self, builder: JournalBuilder, writer: str) -> None:
        self._builder = builder
        self._writer = writer
        self._told: set[str] = set()
        self._before: list[str] = []

    def call(self, messages: list[tuple[str, str]], answer: str | None = None, **more: Any) -> None:
        """Call a model. What this process has not told yet is told whole."""
        builder, builder.writer = self._builder, self._writer
        keys = [f"{role}:{text}" for role, text in messages]
        new = []
        for key, (role, text) in zip(keys, messages, strict=True):
            if key not in self._told:
                self._told.add(key)
                new.append({"role": role, "content": text, "digest": key, **more.get("ids", {}).get(text, {})})
        told: dict[str, Any] = {"digest": "|".join(keys), "count": len(keys), "parts": parts_of(keys, self._before)}
        if self._before:
            told["after"] = "|".join(self._before)
        self._before = keys
        step = builder.start("MODEL", "m", details={"request": {"messages": told}, "messages": new})
        if answer is None:
            builder.end(step, "error")
            return
        self._told.add(f"assistant:{answer}")
        builder.end(step, details={"output": {"role": "assistant", "content": answer, "digest": f"assistant:{answer}"}})


def turns(*said: str, system: str | None = "sys") -> list[tuple[str, str]]:
    """Return messages of a user and an assistant who take turns."""
    return [*([("system", system)] if system else []), *zip(cycle(("user", "assistant")), said, strict=False)]


def test_every_process_tells_the_whole_thread() -> None:
    """What the ones before have said is left out."""
    builder = JournalBuilder()
    Process(builder, "w1").call(turns("q1"), "a1")
    Process(builder, "w2").call(turns("q1", "a1", "q2"), "a2")
    third = Process(builder, "w3")
    third.call(turns("q1", "a1", "q2", "a2", "q3"), "a3")
    third.call(turns("q1", "a1", "q2", "a2", "q3", "a3", "q4"), "a4")
    assert said_in(builder.events) == ["sys", "q1", "a1", "q2", "a2", "q3", "a3", "q4", "a4"]


def test_a_user_says_the_same_again() -> None:
    """In the same process and in the next; a call that is made again says nothing anew."""
    builder = JournalBuilder()
    first = Process(builder, "w1")
    first.call(turns("yes"), "a1")
    first.call(turns("yes", "a1", "yes"), "a2")
    Process(builder, "w2").call(turns("yes", "a1", "yes", "a2", "yes"))
    Process(builder, "w3").call(turns("yes", "a1", "yes", "a2", "yes"), "a3")
    assert said_in(builder.events) == ["sys", "yes", "a1", "yes", "a2", "yes", "a3"]


def test_a_window_repeats_nothing() -> None:
    """What is shown again of a history that was trimmed was said before."""
    builder = JournalBuilder()
    Process(builder, "w1").call(turns("q1", "a1", "q2", "a2", "q3"), "a3")
    Process(builder, "w2").call([("system", "sys"), ("user", "q3"), ("assistant", "a3"), ("user", "q4")], "a4")
    assert said_in(builder.events) == ["sys", "q1", "a1", "q2", "a2", "q3", "a3", "q4", "a4"]


def test_messages_are_known_by_their_own_ids() -> None:
    """Of the same words with another id somebody says them again; with the same id nobody does."""
    builder = JournalBuilder()
    Process(builder, "w1").call([("user", "yes")], "a1", ids={"yes": {"id": "1"}})
    Process(builder, "w2").call([("user", "yes")], "a2", ids={"yes": {"id": "1"}})
    Process(builder, "w3").call([("user", "yes")], "a3", ids={"yes": {"id": "2"}})
    assert said_in(builder.events) == ["yes", "a1", "a2", "yes", "a3"]


def test_two_models_are_asked_the_same() -> None:
    """A question that is put to two nodes is heard once."""
    builder = JournalBuilder()
    process = Process(builder, "w1")
    process.call(turns("q"), "to search")
    process.call(turns("q"), "found")
    assert said_in(builder.events) == ["sys", "q", "to search", "found"]


def test_an_answer_that_was_journaled_without_a_key() -> None:
    """It is known again by what it says, as those of Bedrock's agents are."""
    builder = JournalBuilder()
    process = Process(builder, "w1")
    process.call(turns("q1"), None)
    builder.end(builder.start("MODEL", "m"), details={"output": "a1"})
    process.call(turns("q1", "a1", "q2"), "a2")
    assert said_in(builder.events) == ["sys", "q1", "a1", "q2", "a2"]


def test_a_list_that_nobody_told() -> None:
    """What is new of it is all that can be said."""
    builder = JournalBuilder()
    told = {"digest": "x", "after": "gone", "parts": [[0, 3], "user:q"]}
    new = [{"role": "user", "content": "q", "digest": "user:q"}]
    builder.start("MODEL", "m", details={"request": {"messages": told}, "messages": new})
    assert said_in(builder.events) == ["q"]


def by_hand(*calls: tuple[list[tuple[str, str]] | str, str | None]) -> list[JournalEvent]:
    """Return the events of calls that were journaled as they were made, with all that the model was given."""
    builder = JournalBuilder()
    for given, answer in calls:
        messages = given if isinstance(given, str) else [{"role": role, "content": text} for role, text in given]
        step = builder.start("MODEL", "m", details={"input": messages})
        if answer is None:
            builder.end(step, "error")
        else:
            builder.end(step, details={"output": {"role": "assistant", "content": [{"type": "text", "text": answer}]}})
    return builder.events


def test_a_loop_by_hand() -> None:
    """Its history grows, is trimmed, and a call of it is made again."""
    events = by_hand(
        (turns("q1"), None),
        (turns("q1"), "a1"),
        (turns("q1", "a1", "q2"), "a2"),
        (turns("q2", "a2", "q3"), "a3"),
        (turns("q3", "a3", "q3"), "a4"),
    )
    assert said_in(events) == ["sys", "q1", "a1", "q2", "a2", "q3", "a3", "q3", "a4"]


def test_prompts_by_hand() -> None:
    """Each is said, the same one as often as it is put; one that failed and is put again counts once."""
    events = by_hand(("sum up", "a1"), ("sum up", "a2"), ("go on", None), ("go on", "a3"))
    assert said_in(events) == ["sum up", "a1", "sum up", "a2", "go on", "a3"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_calls_that_others_traced(dialect: str) -> None:
    """Each of them has all that was said before it, the system prompt first."""
    events = sorted(journaled(request(played(dialect))), key=lambda event: (event.timestamp_ns, event.event_id))
    found = list(conversation(lambda: events))
    assert (found[0]["role"], found[0]["content"]) == ("system", "Be brief.")
    told = [message["content"] for message in found if message["role"] == "user"]
    assert len(told) > 2
    assert len(set(told)) == len(told)
    assert [str(message["content"]) for message in found].count("Streamed in words.") == 1


def test_thoughts_that_were_streamed() -> None:
    """They are part of the answer that they were thought for, unless that has them itself."""
    builder = JournalBuilder()
    thought = {"type": "thinking", "thinking": "hm"}
    for content in ("a1", [thought, {"type": "text", "text": "a2"}]):
        step = builder.start("MODEL", "m", details={"input": "q"})
        builder.note(step, "REASONING", details={"text": "hm, "})
        builder.note(step, "REASONING", details={"text": "well"})
        builder.note(step, "REASONING", details={"text": None})
        builder.end(step, details={"output": {"role": "assistant", "content": content}})
    answers = [message for message in conversation(lambda: builder.events) if message["role"] == "assistant"]
    assert [message.get("reasoning") for message in answers] == ["hm, well", None]


def test_where_and_by_whom_it_was_said() -> None:
    """Each message has the step, its number where that is given, and the author that it names."""
    builder = JournalBuilder()
    step = builder.start("MODEL", "m", details={"input": [{"role": "user", "content": "q", "name": "ann"}]})
    (found,) = conversation(lambda: builder.events, numbers={step.step_id: 7})
    assert {name: found[name] for name in ("step_id", "number", "name", "author", "role", "content")} == {
        "step_id": step.step_id,
        "number": 7,
        "name": "m",
        "author": "ann",
        "role": "user",
        "content": "q",
    }


def test_contexts_speak_where_no_model_does() -> None:
    """Messages with the calls that are kept behind them, and results."""
    call = {"id": "c1", "name": "look", "args": {"q": 1}}
    use = {"toolUseId": "c2", "name": "look", "input": {}}
    details: list[tuple[str, dict[str, Any]]] = [
        ("SYSTEM_MESSAGE", {"message": {"role": "system", "content": "sys"}}),
        ("USER_MESSAGE", {"message": {"role": "user", "content": "q"}}),
        ("ASSISTANT_MESSAGE", {"message": {"role": "assistant", "content": "a"}, "calls": 1}),
        ("TOOL_CALL", {"call": call}),
        ("TOOL_RESULT", {"message": {"role": "tool", "content": "r", "tool_call_id": "c1"}}),
        ("ASSISTANT_MESSAGE", {"message": {"role": "assistant", "content": [{"text": "b"}, {"toolUse": None}]}}),
        ("TOOL_CALL", {"call": use, "part": True}),
        ("USER_MESSAGE", {"message": {"role": "user", "content": [{"toolResult": None}]}}),
        ("TOOL_RESULT", {"result": {"toolUseId": "c2", "content": [{"text": "s"}]}, "part": True}),
        ("TOOL_CALL", {"call": call}),
        ("TOOL_CALL", {}),
        ("USER_MESSAGE", {"content": "bare"}),
        ("STATE_CHANGED", {"set": {"a": 1}}),
        ("ASSISTANT_MESSAGE", {"message": {"role": "assistant", "content": "last"}}),
    ]
    events = [an_event(at, type=kind, instance_id="i1", seq=at, details=one) for at, (kind, one) in enumerate(details)]
    found = list(conversation(lambda: events))
    assert [(one["role"], one["content"]) for one in found] == [
        ("system", "sys"),
        ("user", "q"),
        ("assistant", "a"),
        ("tool", "r"),
        ("assistant", "b"),
        ("tool", "s"),
        ("assistant", ""),
        ("user", "bare"),
        ("assistant", "last"),
    ]
    assert [one["tool_calls"][0]["id"] for one in found if "tool_calls" in one] == ["c1", "c2", "c1"]
    model = JournalBuilder()
    model.start("MODEL", "m", details={"input": "asked"})
    assert said_in([*events, *model.events]) == ["asked"]


def test_content_as_one_text() -> None:
    """Blocks that are all text; anything else stays as it was given."""
    picture = {"type": "image", "text": "no text"}
    assert as_text([{"type": "text", "text": "a"}, "b", {"text": "c"}]) == "abc"
    assert as_text([picture]) == [picture]
    assert as_text([{"type": "refusal", "refusal": "no"}]) == "no"
    assert as_text([{"type": ["odd"]}]) == [{"type": ["odd"]}]
    assert as_text([7]) == 7
    assert as_text(7) == 7
