"""What LangChain gave the program as its models' answers, beside any recording: copies, as they were when given."""

from __future__ import annotations

import copy
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.outputs import ChatGeneration, Generation

_LAST: Final = {"chunk_position": None}  # LangChain adds it to a stream that does not say it, for its reader alone


class Given:
    """The answers that a program was given while `watching`: of each prompt all candidates."""

    def __init__(self) -> None:
        self.answers: list[list[Generation]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what chat models and text models return, and what they stream to its end."""
        wrapped = [(kind, name) for kind in (BaseChatModel, BaseLLM) for name in ("generate", "agenerate")]
        wrapped += [(BaseChatModel, name) for name in ("stream", "astream")]
        before = {(kind, name): getattr(kind, name) for kind, name in wrapped}
        for (kind, name), call in before.items():
            setattr(kind, name, getattr(self, f"_{name}")(call))
        try:
            yield
        finally:
            for (kind, name), call in before.items():
                setattr(kind, name, call)

    def _generate(self, call: Any) -> Any:
        @functools.wraps(call)
        def generate(*args: Any, **kwargs: Any) -> Any:
            return self._returned(call(*args, **kwargs))

        return generate

    def _agenerate(self, call: Any) -> Any:
        @functools.wraps(call)
        async def agenerate(*args: Any, **kwargs: Any) -> Any:
            return self._returned(await call(*args, **kwargs))

        return agenerate

    def _stream(self, call: Any) -> Any:
        @functools.wraps(call)
        def stream(model: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            chunks: list[Any] = []
            for chunk in call(model, *args, **kwargs):
                chunks.append(copy.deepcopy(chunk))
                yield chunk
            self._streamed(chunks, streams(model, async_api=False))

        return stream

    def _astream(self, call: Any) -> Any:
        @functools.wraps(call)
        async def astream(model: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            chunks: list[Any] = []
            async for chunk in call(model, *args, **kwargs):
                chunks.append(copy.deepcopy(chunk))
                yield chunk
            self._streamed(chunks, streams(model, async_api=True))

        return astream

    def _returned(self, result: Any) -> Any:
        self.answers += copy.deepcopy(result.generations)
        return result

    def _streamed(self, chunks: list[Any], streams: bool) -> None:
        if streams:  # else LangChain calls the model, and what it returned is noted already
            self.answers.append([ChatGeneration(message=functools.reduce(lambda one, other: one + other, chunks))])


def streams(model: Any, *, async_api: bool) -> bool:
    """Tell whether LangChain takes a model's stream for one, and does not call it."""
    return bool(model._should_stream(async_api=async_api, stream=True))


def fields_of(generation: Any) -> Any:
    """Return all that a candidate has, by field, to be compared: also what equality of messages leaves out."""
    message = getattr(generation, "message", None)
    info = getattr(generation, "generation_info", None)
    if message is None:
        return {"text": generation.text, "generation_info": info}
    fields = {**message.__dict__, **(message.__pydantic_extra__ or {}), **({} if info is None else {"info": info})}
    found = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    return {"class": type(message).__name__, "text": generation.text, **found, **_LAST}
