"""Each model request rebuilt from the journal is the request that the model saw: messages, tools and parameters."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.middleware import InvokeModelStage

from otel_agent_journal.codec import encode_line, plain
from otel_agent_journal.spool.keeping import KeptFiles
from otel_agent_journal.testing.scripted_strands import ScriptedModel, call, say
from tests.frameworks.requests_told import prompts_of
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording, strands_recording_at

NO_TOOL_SPEC = ("outputSchema",)


class Witness(ScriptedModel):
    """A scripted model that keeps what it was called with."""

    def __init__(self, turns: Any, **options: Any) -> None:
        super().__init__(turns, **options)
        self.seen: list[dict[str, Any]] = []

    async def stream(self, messages: Any, tool_specs: Any = None, system_prompt: Any = None, **kwargs: Any) -> Any:
        """Keep the call, and answer."""
        told = [one for message in copy.deepcopy(messages) for one in as_told(message)]
        content = kwargs.get("system_prompt_content") or ([{"text": system_prompt}] if system_prompt else None)
        if content:
            told.insert(0, {"role": "system", "content": of_blocks(content)})
        params = {name: value for name, value in self.config.items() if name != "model_id"}
        if kwargs.get("tool_choice") is not None:
            params["tool_choice"] = kwargs["tool_choice"]
        tools = [
            {"name": one["name"], "description": one["description"], "parameters": one["inputSchema"]["json"]}
            for one in copy.deepcopy(tool_specs or [])
        ]
        self.seen.append(plain({"messages": told, "tools": tools, "params": params}))
        async for event in super().stream(messages):
            yield event


def of_blocks(blocks: Any) -> Any:
    """Return blocks as content: a text alone as text."""
    return blocks[0]["text"] if len(blocks) == 1 and list(blocks[0]) == ["text"] else blocks


def as_told(message: Any) -> Any:
    """Yield a message as the contract has it: each tool's result as one of its own."""
    said = [one for one in message["content"] if "toolUse" not in one and "toolResult" not in one]
    calls = [one["toolUse"] for one in message["content"] if "toolUse" in one]
    for block in message["content"]:
        if "toolResult" in block:
            result = block["toolResult"]
            yield {"role": "tool", "content": of_blocks(result["content"]), "tool_call_id": result["toolUseId"]}
    if said or calls:
        told = {"role": message["role"], "content": of_blocks(said) if said else ""}
        if calls:
            told["tool_calls"] = [
                {"id": one["toolUseId"], "name": one["name"], "arguments": one["input"]} for one in calls
            ]
        yield told


def check(recording: StrandsRecording, model: Witness, session: str = agents.SESSION, *, first: int = 0) -> None:
    """Every request is told whole and is what the model saw."""
    recording.drain()
    told = prompts_of(recording.store, session)[first:]
    assert [one.get("why") for one in told] == [None] * len(model.seen)
    for one, seen in zip(told, model.seen, strict=True):
        assert json.loads(json.dumps(one["messages"])) == seen["messages"]
        assert one["tools"] == seen["tools"]
        assert one["params"] == seen["params"]
        assert (one["model"], one["complete"]) == ("scripted-1", True)


def test_loops(scenario: StrandsRecording) -> None:
    """Over loops with tools, several at once, one that fails, and two invocations of an agent."""
    model = Witness(
        [
            call(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4}), text="I add."),
            call(("broken", {"a": 1})),
            say("done", thought="It is done."),
            call(("refuse", {"a": 1})),
            say("done again"),
        ]
    )
    agent = agents.agent([], model=model, system_prompt="Be brief.")
    agent("go")
    agent("go on")
    check(scenario, model)


def test_a_window(recording: StrandsRecording) -> None:
    """Where a conversation manager cuts the history."""
    model = Witness([say(f"answer {number}") for number in range(8)])
    agent = agents.agent([], model=model, conversation_manager=SlidingWindowConversationManager(window_size=4))
    for number in range(8):
        agent(f"question {number}")
    check(recording, model)


def test_a_summary(recording: StrandsRecording) -> None:
    """Where the program puts a summary in the place of the history."""
    model = Witness([say(f"answer {number}") for number in range(6)])
    agent = agents.agent([], model=model)
    for number in range(6):
        if number % 3 == 2:
            agent.messages[:] = [{"role": "user", "content": [{"text": f"so far {number}"}]}, *agent.messages[-1:]]
        agent(f"question {number}")
    check(recording, model)


def test_a_system_prompt_that_changes(recording: StrandsRecording) -> None:
    """Where the system prompt is a text, blocks with a cache point, none, and the first one again."""
    model = Witness([say(str(number)) for number in range(4)])
    agent = agents.agent([], model=model, system_prompt="Be brief.")
    for prompt in ("Be brief.", [{"text": "Be long."}, {"cachePoint": {"type": "default"}}], None, "Be brief."):
        agent.system_prompt = prompt
        agent("go on")
    check(recording, model)


def test_content_of_several_blocks(recording: StrandsRecording) -> None:
    """Where a question has texts, a picture and a document, and a cache point behind them."""
    image: Any = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    document: Any = {"document": {"format": "pdf", "name": "report", "source": {"bytes": b"%PDF"}}}
    model = Witness([say("nice", thought="hm"), say("so")])
    agent = agents.agent([], model=model)
    agent([{"text": "look"}, {"text": "here"}, image, document, {"cachePoint": {"type": "default"}}])
    agent("and?")
    check(recording, model)


@pytest.mark.parametrize("inner", ["wrap", "input"])
def test_what_middleware_changes(scenario: StrandsRecording, inner: str) -> None:
    """Where middleware of the program's, added after ours, changes what the model is shown, for the call alone."""
    model = Witness([call(("add", {"a": 1, "b": 2})), say("done"), say("done")])
    agent = agents.agent([], model=model, system_prompt="Be brief.")

    def changed(context: Any) -> Any:
        messages = [*context.messages[-1:]]
        return context.replace(messages=messages, system_prompt=f"Of {len(context.messages)}.", tool_specs=[])

    async def wrapped(context: Any, call: Any) -> Any:
        async for event in call(changed(context)):
            yield event

    if inner == "wrap":
        agent.add_middleware(InvokeModelStage, wrapped)
    else:
        agent.add_middleware(InvokeModelStage.Input, changed)
    agent("go")
    agent("go on")
    check(scenario, model)


def test_messages_changed_in_place(recording: StrandsRecording) -> None:
    """Where the program changes a message that was shown, and the configuration of its model."""
    model = Witness([say(str(number)) for number in range(3)])
    agent = agents.agent([], model=model)
    agent("one")
    agent.messages[0]["content"][0]["text"] = "two"
    model.update_config(temperature=0.7)
    agent("three")
    agent("four")
    check(recording, model)


def test_tools_that_change(recording: StrandsRecording) -> None:
    """Where the tools that are offered change between calls."""
    model = Witness([say("a"), say("b"), say("c")])
    agent = agents.agent([], model=model, tools=[agents.add])
    agent("one")
    agent.tool_registry.process_tools([agents.refuse])
    agent("two")
    agent("three")
    check(recording, model)
    starts = [event.details for event in recording.events if event.type == "MODEL_START"]
    assert ["tools" in one for one in starts] == [True, True, False]
    assert ["params" in one for one in starts] == [True, False, False]


def test_a_structured_answer(recording: StrandsRecording) -> None:
    """Where Strands asks again, with the one tool for a structured answer."""
    from pydantic import BaseModel

    class Place(BaseModel):
        """A place."""

        city: str

    model = Witness([say("Rome"), call(("Place", {"city": "Rome"}))])
    agents.agent([], model=model)("where?", structured_output_model=Place)
    check(recording, model)


def test_over_processes(tmp_path: Path) -> None:
    """Where each turn is a new process that is handed the whole thread: no message is journaled twice."""
    messages: list[Any] = []
    store: Any = None
    for turn in range(6):
        options: Any = {"writer": f"{turn:032x}", "keeping": KeptFiles(tmp_path)}
        with strands_recording_at(tmp_path, **options) as recording:
            recording.store = store = store or recording.store
            model = Witness([call(("add", {"a": turn, "b": 1}, f"c{turn}")), say(f"answer {turn}")])
            agent = agents.agent([], model=model, messages=json.loads(json.dumps(messages)), system_prompt="Be brief.")
            agent(f"question {turn}")
            messages = agent.messages
            check(recording, model, first=2 * turn)
    starts = [event.details for event in store.read(agents.SESSION) if event.type == "MODEL_START"]
    assert [len(one["messages"]) for one in starts] == [2, 0, *[1, 0] * 5]
    sizes = [len(encode_line(event)) for event in store.read(agents.SESSION)]
    per_turn = len(sizes) // 6
    assert sum(sizes[-per_turn:]) < sum(sizes[per_turn : 2 * per_turn]) + 100


def test_twenty_turns_with_one_picture(recording: StrandsRecording) -> None:
    """Over twenty turns a picture and a document are stored once each, as bytes with their type, and told whole."""
    picture, report = random.Random(1).randbytes(200_000), random.Random(2).randbytes(50_000)
    shown: Any = [
        {"text": "look"},
        {"image": {"format": "png", "source": {"bytes": picture}}},
        {"document": {"format": "pdf", "name": "report", "source": {"bytes": report}}},
    ]
    model = Witness([say(f"answer {number}") for number in range(20)])
    agent = agents.agent([], model=model)
    for number in range(20):
        agent(shown if number % 10 == 0 else f"and {number}?")
    check(recording, model)
    kept = sorted((len(blob.data), blob.media_type) for blob in recording.store._blobs.values())
    assert kept == [(len(report), "application/pdf"), (len(picture), "image/png")]
    assert sum(len(encode_line(event)) for event in recording.events) < 100_000


class Whole(ScriptedModel):
    """A model whose one answer is given as the events of its stream."""

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """Stream them."""
        for event in self.turns.pop(0):
            yield event


def blocks(*deltas: Any, starts: Any = None) -> list[Any]:
    """The events of one content block."""
    said = [{"contentBlockDelta": {"delta": delta}} for delta in deltas]
    return [{"contentBlockStart": {"start": starts or {}}}, *said, {"contentBlockStop": {}}]


def use(name: str, call_id: str, **more: Any) -> list[Any]:
    """The events of one call."""
    starts = {"toolUse": {"name": name, "toolUseId": call_id, **more}}
    return blocks({"toolUse": {"input": '{"a": 1, "b": 2}'}}, starts=starts)


ANSWERS: dict[str, list[Any]] = {
    "sealed thoughts": [
        *blocks({"reasoningContent": {"redactedContent": b"\x00\xff" * 2000}}),
        *blocks({"text": "so"}),
    ],
    "signed thoughts": [
        *blocks({"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "sig"}}),
        *blocks({"text": "so"}),
    ],
    "a text behind a call": [*use("add", "c1"), *blocks({"text": "I add."}), *use("add", "c2")],
    "a signed call": use("add", "c1", reasoningSignature="sig"),
    "two texts": [*blocks({"text": "one"}), *blocks({"text": "two"})],
}


@pytest.mark.parametrize(
    "usage", [{}, {"inputTokens": 7, "outputTokens": 2, "totalTokens": 12, "cacheReadInputTokens": 3}]
)
@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_of_every_kind(recording: StrandsRecording, kind: str, usage: Any) -> None:
    """Whatever blocks an answer has, in whatever order, it comes back as it was; see `StrandsRecording.check`."""
    stop = "tool_use" if "call" in kind else "end_turn"
    ends = [{"messageStop": {"stopReason": stop}}, {"metadata": {"usage": usage, "metrics": {"latencyMs": 7}}}]
    begin = {"messageStart": {"role": "assistant"}}
    turns = [
        [begin, *ANSWERS[kind], *ends],
        [begin, *blocks({"text": "done"}), {"messageStop": {"stopReason": "end_turn"}}],
    ]
    agents.agent([], model=Whole(turns))("go")
    assert len(recording.given.answers) == (2 if "call" in kind else 1)
