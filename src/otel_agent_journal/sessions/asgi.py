"""The session API as an ASGI app: for uvicorn, or within another app, which says who may come in.

It has no token and no sign-in of its own. Reading a body stops at its limit; a result that is waited for takes no
thread while it waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from otel_agent_journal.sessions.http import HttpAnswer, HttpRequest, Routes, problem, too_large
from otel_agent_journal.sessions.runs import Refused

_LOOK_S: Final = 0.1
_LONGEST_LOOK_S: Final = 1.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SessionApp:
    """An ASGI app of `SessionRoutes`, or of other routes; everything that is none of these is 404."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            body = await _body(receive, self.routes.max_body_bytes)
        except Refused as error:
            await _send(send, problem(error.status, error.title, str(error), headers={"connection": "close"}))
            return
        if body is None:  # who asked has gone
            return
        await _send(send, await self.answer(request_of(scope, body)))

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request, waiting for a result as long as it asks."""
        answer = await asyncio.to_thread(self.routes.answer, request)
        deadline, pause = time.monotonic() + (answer.again or 0), _LOOK_S
        while answer.again and time.monotonic() < deadline:
            await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, _LONGEST_LOOK_S)
            answer = await asyncio.to_thread(self.routes.answer, request)
        return answer


def request_of(scope: Scope, body: bytes) -> HttpRequest:
    """Return the request of an ASGI scope, its path as it was sent and below where the app is mounted."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path, root = raw.partition(b"?")[0].decode("latin-1"), scope.get("root_path", "")
    return HttpRequest(
        method=scope["method"],
        path=path.removeprefix(root) if root else path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return a request's body, or None where who sent it has gone.

    Raises:
        Refused: it is larger.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_large(most)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(send: Send, answer: HttpAnswer) -> None:
    headers = {**answer.headers, "content-length": str(len(answer.body))}
    encoded = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    await send({"type": "http.response.body", "body": answer.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
