"""Spans that a model or a retriever opens while it works are children of its span, however it is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, GenerationChunk
from langchain_core.retrievers import BaseRetriever
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN

from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording, recording_at


def request(name: str = "POST") -> None:
    """Open the span of a request."""
    trace.get_tracer_provider()
    with trace.get_tracer("http").start_as_current_span(name):
        pass


class Chat(BaseChatModel):
    """A chat model over HTTP; one that only generates."""

    fails: bool = False

    @property
    def _llm_type(self) -> str:
        return "chat"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request()
        if self.fails:
            raise ConnectionError("gone")
        return ChatResult(generations=[ChatGeneration(message=AIMessage("x"))])


class AsyncChat(Chat):
    """The same, async by itself."""

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages)


class Streaming(Chat):
    """One that streams, with a request before each chunk."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for text in "ab":
            request()
            yield ChatGenerationChunk(message=AIMessageChunk(text))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for text in "ab":
            await asyncio.sleep(0)
            request()
            yield ChatGenerationChunk(message=AIMessageChunk(text))


class Text(LLM):
    """A model of texts."""

    @property
    def _llm_type(self) -> str:
        return "text"

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        request()
        return "x"


class StreamingText(Text):
    """One that streams."""

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        for text in "ab":
            request()
            yield GenerationChunk(text=text)


class Pages(BaseRetriever):
    """A retriever over HTTP."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        request()
        return []


class AsyncPages(Pages):
    """The same, async by itself."""

    async def _aget_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        await asyncio.sleep(0)
        request()
        return []


def consumed(chunks: Iterator[Any]) -> None:
    """Read a stream, with a request of one's own between the chunks."""
    for _ in chunks:
        request("own")


async def aconsumed(chunks: AsyncIterator[Any]) -> None:
    """Read a stream, with a request of one's own between the chunks."""
    async for _ in chunks:
        request("own")


SYNC: dict[str, Callable[[], Any]] = {
    "chat": lambda: Chat().invoke("q"),
    "chat batch": lambda: Chat().batch(["q", "r", "s"]),
    "chat generate": lambda: Chat().generate([[HumanMessage("q")], [HumanMessage("r")]]),
    "chat stream": lambda: consumed(Streaming().stream("q")),
    "chat stream of none": lambda: consumed(Chat().stream("q")),
    "streaming invoke": lambda: Streaming().invoke("q"),
    "text": lambda: Text().invoke("q"),
    "text generate": lambda: Text().generate(["q"]),
    "text stream": lambda: consumed(StreamingText().stream("q")),
    "retriever": lambda: Pages().invoke("q"),
    "retriever batch": lambda: Pages().batch(["q", "r"]),
}
ASYNC: dict[str, Callable[[], Any]] = {
    "chat": lambda: Chat().ainvoke("q"),
    "async chat": lambda: AsyncChat().ainvoke("q"),
    "async chat batch": lambda: AsyncChat().abatch(["q", "r", "s"]),
    "chat stream": lambda: aconsumed(Streaming().astream("q")),
    "sync stream": lambda: aconsumed(StreamingText().astream("q")),
    "text": lambda: Text().ainvoke("q"),
    "retriever": lambda: Pages().ainvoke("q"),
    "async retriever": lambda: AsyncPages().ainvoke("q"),
    "side by side": lambda: asyncio.gather(AsyncChat().ainvoke("q"), AsyncPages().ainvoke("q"), Chat().ainvoke("r")),
}


def parents(recording: Recording) -> dict[str, set[str]]:
    """Return what the spans of requests are children of: kinds of steps, by the request's name."""
    kinds = {attempt.span_id: attempt.kind for step in recording.steps.walk() for attempt in step.attempts}
    found: dict[str, set[str]] = {}
    for span in recording.spans:
        if span.instrumentation_scope.name == "http":
            above = "" if span.parent is None else f"{span.parent.span_id:016x}"
            found.setdefault(span.name, set()).add(kinds.get(above, "nothing"))
    return found


def check(recording: Recording, what: str) -> None:
    """Requests are in their model or retriever, a consumer's own in the node that reads the stream."""
    found = parents(recording)
    assert found["POST"] == {"RETRIEVAL" if "retriever" in what else "MODEL"}
    assert found.get("own", {"NODE"}) == {"NODE"}


@pytest.mark.parametrize("what", SYNC)
def test_sync(recording: Recording, what: str) -> None:
    """Within a node, sync."""

    def work(state: graphs.Notes) -> graphs.Notes:
        before = context_api.get_current()
        SYNC[what]()
        assert context_api.get_current() == before
        return {"notes": ["x"]}

    graphs.nested(work).invoke({"notes": []}, graphs.on_thread())
    check(recording, what)


@pytest.mark.parametrize("what", [name for name in ASYNC if name != "side by side"])
def test_async(recording: Recording, what: str) -> None:
    """Within a node, async."""

    async def work(state: graphs.Notes) -> graphs.Notes:
        before = context_api.get_current()
        await ASYNC[what]()
        assert context_api.get_current() == before
        return {"notes": ["x"]}

    asyncio.run(graphs.nested(work).ainvoke({"notes": []}, graphs.on_thread()))
    check(recording, what)


def test_side_by_side(recording: Recording) -> None:
    """Calls beside each other do not mix."""

    async def work(state: graphs.Notes) -> graphs.Notes:
        await ASYNC["side by side"]()
        return {"notes": ["x"]}

    asyncio.run(graphs.nested(work).ainvoke({"notes": []}, graphs.on_thread()))
    assert parents(recording)["POST"] == {"MODEL", "RETRIEVAL"}


def test_without_a_graph(recording: Recording) -> None:
    """A model that is called outside of any graph is a root, with its request below it; nothing of it stays current."""
    Chat().invoke("q")
    assert parents(recording)["POST"] == {"MODEL"}
    assert trace.get_current_span() is INVALID_SPAN


def test_left_early(recording: Recording) -> None:
    """A stream that is closed, or that fails, leaves nothing current; an exception passes untouched."""
    before = context_api.get_current()
    chunks = Streaming().stream("q")
    next(chunks)
    assert context_api.get_current() == before
    chunks.close()  # type: ignore[attr-defined]
    with pytest.raises(ConnectionError, match="gone"):
        Chat(fails=True).invoke("q")
    thrown = Streaming().stream("q")
    next(thrown)
    with pytest.raises(LookupError):
        thrown.throw(LookupError())  # type: ignore[attr-defined]
    assert context_api.get_current() == before
    ended = {event.outcome for events in recording.sessions.values() for event in events if event.outcome}
    assert ended == {"cancelled", "error"}


async def _left() -> None:
    chunks = Streaming().astream("q")
    await anext(chunks)
    before = context_api.get_current()
    await chunks.aclose()  # type: ignore[attr-defined]
    assert context_api.get_current() == before
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Slow().ainvoke("q")
    assert context_api.get_current() == before


class Slow(Pages):
    """A retriever that takes for ever."""

    async def _aget_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        await asyncio.sleep(60)
        return []


def test_left_early_async(tmp_path: Path) -> None:
    """So do an async stream that is closed and a call that takes too long: what comes next is not below it."""
    with recording_at(tmp_path, provider=TracerProvider()):
        asyncio.run(_left())
