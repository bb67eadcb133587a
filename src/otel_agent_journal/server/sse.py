"""Server-sent events: a response of our own, which ends when the server does and keeps proxies from buffering."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from starlette.responses import StreamingResponse

EVENTS: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
BEAT: Final = b": still here\n\n"
RETRY: Final = b"retry: 1000\n\n"


def message(data: bytes, *, event: str | None = None, at: str | None = None) -> bytes:
    """Return one message. `data` is one line: JSON has no line ends."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    named = b"" if at is None else b"id: " + at.encode() + b"\n"
    return named + head + b"data: " + data + b"\n\n"


def response(messages: AsyncGenerator[bytes]) -> StreamingResponse:
    """Return the answer that streams messages."""

    async def all_of() -> AsyncIterator[bytes]:
        yield RETRY
        async with aclosing(messages):
            async for one in messages:
                yield one

    return StreamingResponse(all_of(), headers=HEADERS, media_type=EVENTS)
