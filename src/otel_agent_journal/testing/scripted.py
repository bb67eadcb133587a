"""A chat model that says what a script tells it to: for tests, demos and measurements, without a network or a key.

It behaves as a real LangChain model does in every way that an instrumentation can see: sync and async, whole and
streamed, with tool calls, usage with cache and reasoning parts, response metadata, delays and errors. It needs
langchain-core, and knows nothing of journals.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

Reply = AIMessage | str | BaseException | Callable[[Sequence[BaseMessage]], "AIMessage | str"]
"""What one call gives: a message, a text, an error to raise, or a function of the messages that gives one of these."""

_WORDS: Final = re.compile(r"\S+\s*|\s+")


def reply(
    text: str = "",
    *,
    calls: Sequence[tuple[str, Mapping[str, Any]]] = (),
    call_ids: Sequence[str] = (),
    input_tokens: int = 0,
    output_tokens: int = 0,
    cache_read: int = 0,
    cache_creation: int = 0,
    reasoning: int = 0,
    message_id: str | None = None,
    model: str | None = None,
    finish_reason: str | None = None,
) -> AIMessage:
    """Return what a model answers.

    Args:
        text: what it says.
        calls: the tools it calls, as name and arguments; `call_ids` names them, else they are `call-NAME-0`, ...
        input_tokens: including those read from and written to a cache, as LangChain counts.
        output_tokens: including those of reasoning.
        model, finish_reason: of the response, by default `tool_calls` or `stop`.
    """
    usage: UsageMetadata | None = None
    if input_tokens or output_tokens:
        usage = UsageMetadata(
            input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens
        )
        if cache_read or cache_creation:
            usage["input_token_details"] = {"cache_read": cache_read, "cache_creation": cache_creation}
        if reasoning:
            usage["output_token_details"] = {"reasoning": reasoning}
    metadata: dict[str, Any] = {"finish_reason": finish_reason or ("tool_calls" if calls else "stop")}
    if model:
        metadata["model_name"] = model
    return AIMessage(
        content=text,
        id=message_id,
        tool_calls=[
            {
                "name": name,
                "args": dict(arguments),
                "id": call_ids[number] if number < len(call_ids) else f"call-{name}-{number}",
                "type": "tool_call",
            }
            for number, (name, arguments) in enumerate(calls)
        ],
        usage_metadata=usage,
        response_metadata=metadata,
    )


class ScriptedModel(BaseChatModel):
    """A chat model that gives the replies of `script`, one a call, the last one for ever.

    With `by_turn` a reply is chosen by how many answers are in the conversation already, so that concurrent runs do
    not take each other's. `delay_s` is waited before each answer and, streamed, before each word of it.
    """

    script: Sequence[Any]
    by_turn: bool = False
    delay_s: float = 0.0
    model_name: str = "scripted-1"
    provider: str = "scripted"

    _calls: Iterator[int] = PrivateAttr(default_factory=itertools.count)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.model_name, "ls_model_type": "chat"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Return itself: the script knows which tools there are."""
        return self

    def _reply(self, messages: Sequence[BaseMessage]) -> AIMessage:
        number = sum(message.type == "ai" for message in messages) if self.by_turn else next(self._calls)
        wanted = cast("Reply", self.script[min(number, len(self.script) - 1)])
        if isinstance(wanted, BaseException):
            raise wanted
        if callable(wanted):
            wanted = wanted(messages)
        if isinstance(wanted, str):
            wanted = reply(wanted)
        # A copy, since LangChain sets the id of a message that has none.
        return wanted.model_copy(deep=True)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        time.sleep(self.delay_s)
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        await asyncio.sleep(self.delay_s)
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._reply(messages)):
            time.sleep(self.delay_s)
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(self._reply(messages)):
            await asyncio.sleep(self.delay_s)
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def _chunks(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """Yield a message as providers stream it: word by word, then the tool calls, then usage and metadata."""
    text = message.content if isinstance(message.content, str) else str(message.content)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    for word in _WORDS.findall(text):
        yield ChatGenerationChunk(message=AIMessageChunk(content=word, id=message.id))
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content="",
            id=message.id,
            tool_calls=message.tool_calls,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
            chunk_position="last",
        )
    )
