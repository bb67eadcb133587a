"""What is said: messages once, what a model thought and streamed, what it used; and nothing where that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from strands import Agent, tool

from otel_agent_journal.codec import encode_line
from otel_agent_journal.event import Usage
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import WAYS, StrandsRecording, strands_recording_at

SECRET = "hunter2"


def journaled(recording: StrandsRecording) -> str:
    """Everything in the journal, as text."""
    return "\n".join(encode_line(event).decode() for events in recording.sessions.values() for event in events)


def said_in(details: Any) -> list[tuple[str, Any]]:
    """Roles and contents of the messages that a START holds."""
    return [(message["role"], message["content"]) for message in details["messages"]]


def models_of(recording: StrandsRecording) -> list[Any]:
    """The attempts at model calls."""
    return [one for step in recording.steps.walk() if step.kind == "MODEL" for one in step.attempts]


def secretive() -> Any:
    """An agent all of whose messages say a secret."""

    @tool
    def tell(what: str) -> str:
        """Tell it."""
        return f"it is {SECRET}"

    @tool
    def fail(what: str) -> str:
        """Fail with it."""
        raise LookupError("not to be had")

    turns = [
        say(f"it may be {SECRET}", thought=f"I think of {SECRET}"),
        call(("tell", {"what": SECRET}), ("fail", {"what": SECRET}), text=f"I ask for {SECRET}"),
        say(f"it is {SECRET}"),
    ]
    return agents.agent(turns, tools=[tell, fail], system_prompt=f"Never say {SECRET}.")


def run_secretive() -> None:
    """Run such an agent, and one that asks about the secret."""
    agent = secretive()
    agent(f"is it {SECRET}?")
    agent(f"tell {SECRET}")
    asking = agents.agent([call(("ask", {"question": f"{SECRET}?"})), say(f"{SECRET}!")])
    asking(agents.answers(asking("go"), response=SECRET))
    agents.graph({"a": agents.agent([say(SECRET)], name="a", session=None)})(f"go {SECRET}")


@pytest.mark.parametrize("way", WAYS)
def test_content_off(tmp_path: Path, way: str) -> None:
    """Without content no word of a message is in the journal, and its steps are the same but for what errors say."""
    with strands_recording_at(tmp_path / "off", way, content=False) as recording:
        run_secretive()
        recording.check()
        assert SECRET not in journaled(recording)
        off = [recording.tree(session=name, details=False) for name in sorted(recording.sessions)]
        assert not [line for line in "\n".join(off).splitlines() if "CHUNK" in line or "REASONING" in line]
    with strands_recording_at(tmp_path / "on", way) as recording:
        run_secretive()
        on = [recording.tree(session=name, details=False) for name in sorted(recording.sessions)]
        assert SECRET in journaled(recording)
    streamed = ("· CHUNK", "· REASONING")
    assert sorted(map(unsaid, "\n".join(off).splitlines())) == sorted(
        unsaid(line) for line in "\n".join(on).splitlines() if not line.strip().startswith(streamed)
    )


def unsaid(line: str) -> str:
    """Return a line without what its error says."""
    return re.sub(r"""\(['"].*['"]\)""", "()", line)


def test_an_error_that_is_content(recording_without_content: StrandsRecording) -> None:
    """Without content, what a tool answers as its error is not journaled either; that it failed is."""

    @tool
    def refuse() -> dict[str, Any]:
        """Refuse, and say the secret."""
        return {"status": "error", "content": [{"text": SECRET}]}

    agents.agent([call(("refuse", {})), say("done")], tools=[refuse])("go")
    assert SECRET not in journaled(recording_without_content)
    assert recording_without_content.attempt("refuse").outcome == "error"


def test_a_redactor(tmp_path: Path) -> None:
    """A redactor sees every text before it is journaled; the agent's own messages are left as they are."""

    def redact(path: str, value: Any) -> Any:
        return json.loads(json.dumps(value).replace(SECRET, "***"))

    with strands_recording_at(tmp_path / "spool", redactor=redact) as recording:
        run_secretive()
        agent = secretive()
        agent(f"is it {SECRET}?")
        recording.check()
        assert SECRET not in journaled(recording)
        assert "***" in journaled(recording)
        assert SECRET in json.dumps(agent.messages)


def test_messages_are_journaled_once(recording: StrandsRecording) -> None:
    """Over a long loop each message is journaled once: the START of loop 50 holds only what is new."""
    turns = [*(call(("add", {"a": number, "b": 0})) for number in range(50)), say("done")]
    agent = agents.agent(turns)
    agent("count to fifty")
    starts = [one.details_start for one in models_of(recording)]
    assert len(starts) == 51
    assert said_in(starts[0]) == [("user", "count to fifty")]
    assert [start["messages"] for start in starts[1:]] == [[]] * 50
    told = [start["request"]["messages"] for start in starts]
    assert [one["count"] for one in told] == [2 * loop + 1 for loop in range(51)]
    assert len({one["digest"] for one in told}) == 51
    sizes = [len(encode_line(event)) for event in recording.events if event.type == "MODEL_START"]
    assert sizes[-1] < sizes[5] + 100
    agent("and now?")
    assert said_in(models_of(recording)[-1].details_start) == [("user", "and now?")]


@pytest.mark.parametrize("how", ["replaced", "changed in place"])
def test_a_result_that_a_hook_changes(recording: StrandsRecording, how: str) -> None:
    """A tool's result that a hook changes is journaled as the tool gave it, and again as the model sees it."""
    from strands.hooks import AfterToolCallEvent

    def polish(event: AfterToolCallEvent) -> None:
        if how == "replaced":
            event.result = {**event.result, "content": [{"text": "polished"}]}
        else:
            event.result["content"][0]["text"] = "polished"

    agent = agents.adding()
    agent.add_hook(polish, AfterToolCallEvent)
    agent("go")
    assert recording.attempt("add").details_end["output"]["content"] == "3"
    (shown,) = models_of(recording)[1].details_start["messages"]
    assert shown["content"] == "polished"


def test_an_answer_that_a_hook_changes(recording: StrandsRecording) -> None:
    """An answer that a hook of the program's changes in place is journaled as given, and as the model sees it again."""
    from strands.hooks import MessageAddedEvent

    def polish(event: MessageAddedEvent) -> None:
        if event.message["role"] == "assistant" and "text" in event.message["content"][0]:
            event.message["content"][0]["text"] = "polished"

    agent = agents.agent([say("raw"), say("done")])
    agent.add_hook(polish, MessageAddedEvent)
    agent("first")
    agent("second")
    first, second = models_of(recording)
    assert first.details_end["output"]["content"] == "raw"
    assert [message["content"] for message in second.details_start["messages"]] == ["polished", "second"]


def test_messages_that_are_dropped(recording: StrandsRecording) -> None:
    """A history that a conversation manager cuts is told by count and digest; what is left is not journaled again."""
    from strands.agent.conversation_manager import SlidingWindowConversationManager

    agent = agents.agent(
        [say(str(number)) for number in range(6)],
        conversation_manager=SlidingWindowConversationManager(window_size=2),
    )
    for number in range(6):
        agent(f"question {number}")
    starts = [one.details_start for one in models_of(recording)]
    assert [said_in(start) for start in starts] == [[("user", f"question {number}")] for number in range(6)]
    assert len(agent.messages) <= 2


def test_a_history_that_comes_along(recording: StrandsRecording) -> None:
    """A history that an agent is made with is journaled with its first model call."""
    history: Any = [
        {"role": "user", "content": [{"text": "before"}]},
        {"role": "assistant", "content": [{"text": "said before"}]},
    ]
    agents.agent([say("x")], messages=history)("now")
    (one,) = models_of(recording)
    assert [message["content"] for message in one.details_start["messages"]] == ["before", "said before", "now"]


def test_the_same_text_twice(recording: StrandsRecording) -> None:
    """A question that is asked twice is journaled twice."""
    agent = agents.agent([say("yes"), say("yes")])
    agent("sure?")
    agent("sure?")
    assert [said_in(one.details_start) for one in models_of(recording)] == [[("user", "sure?")]] * 2
    assert [one.details_start["request"]["messages"]["count"] for one in models_of(recording)] == [1, 3]


def test_system_instructions_are_journaled_once(recording: StrandsRecording) -> None:
    """An agent's instructions are the first message of its first model call, and told again when they change."""
    agent = agents.agent([say("a"), say("b"), say("c")], system_prompt="Be brief.")
    agent("1")
    agent("2")
    agent.system_prompt = "Be long."
    agent("3")
    told = [said_in(one.details_start) for one in models_of(recording)]
    assert told == [[("system", "Be brief."), ("user", "1")], [("user", "2")], [("system", "Be long."), ("user", "3")]]


def test_reasoning(scenario: StrandsRecording, snapshot: Any) -> None:
    """What a model thought is a REASONING event, and a block of its answer, which it is shown again."""
    agents.agent([say("It is 3.", thought="One and two is three.")])("1 + 2?")
    scenario.matches(snapshot)


class Thinking(ScriptedModel):
    """A model that streams thoughts, signs them, and keeps some to itself."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Stream thoughts, then an answer."""
        thoughts = ({"text": "hm, "}, {"text": "three"}, {"signature": "sig"}), ({"redactedContent": b"0x"},)
        yield {"messageStart": {"role": "assistant"}}
        for block in thoughts:
            yield {"contentBlockStart": {"start": {}}}
            for delta in block:
                yield {"contentBlockDelta": {"delta": {"reasoningContent": delta}}}
            yield {"contentBlockStop": {}}
        async for event in super().stream(messages, *args, **kwargs):
            if "messageStart" not in event:
                yield event


def test_thoughts_with_their_signature(recording: StrandsRecording) -> None:
    """Thoughts are journaled as they are streamed, once; the answer's content has them with their signature."""
    Agent(model=Thinking([say("It is 3.")]), callback_handler=None)("1 + 2?")
    (one,) = models_of(recording)
    assert "".join(note.details["text"] for note in one.notes if note.type == "REASONING") == "hm, three"
    assert one.details_end["output"]["role"] == "assistant"
    first, hidden, answer = one.details_end["output"]["content"]
    assert first == {"reasoningContent": {"reasoningText": {"text": "hm, three", "signature": "sig"}}}
    assert "redactedContent" in hidden["reasoningContent"]
    assert answer == {"text": "It is 3."}


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
def test_answers_kept_back(recording: StrandsRecording, reason: str) -> None:
    """An answer that a guardrail or a filter kept back is a warning."""
    agents.agent([say("no", stop=reason)])("go")
    (one,) = models_of(recording)
    assert [note.details["message"] for note in one.notes if note.type == "WARNING"] == [
        f"the model's answer was stopped: {reason}"
    ]


def test_streamed_text(recording: StrandsRecording) -> None:
    """What a model streams is in the journal as it comes, at most four times a second, and whole in the end."""
    text = " ".join(f"word{number}" for number in range(60))
    agents.agent([say(text)], delay_s=0.01)("go")
    (one,) = models_of(recording)
    chunks = [note.details["text"] for note in one.notes if note.type == "CHUNK"]
    assert "".join(chunks) == text
    assert 2 <= len(chunks) <= 6


USED = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        (USED, Usage(input_tokens=10, output_tokens=5)),
        (
            {**USED, "totalTokens": 115, "cacheReadInputTokens": 60, "cacheWriteInputTokens": 40},
            Usage(input_tokens=110, output_tokens=5, cache_read_tokens=60, cache_write_tokens=40),
        ),
        (
            {"inputTokens": 110, "outputTokens": 5, "totalTokens": 115, "cacheReadInputTokens": 60},
            Usage(input_tokens=110, output_tokens=5, cache_read_tokens=60),
        ),
        ({"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}, None),
    ],
    ids=["plain", "cached beside", "cached within", "none"],
)
def test_usage(recording: StrandsRecording, given: dict[str, int], counted: Usage | None) -> None:
    """Tokens are those of the one call, with the cached ones counted in, whether the provider does so or not."""
    agents.agent([], model=ScriptedModel([call(("add", {"a": 1, "b": 2})), say("3")], usage=given))("go")
    assert [one.usage for one in models_of(recording)] == [counted, counted]
    span = next(span for span in recording.spans if span.name == "chat")
    if counted is not None:
        assert span.attributes["gen_ai.usage.input_tokens"] == counted.input_tokens
    head = recording.store.head(agents.SESSION)
    assert head.input_tokens == (2 * counted.input_tokens if counted else 0)


def test_media(recording: StrandsRecording) -> None:
    """An image or a document that the model is shown is in the journal once, with its format and name."""
    data = b"\x89PNG" * 1000
    image: Any = {"image": {"format": "png", "source": {"bytes": data}}}
    document: Any = {"document": {"format": "pdf", "name": "report", "source": {"bytes": data}}}
    agent = agents.agent([say("nice"), say("and?")])
    agent([{"text": "look"}, image, document])
    agent("go on")
    first, second = models_of(recording)
    (message,) = first.details_start["messages"]
    text, shown, read = message["content"]
    assert text == {"text": "look"}
    assert (shown["image"]["format"], read["document"]["name"]) == ("png", "report")
    assert said_in(second.details_start) == [("user", "go on")]


def test_content_that_cannot_be_read(recording: StrandsRecording) -> None:
    """A tool's input or result that no JSON holds costs itself, not its step, and never the agent."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("unreadable")

    @tool
    def odd() -> dict[str, Any]:
        """Answer oddly."""
        return {"status": "success", "content": [{"json": {"odd": Odd()}}]}

    agent = agents.agent([call(("odd", {})), say("done")], tools=[odd])
    try:
        agent("go")
    except (RuntimeError, TypeError):  # Strands itself may fail on it, when it shows it on its spans
        pass
    assert recording.attempt("odd").outcome in ("ok", "error")


def test_content_that_is_too_large(tmp_path: Path) -> None:
    """A tool's result over the limit of a field is a reference to a blob, never cut."""

    @tool
    def large() -> str:
        """Answer at length."""
        return "x" * 10_000

    with strands_recording_at(tmp_path / "spool", field_limit_bytes=1000) as recording:
        agents.agent([call(("large", {})), say("done")], tools=[large])("go")
        recording.check()
        assert "x" * 2000 not in journaled(recording)
