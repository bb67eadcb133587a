"""Answers are journaled whole: thoughts, refusals, calls that are none, every candidate, and what was in a cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, ChatMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation, LLMResult
from langchain_core.tools import tool
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel

from otel_agent_journal.event import JournalEvent, Usage
from otel_agent_journal.frameworks.langgraph.rebuilding import llm_result, lost_of, message_of
from otel_agent_journal.reading.conversation import conversation
from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at
from tests.frameworks.requests_told import answers_of

Parts = Sequence[Mapping[str, Any]]


class Place(BaseModel):
    """What a provider's client parses an answer to."""

    city: str


class Colour(Enum):
    """A value of the program's own."""

    RED = "red"


class Signed(AIMessage):
    """A message of a class of the program's own."""

    signature: str = ""


class Saying(ScriptedModel):
    """A model that gives candidates, and streams the parts it is told to."""

    script: Sequence[Any] = ()
    candidates: Sequence[Any] = ()
    parts: Sequence[Any] = ()

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        found = [ChatGeneration(message=one.model_copy(deep=True)) for one in self.candidates]
        return ChatResult(generations=found, llm_output={"system_fingerprint": "fp"})

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(messages)

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            yield ChatGenerationChunk(message=AIMessageChunk(**part))

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


def noted(recording: Recording, event_type: str) -> list[str]:
    """Return the texts of a model's events of a type."""
    return [event.details["text"] for event in recording.events if event.type == event_type]


def ending(recording: Recording, event_type: str = "MODEL_END") -> JournalEvent:
    """Return the one ending there is."""
    (found,) = (event for event in recording.events if event.type == event_type)
    return found


BLOCKS = {
    "anthropic": [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "42"}],
    "redacted": [{"type": "redacted_thinking", "data": "0x"}, {"type": "text", "text": "42"}],
    "bedrock": [{"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "sig"}}, "42"],
    "standard": [{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "sig"}}, "42"],
    "responses": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "id": "rs"}, "42"],
}
KEPT = {
    "deepseek": {"reasoning_content": "hm"},
    "groq": {"reasoning": "hm"},
    "older openai": {"reasoning": {"id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]}},
    "openrouter": {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "sig"}]},
}


@pytest.mark.parametrize("blocks", BLOCKS)
def test_thoughts_in_content(recording: Recording, blocks: str) -> None:
    """Thoughts in content blocks are journaled as REASONING, and whole with their signature in the answer."""
    said = AIMessage(BLOCKS[blocks], id="m1", response_metadata={"model_provider": "x"})
    answer = Saying(candidates=[said]).invoke("q")
    assert noted(recording, "REASONING") == ([] if blocks == "redacted" else ["hm"])
    assert ending(recording).details["output"]["content"] == BLOCKS[blocks]
    assert message_of(ending(recording).details) == answer


@pytest.mark.parametrize("kept", KEPT)
def test_thoughts_beside_content(recording: Recording, kept: str) -> None:
    """Thoughts in `additional_kwargs` are journaled as REASONING, and as they are in the answer."""
    answer = Saying(candidates=[AIMessage("42", additional_kwargs=KEPT[kept])]).invoke("q")
    assert noted(recording, "REASONING") == ["hm"]
    assert message_of(ending(recording).details) == answer


CALL: Any = {"name": "search", "args": {"query": "x"}, "id": "c1", "type": "tool_call"}
ODD: dict[str, Any] = {
    "bytes": AIMessage([{"type": "media", "mime_type": "audio/wav", "data": b"\x00RIFF"}, "there"]),
    "parsed": AIMessage('{"city": "Rome"}', additional_kwargs={"parsed": Place(city="Rome")}),
    "dates": AIMessage("x", response_metadata={"at": datetime(2026, 1, 2, 3, 4, 5, 678, UTC), "a/b": (1, (2,))}),
    "numbers": AIMessage("x", response_metadata={"logprobs": [float("-inf"), -0.5], "bias": {50256: -100}}),
    "enums": AIMessage("x", response_metadata={"colour": Colour.RED}),
    "own class": Signed("x", signature="s", response_metadata={"model_name": "m"}),
    "more fields": AIMessage("x", more={"deep": [1]}),
    "text with calls": AIMessage([{"type": "text", "text": "so"}], tool_calls=[CALL, {**CALL, "id": None}]),
    "name": AIMessage("x", name="clerk", id="m7"),
    "empty": AIMessage([]),
    "role": ChatMessage("x", role="critic"),
}


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "batch", "candidates"])
@pytest.mark.parametrize("odd", ODD)
async def test_odd_answers(recording: Recording, odd: str, how: str) -> None:
    """What a provider puts into an answer comes back as it was, of the class that it was; see `Recording.check`."""
    model = Saying(candidates=[ODD[odd]] * (2 if how == "candidates" else 1))
    match how:
        case "invoke":
            answer = model.invoke("q")
        case "ainvoke":
            answer = await model.ainvoke("q")
        case "batch":
            (answer,) = model.batch(["q"])
        case _:
            (first, second) = model.generate([[HumanMessage("q")]]).generations[0]
            (told,) = (llm_result(one) for one in answers_of(recording.store, *recording.sessions.popitem()))
            assert [one.message for one in told.generations[0]] == [first.message, second.message]
            assert told.llm_output == ({"system_fingerprint": "fp"})
            return
    assert message_of(ending(recording).details) == answer
    assert lost_of(ending(recording).details) == []


def test_what_cannot_be_made_again(recording: Recording) -> None:
    """What is of a class that is not there, or of one that has no plain form, is named; the rest is as it was."""
    Saying(candidates=[AIMessage("x", additional_kwargs={"client": object(), "seen": (1,)})]).invoke("q")
    recording.given.answers.clear()
    details = ending(recording).details
    assert message_of(details).additional_kwargs == {"client": "<builtins.object>", "seen": (1,)}
    assert lost_of(details) == ["/additional_kwargs/client"]
    gone = {**details["raw"], "$classes": {"": "gone.Message", "/content": "gone.Text"}}
    assert type(message_of({**details, "raw": gone})) is AIMessage
    assert lost_of({**details, "raw": gone}) == ["", "/content"]


@pytest.mark.parametrize(
    "refusing",
    [
        AIMessage("", additional_kwargs={"refusal": "I will not"}),
        AIMessage([{"type": "refusal", "refusal": "I will not"}]),
    ],
)
def test_refusals(recording: Recording, refusing: AIMessage) -> None:
    """A refusal is said in the answer's plain form."""
    answer = Saying(candidates=[refusing]).invoke("q")
    assert ending(recording).details["output"]["refusal"] == "I will not"
    assert message_of(ending(recording).details) == answer


def test_calls_that_are_none(recording: Recording) -> None:
    """A call whose arguments are no JSON is in the answer's plain form as the model wrote it, also by reference."""
    call: Any = {"name": "book", "args": '{"to": ', "id": "c9", "error": "no JSON", "type": "invalid_tool_call"}
    model = Saying(candidates=[AIMessage("", invalid_tool_calls=[call], id="m1")])
    answer = graphs.chat_node(model).invoke(graphs.question())["messages"][-1]
    asked = {"name": "book", "args": '{"to": ', "id": "c9", "error": "no JSON"}
    output = ending(recording).details["output"]
    assert output["invalid_tool_calls"] == [asked]
    assert ending(recording, "NODE_END").details["output"] == {"messages": [{"$message": output["digest"]}]}
    assert message_of(ending(recording).details) == answer


@pytest.mark.parametrize(
    ("reason", "stops"),
    [("guardrail_intervened", True), ("content_filter", True), ("SAFETY", True), ("refusal", True), ("stop", False)],
)
def test_answers_kept_back(recording: Recording, reason: str, stops: bool) -> None:
    """An answer that a guardrail, a filter or the model kept back is a warning."""
    Saying(candidates=[reply("no", finish_reason=reason)]).invoke("q")
    assert [event.level for event in recording.events if event.type == "WARNING"] == ["WARNING"] * stops


def test_candidates(recording: Recording) -> None:
    """Every candidate is journaled, each whole; the first one is the answer."""
    votes = [AIMessage(f"vote {number}", additional_kwargs={"seen": number}) for number in range(3)]
    Saying(candidates=votes).generate([[HumanMessage("elect")]])
    details = ending(recording).details
    assert details["output"]["content"] == "vote 0"
    assert [one["output"]["content"] for one in details["raw"]["candidates"]] == ["vote 1", "vote 2"]
    assert [one["raw"]["additional_kwargs"] for one in details["raw"]["candidates"]] == [{"seen": 1}, {"seen": 2}]
    assert details["raw"]["llm_output"] == {"system_fingerprint": "fp"}


@pytest.mark.parametrize("how", ["generate", "agenerate"])
async def test_prompts_and_candidates_of_a_text_model(recording: Recording, how: str) -> None:
    """A text model's texts are journaled, of each prompt and of each candidate."""

    class Text(BaseLLM):
        @property
        def _llm_type(self) -> str:
            return "text"

        def _generate(self, prompts: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> LLMResult:
            return LLMResult(generations=[[Generation(text=f"{p} 1"), Generation(text=f"{p} 2")] for p in prompts])

    if how == "generate":
        Text().generate(["sun", "rain"])
    else:
        await Text().agenerate(["sun", "rain"])
    endings = [e for events in recording.sessions.values() for e in events if e.type == "MODEL_END"]
    said = {e.details["output"]: [one["output"] for one in e.details["raw"]["candidates"]] for e in endings}
    assert said == {"sun 1": ["sun 2"], "rain 1": ["rain 2"]}


STREAMS: dict[str, Parts] = {
    "texts": [{"content": "One "}, {"content": "two."}, {"content": "", "additional_kwargs": {"reasoning": "hm"}}],
    "anthropic": [
        {"content": [{"type": "thinking", "thinking": "hm", "index": 0}]},
        {"content": [{"type": "thinking", "signature": "sig", "index": 0}]},
        {"content": [{"type": "text", "text": "One ", "index": 1}]},
        {"content": [{"type": "text", "text": "two.", "index": 1}]},
    ],
    "bedrock": [
        {"content": [{"type": "reasoning_content", "reasoning_content": {"text": "hm"}, "index": 0}]},
        {"content": [{"type": "text", "text": "One ", "index": 1}]},
        {"content": [{"type": "text", "text": "two.", "index": 1}]},
    ],
    "deepseek": [
        {"content": "", "additional_kwargs": {"reasoning_content": "h"}},
        {"content": "", "additional_kwargs": {"reasoning_content": "m"}},
        {"content": "One two."},
    ],
}


@pytest.mark.parametrize("how", ["stream", "astream", "messages", "amessages"])
@pytest.mark.parametrize("parts", STREAMS)
async def test_streams(recording: Recording, parts: str, how: str) -> None:
    """Texts and thoughts that are streamed, in whatever shape, are CHUNK and REASONING events, each once."""
    model = Saying(parts=STREAMS[parts])
    match how:
        case "stream":
            list(model.stream("q"))
        case "astream":
            assert [part async for part in model.astream("q")]
        case "messages":
            list(graphs.chat_node(model).stream(graphs.question(), graphs.on_thread(), stream_mode="messages"))
        case _:
            graph = graphs.async_chat_node(model)
            parts_of = graph.astream(graphs.question(), graphs.on_thread(), stream_mode="messages")
            assert [part async for part in parts_of]
    assert "".join(noted(recording, "CHUNK")) == "One two."
    assert "".join(noted(recording, "REASONING")) == "hm"
    kinds = [event.type for event in recording.events]
    assert max(map(kinds.index, ("CHUNK", "REASONING"))) < kinds.index("MODEL_END")
    attributes = ending(recording).details["attributes"]
    assert attributes["gen_ai.response.time_to_first_chunk"] >= 0


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("parts", STREAMS)
async def test_streams_of_events(recording: Recording, parts: str, how: str) -> None:
    """The same of the events of content blocks, LangChain's third version of them."""
    provider = {"anthropic": "anthropic", "bedrock": "bedrock_converse"}.get(parts, "x")  # whose blocks they are
    model = Saying(parts=[{**one, "response_metadata": {"model_provider": provider}} for one in STREAMS[parts]])
    if how == "sync":
        answer = model.stream_events("q", version="v3").output
    else:
        answer = await (await model.astream_events("q", version="v3")).output
        await asyncio.sleep(0.05)  # the model's run ends beside the program's
    assert "".join(noted(recording, "CHUNK")) == "One two."
    told = "hm" if "hm" in str(answer) else ""  # before langchain-core 1.5 thoughts beside content are lost in it
    assert "".join(noted(recording, "REASONING")) == told
    assert message_of(ending(recording).details) == answer


def test_a_streamed_answer_is_rebuilt(recording: Recording) -> None:
    """The sum of what was streamed is the answer in the journal."""
    found = list(Saying(parts=STREAMS["anthropic"]).stream("q"))
    total = found[0]
    for chunk in found[1:]:
        total += chunk
    assert message_of(ending(recording).details).content == total.content


def test_an_answer_that_broke_off(recording: Recording) -> None:
    """Of a stream that fails, what was answered until then is on the ending, with the tokens that it says."""
    usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
    parts = [{"content": "One "}, {"content": "", "usage_metadata": usage}, ConnectionError("gone")]
    with pytest.raises(ConnectionError):
        list(Saying(parts=parts).stream("q"))
    failed = ending(recording, "MODEL_ERROR")
    assert failed.details["output"]["content"] == "One "
    assert failed.usage == Usage(input_tokens=5, output_tokens=1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"cost": 0.0042, "model_name": "m"}, {"gen_ai.usage.cost": 0.0042}),  # of OpenRouter
        ({"response_cost": 0.25, "token_usage": {"prompt_tokens": 1}}, {"gen_ai.usage.cost": 0.25}),  # of LiteLLM
        (
            {"token_usage": {"cost": 0.5}, "service_tier": "flex"},
            {"gen_ai.usage.cost": 0.5, "openai.response.service_tier": "flex"},
        ),
        ({"token_usage": {"prompt_tokens": 1}}, {}),
        ({"cost": "free"}, {}),
    ],
)
def test_what_an_answer_says_that_it_cost(recording: Recording, said: dict[str, Any], expected: dict[str, Any]) -> None:
    """What the provider, or a gateway, says of the price of a call is journaled, and stands on its span."""
    Saying(candidates=[AIMessage("yes", response_metadata=said)]).invoke("q")
    attributes = ending(recording).details.get("attributes", {})
    assert {
        name: attributes[name] for name in attributes if name in ("gen_ai.usage.cost", "openai.response.service_tier")
    } == expected


def test_a_cached_answer_cost_nothing_again(recording: Recording) -> None:
    """An answer of a cache has the provider's word of what the first one cost; that is not told again."""
    first = AIMessage(
        "yes",
        response_metadata={"cost": 0.5},
        usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    )
    model = Saying(candidates=[first])
    model.cache = InMemoryCache()
    for _ in range(2):
        model.invoke("same?")
    endings = [e for events in recording.sessions.values() for e in events if e.type == "MODEL_END"]
    found = [one.details.get("attributes", {}).get("gen_ai.usage.cost") for one in endings]
    assert sorted(found, key=str) == [0.5, None]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_answers_of_a_cache(recording: Recording, how: str) -> None:
    """An answer of LangChain's cache is marked and costs nothing; one that a provider gives for free is neither."""
    paid = reply("yes", input_tokens=100, output_tokens=10)
    model = ScriptedModel(script=[paid], cache=InMemoryCache())
    for _ in range(3):
        await model.ainvoke("same?") if how == "ainvoke" else model.invoke("same?")
    endings = [e for events in recording.sessions.values() for e in events if e.type == "MODEL_END"]
    endings.sort(key=lambda event: event.timestamp_ns)
    assert [(one.usage, one.details.get("cached")) for one in endings] == [
        (Usage(input_tokens=100, output_tokens=10), None),
        (None, True),
        (None, True),
    ]
    assert all(one.details["output"]["content"] == "yes" for one in endings)


def test_artifacts_of_tools(recording: Recording) -> None:
    """What a tool gives beside its text is journaled with its result."""

    @tool(response_format="content_and_artifact")
    def look(query: str) -> Any:
        """Look something up."""
        return "two hits", {"hits": [1, 2]}

    found = look.invoke({"name": "look", "args": {"query": "x"}, "id": "c1", "type": "tool_call"})
    assert isinstance(found, ToolMessage)
    details = ending(recording, "TOOL_END").details
    assert details["output"]["content"] == "two hits"
    assert details["raw"] == {"artifact": {"hits": [1, 2]}}


def test_with_content_off(tmp_path: Path) -> None:
    """With content off nothing of the above is journaled, but that an answer was cached."""
    with recording_at(tmp_path / "spool", provider=TracerProvider(), content=False) as recording:
        model = Saying(candidates=[AIMessage("a secret", additional_kwargs={"reasoning": "a secret"})])
        model.cache = InMemoryCache()
        config: Any = {"configurable": {"thread_id": "t1"}}
        model.invoke("q", config)
        list(Saying(parts=STREAMS["deepseek"]).stream("q", config))
        events = [event for events in recording.sessions.values() for event in events]
        assert not {"CHUNK", "REASONING"} & {event.type for event in events}
        assert not [event for event in events if "raw" in event.details or "output" in event.details]
        recording.check()


def test_in_the_conversation(recording: Recording) -> None:
    """Whoever reads the conversation sees a refusal, and a call that is none as the model wrote it."""
    call: Any = {"name": "book", "args": '{"to": ', "id": "c9", "error": "no JSON", "type": "invalid_tool_call"}
    for said in (AIMessage("", invalid_tool_calls=[call]), AIMessage("", additional_kwargs={"refusal": "I will not"})):
        graphs.chat_node(Saying(candidates=[said])).invoke(graphs.question(), graphs.on_thread())
    answers = [one for one in conversation(lambda: recording.events) if one["role"] == "assistant"]
    assert answers[0]["tool_calls"] == [{"id": "c9", "name": "book", "arguments": '{"to": '}]
    assert answers[1]["content"] == "I will not"
