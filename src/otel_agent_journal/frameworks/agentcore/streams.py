"""A handler's stream, handed on item by item: its step is current inside it and ends when the stream does.

The app tells streams by their type, so what replaces a generator is a generator of the same kind. Flushed is before
the end of the stream is told, thus before the response is over. A stream that was closed is cancelled, and so is one
that was dropped before its first item, which no code of a generator notices.
"""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from collections.abc import AsyncIterator, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from opentelemetry import context as context_api

from otel_agent_journal.foreign import is_a
from otel_agent_journal.frameworks.agentcore.boundary import restore
from otel_agent_journal.frameworks.agentcore.requests import Request, is_response, is_text
from otel_agent_journal.pipeline.flushing import Flusher


def streamed(result: Any, request: Request, flusher: Flusher) -> Any | None:
    """Return what takes the place of a handler's streaming result, or None where it does not stream."""
    stream: Any
    if is_a(result, GeneratorType):
        replacement = stream = sync_stream(result, request, flusher)
    elif is_a(result, AsyncGeneratorType):
        replacement = stream = async_stream(result, request, flusher)
    elif is_response(result) and hasattr(result, "body_iterator"):  # a streaming response of the handler's own
        replacement = result
        request.is_text = is_text(result)
        stream = result.body_iterator = async_stream(result.body_iterator, request, flusher)
    else:
        return None
    weakref.finalize(stream, request.dropped).atexit = False
    return replacement


def sync_stream(source: Any, request: Request, flusher: Flusher) -> Iterator[Any]:
    """Hand on a generator, each item of which the app fetches in any thread of its pool.

    All of it runs in one context, made at its first item: what it makes current it finds again after a `yield`.
    """
    inside = contextvars.copy_context()
    inside.run(context_api.attach, request.step.context(inside.run(context_api.get_current)))
    try:
        while True:
            try:
                item = inside.run(next, source)
            except StopIteration as end:
                request.drained()
                flusher.beside_loop()
                return end.value
            request.item(item)
            yield item
    except GeneratorExit as closed:
        try:
            inside.run(source.close)
        finally:
            request.failed(closed)
            flusher.ask()
        raise
    except BaseException as error:
        request.failed(error)
        flusher.beside_loop()
        raise


async def async_stream(source: Any, request: Request, flusher: Flusher) -> AsyncIterator[Any]:
    """Hand on an asynchronous generator or iterator; what it makes current it finds again after a `yield`."""
    items = source.__aiter__()
    inside = request.step.context()
    try:
        while True:
            token = context_api.attach(inside)
            try:
                item = await items.__anext__()
            except StopAsyncIteration:
                break
            finally:
                inside = context_api.get_current()
                restore(token)
            request.item(item)
            yield item
        request.drained()
        await flusher.in_loop()
    except GeneratorExit as closed:
        await _close(items, request, closed, flusher)
        raise
    except BaseException as error:
        request.failed(error)
        if isinstance(error, Exception):
            await flusher.in_loop()
        else:  # cancelled: to wait now would hold that up
            flusher.ask()
        raise


async def _close(items: Any, request: Request, closed: BaseException, flusher: Flusher) -> None:
    try:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
    finally:
        request.failed(closed)
        with contextlib.suppress(Exception):
            flusher.ask()
