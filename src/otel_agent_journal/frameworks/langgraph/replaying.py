"""Models and retrievers that are served from a recording: copies whose own code for a call gives what was recorded.

All of LangChain around that runs as ever: callbacks, streams, structured output. `receipts` does the same for tools.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.event import CHUNK
from otel_agent_journal.foreign import own
from otel_agent_journal.frameworks.langgraph.rebuilding import llm_result
from otel_agent_journal.pipeline.step import Step, current_step
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.replays.current import replaying

_STANDS_IN: Final = "_agent_journal_stands_in"
_Find = Callable[[Any], "Step | None"]
_NAMES: Final = ("model", "model_name", "model_id")


def chat_model_served(original: Any) -> Any:
    """Return a method of a chat model that runs on a copy, which is served, while the process is replayed."""
    return _on_stand_in(original, _chat_model)


def text_model_served(find: _Find) -> Callable[[Any], Any]:
    """Return what makes the same of the method of a text model that has several prompts at a time."""

    def served(original: Any) -> Any:
        @functools.wraps(original)
        def call(model: Any, prompts: Any, stop: Any = None, run_managers: Any = (), **kwargs: Any) -> Any:
            if replaying() is None or run_managers is None:
                return original(model, prompts, stop, run_managers, **kwargs)
            return original(
                _text_model(model, [find(one) for one in run_managers]), prompts, stop, run_managers, **kwargs
            )

        return call

    return served


def retriever_served(original: Any) -> Any:
    """Return a method of a retriever that runs on a copy, which is served, while the process is replayed."""
    return _on_stand_in(original, _retriever)


def _on_stand_in(original: Any, stand_in: Callable[[Any], Any]) -> Any:
    @functools.wraps(original)
    def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
        if replaying() is not None and _STANDS_IN not in owner.__dict__:
            owner = stand_in(owner)
        return original(owner, *args, **kwargs)

    return call


def _copied(owner: Any, methods: Mapping[str, Any]) -> Any:
    stand_in = copy.copy(owner)
    # What an instance has outweighs what its class defines.
    stand_in.__dict__.update(methods, **{_STANDS_IN: True})
    return stand_in


def _recorded(step: Step | None, kind: str) -> Attempt | None:
    """Return what stands for the call that a step is of; None where it is made.

    Raises:
        Exception: what the call raised, or why it cannot be made.
    """
    replay = replaying()
    if replay is None:
        return None
    if step is None or step.kind != kind or step.recorded is None:
        raise replay.lost(f"{kind.lower()} call")
    return replay.serve(step)


# --- chat models ---------------------------------------------------------------------------------------------------


def _chat_model(model: Any) -> Any:
    live = _live(model)

    def generate(messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        attempt = _recorded(current_step(), "MODEL")
        if attempt is None:
            return live._generate(messages, stop, run_manager, **kwargs)  # noqa: SLF001
        return _result(attempt)

    async def agenerate(messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        attempt = _recorded(current_step(), "MODEL")
        if attempt is None:
            return await live._agenerate(messages, stop, run_manager, **kwargs)  # noqa: SLF001
        return _result(attempt)

    def stream(messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        attempt = _recorded(current_step(), "MODEL")
        if attempt is None:
            yield from live._stream(messages, stop, run_manager, **kwargs)  # noqa: SLF001
            return
        for chunk in _streamed(attempt):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def astream(messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        attempt = _recorded(current_step(), "MODEL")
        if attempt is None:
            async for chunk in live._astream(messages, stop, run_manager, **kwargs):  # noqa: SLF001
                yield chunk
            return
        for chunk in _streamed(attempt):
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    return _copied(
        model,
        {
            "_generate": generate,
            "_agenerate": agenerate,
            "_stream": stream,
            "_astream": astream,
            # What some models have besides, for content blocks: LangChain makes the same of `_stream`.
            "_stream_chat_model_events": None,
            "_astream_chat_model_events": None,
            "rate_limiter": None,
        },
    )


def _live(model: Any) -> Any:
    """Return a model as it is called: with what the replay changes of its parameters."""
    replay = replaying()
    change = {} if replay is None else dict(replay.rules.change)
    if not change:
        return model
    live = copy.copy(model)
    if "model" in change:
        change |= {name: change["model"] for name in _NAMES if name in live.__dict__}
    live.__dict__.update({name: value for name, value in change.items() if name in live.__dict__})
    return live


def _answer(attempt: Attempt) -> Any:
    """Return the `LLMResult` that a model gave.

    Raises:
        Exception: what it raised.
    """
    replay = replaying()
    assert replay is not None
    if attempt.outcome != "ok":
        raise replay.error(attempt)
    return llm_result(replay.recording.answer(attempt))


def _result(attempt: Attempt) -> Any:
    from langchain_core.messages import BaseMessageChunk
    from langchain_core.messages.utils import message_chunk_to_message
    from langchain_core.outputs import ChatGeneration, ChatResult

    found = _answer(attempt)
    generations = [
        ChatGeneration(
            message=message_chunk_to_message(one.message) if isinstance(one.message, BaseMessageChunk) else one.message,
            generation_info=one.generation_info,
        )
        for one in found.generations[0]
    ]
    return ChatResult(generations=generations, llm_output=found.llm_output)


def _streamed(attempt: Attempt) -> Iterator[Any]:
    """Yield what a model streamed: its text in the pieces that were recorded, and what else it gave with the last."""
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    replay = replaying()
    assert replay is not None
    pieces = [text for kind, text in replay.recording.chunks(attempt) if kind == CHUNK]
    if attempt.outcome != "ok":
        for piece in pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        raise replay.error(attempt)
    generation = _answer(attempt).generations[0][0]
    message = generation.message
    content = message.content
    if isinstance(content, str) and len(pieces) > 1 and "".join(pieces) == content:
        for piece in pieces[:-1]:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece, id=message.id))
        content = pieces[-1]
    yield ChatGenerationChunk(message=_last(message, content), generation_info=generation.generation_info)


def _last(message: Any, content: Any) -> Any:
    from langchain_core.messages import AIMessageChunk

    asked = [
        *((one["name"], json.dumps(one["args"]), one.get("id")) for one in own(message, "tool_calls") or ()),
        *((one.get("name"), one.get("args"), one.get("id")) for one in own(message, "invalid_tool_calls") or ()),
    ]
    return AIMessageChunk(
        content=content,
        id=message.id,
        name=own(message, "name"),
        additional_kwargs=own(message, "additional_kwargs") or {},
        response_metadata=own(message, "response_metadata") or {},
        usage_metadata=own(message, "usage_metadata"),
        tool_call_chunks=[
            {"name": name, "args": args, "id": call_id, "index": at, "type": "tool_call_chunk"}
            for at, (name, args, call_id) in enumerate(asked)
        ],
        chunk_position="last",
    )


# --- text models ---------------------------------------------------------------------------------------------------


def _text_model(model: Any, steps: Sequence[Step | None]) -> Any:
    live = _live(model)

    def served() -> Any:
        from langchain_core.outputs import LLMResult

        found = [_recorded(step, "MODEL") for step in steps]
        if None in found:
            return None
        answers = [_answer(cast("Attempt", one)) for one in found]
        return LLMResult(
            generations=[one.generations[0] for one in answers], llm_output=answers[0].llm_output if answers else None
        )

    def generate(*args: Any, **kwargs: Any) -> Any:
        result = served()
        return live._generate(*args, **kwargs) if result is None else result  # noqa: SLF001

    async def agenerate(*args: Any, **kwargs: Any) -> Any:
        result = served()
        return await live._agenerate(*args, **kwargs) if result is None else result  # noqa: SLF001

    return _copied(model, {"_generate": generate, "_agenerate": agenerate})


def text_stream_served(original: Any) -> Any:
    """Return the `stream` or `astream` of a text model that runs on a copy while the process is replayed."""
    return _on_stand_in(original, _streaming_text_model)


def _streaming_text_model(model: Any) -> Any:
    live = _live(model)

    def chunks(attempt: Attempt) -> Iterator[Any]:
        from langchain_core.outputs import GenerationChunk

        replay = replaying()
        assert replay is not None
        pieces = [text for kind, text in replay.recording.chunks(attempt) if kind == CHUNK]
        answer = _answer(attempt).generations[0][0]
        pieces = pieces if "".join(pieces) == answer.text and pieces else [answer.text]
        for at, piece in enumerate(pieces, start=1):
            yield GenerationChunk(text=piece, generation_info=answer.generation_info if at == len(pieces) else None)

    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        attempt = _recorded(current_step(), "MODEL")
        yield from live._stream(*args, **kwargs) if attempt is None else chunks(attempt)  # noqa: SLF001

    async def astream(*args: Any, **kwargs: Any) -> Any:
        attempt = _recorded(current_step(), "MODEL")
        if attempt is None:
            async for chunk in live._astream(*args, **kwargs):  # noqa: SLF001
                yield chunk
        else:
            for chunk in chunks(attempt):
                yield chunk

    return _copied(model, {"_stream": stream, "_astream": astream})


# --- retrievers ----------------------------------------------------------------------------------------------------


def _retriever(retriever: Any) -> Any:
    look: Any = retriever._get_relevant_documents  # noqa: SLF001
    alook: Any = retriever._aget_relevant_documents  # noqa: SLF001

    def served() -> list[Any] | None:
        from langchain_core.documents import Document

        attempt = _recorded(current_step(), "RETRIEVAL")
        if attempt is None:
            return None
        replay = replaying()
        assert replay is not None
        if attempt.outcome != "ok":
            raise replay.error(attempt)
        found, _ = replay.recording.output(attempt)
        return [
            Document(page_content=one["content"], metadata=one.get("metadata") or {}, id=one.get("id"))
            for one in found or ()
        ]

    @functools.wraps(look)
    def get(*args: Any, **kwargs: Any) -> Any:
        found = served()
        return look(*args, **kwargs) if found is None else found

    @functools.wraps(alook)
    async def aget(*args: Any, **kwargs: Any) -> Any:
        found = served()
        return await alook(*args, **kwargs) if found is None else found

    return _copied(retriever, {"_get_relevant_documents": get, "_aget_relevant_documents": aget})
