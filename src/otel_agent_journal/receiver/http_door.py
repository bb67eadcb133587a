"""OTLP over HTTP, in protobuf and JSON: an ASGI application; beside it health and metrics for who operates it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToJson

from otel_agent_journal.receiver.answers import Answer, Verdict, busy
from otel_agent_journal.receiver.messages import status_of
from otel_agent_journal.receiver.room import MAX_REQUEST_BYTES
from otel_agent_journal.receiver.signals import SIGNALS, Signal

if TYPE_CHECKING:
    from otel_agent_journal.receiver.intake import Intake
    from otel_agent_journal.receiver.room import Room
    from otel_agent_journal.receiver.security import Tokens

_log = logging.getLogger("otel_agent_journal.receiver")

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_SIGNALS: Final[Mapping[str, Signal]] = {signal.path: signal for signal in SIGNALS}
_BODY_S: Final = 15.0  # for a body to arrive; a client that is slower is asked to send it again
_UNREAD_BYTES: Final = 128 * 1024 * 1024  # of a refused body, read and dropped so that its client hears why
_HERE: Final = "POST /v1/traces, /v1/logs, GET /healthz, /readyz, /metrics are here"

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class HttpDoor:
    """The ASGI application.

    Args:
        intake: takes requests.
        tokens: who may send, and see the metrics; health is for everybody.
        metrics: returns what /metrics says.
        patience_s: for a body to arrive.
    """

    def __init__(
        self, intake: Intake, tokens: Tokens, metrics: Callable[[], str], *, patience_s: float = _BODY_S
    ) -> None:
        self._intake = intake
        self._tokens = tokens
        self._metrics = metrics
        self._patience_s = patience_s

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        signal = _SIGNALS.get(path)
        if signal is not None:
            if method == "POST":
                await self._export(signal, headers, receive, send)
            else:
                await _text(send, 405, "POST is expected", allow=b"POST")
        elif method not in ("GET", "HEAD"):
            await _text(send, 404, _HERE)
        elif path == "/healthz":
            await _text(send, 200, "ok")
        elif path == "/readyz":
            ready = self._intake.is_ready
            await _text(send, 200 if ready else 503, "ready" if ready else "not taking requests now")
        elif path == "/metrics" and not self._tokens.admit(headers.get(b"authorization", b"")):
            await _text(send, 401, _WHO, **{"www-authenticate": b"Bearer"})
        elif path == "/metrics":
            await _text(send, 200, self._metrics(), b"text/plain; version=0.0.4; charset=utf-8")
        else:
            await _text(send, 404, _HERE)

    async def _export(self, signal: Signal, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        body = _Body(headers, receive, asyncio.get_running_loop().time() + self._patience_s)
        try:
            with self._intake.arriving() as room:
                answer = await self._answer(signal, kind, headers, body, room)
            await body.drop()
        except _Gone:
            return
        except asyncio.CancelledError:  # the server's grace is over; it would say 500, and the client drop its data
            answer = busy("the receiver is shutting down")
        except Exception as error:  # noqa: BLE001 - a 500 would make the client drop its data
            _log.exception("a request could not be answered; its client is asked to send it again")
            answer = busy(f"{type(error).__name__}: {error}")
        await _answer(send, signal, kind, self._intake.answered(answer))

    async def _answer(
        self, signal: Signal, kind: str, headers: Mapping[bytes, bytes], body: _Body, room: Room
    ) -> Answer:
        if not self._tokens.admit(headers.get(b"authorization", b"")):
            return Answer(Verdict.UNAUTHENTICATED, _WHO)
        read = {PROTOBUF: signal.read, JSON: signal.read_json}.get(kind)
        if read is None:
            said = f"content type '{kind}' is not known; {PROTOBUF} or {JSON} is expected"
            return Answer(Verdict.UNSUPPORTED, said)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower().decode("latin-1")
        if encoding not in ("identity", "gzip", "deflate"):
            return Answer(Verdict.UNSUPPORTED, f"content encoding '{encoding}' is not known; gzip or none is expected")
        whole = await body.read(room)
        if isinstance(whole, Answer):
            return whole
        compressed = encoding != "identity" and bool(whole)
        return await body.unless_gone(self._intake.keep(signal, whole, read, room, compressed=compressed))


_WHO: Final = "a bearer token is expected in the header 'Authorization'"


class _Gone(Exception):
    """The client went away before all was said."""


class _Body:
    """The body of a request, as far as it is wanted."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive, until: float) -> None:
        said = headers.get(b"content-length", b"0")
        self._said = int(said) if said.isdigit() else 0
        self._waits = headers.get(b"expect", b"").strip().lower() == b"100-continue"  # sends when it is asked to
        self._receive = receive
        self._until = until
        self._more = True

    async def read(self, room: Room) -> bytes | Answer:
        """Return it as it was sent; an answer where there is no room for it, or it does not come."""
        if self._said > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is over {MAX_REQUEST_BYTES:,} bytes")
        refusal = room.add(0)
        if refusal is not None:
            return refusal
        parts: list[bytes] = []
        try:
            async with asyncio.timeout_at(self._until):
                while self._more:
                    part = await self._next()
                    refusal = room.add(len(part))
                    if refusal is not None:
                        return refusal
                    parts.append(part)
        except TimeoutError:
            return busy("the body did not arrive in time")
        return b"".join(parts)

    async def unless_gone(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Return what comes of work for a client; end it, and raise _Gone, where the client goes away meanwhile."""
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self._left())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _Gone
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()

    async def _left(self) -> None:
        """Wait until the client, which has sent all, goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def drop(self) -> None:
        """Read what is left, and keep nothing: most clients hear an answer only when they have sent all."""
        dropped = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                while self._more and not self._waits and dropped < _UNREAD_BYTES:
                    dropped += len(await self._next())

    async def _next(self) -> bytes:
        self._waits = False
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        self._more = message.get("more_body", False)
        return message.get("body", b"")


async def _answer(send: Send, signal: Signal, kind: str, answer: Answer) -> None:
    taken = answer.verdict is Verdict.OK
    message = signal.respond(answer.rejected, answer.message) if taken else status_of(answer)
    if kind == PROTOBUF:
        body = message.SerializeToString()
    elif taken:
        body = MessageToJson(message, indent=None).encode()
    else:
        body = json.dumps({"code": status_of(answer).code, "message": answer.message}).encode()
    headers = [(b"content-type", (kind if kind in (PROTOBUF, JSON) else JSON).encode())]
    if answer.retry_after_s:
        headers.append((b"retry-after", str(max(1, round(answer.retry_after_s))).encode()))
    if answer.verdict is Verdict.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if not taken:
        headers.append((b"connection", b"close"))  # some of the body may not have been read
    await _send(send, answer.verdict.http, headers, body)


async def _text(send: Send, status: int, text: str, kind: bytes = b"text/plain", **headers: bytes) -> None:
    pairs = [(name.encode(), value) for name, value in headers.items()]
    await _send(send, status, [(b"content-type", kind), *pairs], text.encode())


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
