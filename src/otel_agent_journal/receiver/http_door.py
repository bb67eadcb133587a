"""OTLP over HTTP, in protobuf and JSON: an ASGI application; beside it health and metrics for who operates it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from otel_agent_journal.mapping.from_otlp_json import trace_request
from otel_agent_journal.receiver.answers import Answer, Verdict, busy
from otel_agent_journal.receiver.intake import MAX_REQUEST_BYTES
from otel_agent_journal.receiver.messages import response_of, spans_of, status_of

if TYPE_CHECKING:
    from otel_agent_journal.receiver.intake import Intake, Parse

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_PARSERS: Final[Mapping[str, Parse]] = {PROTOBUF: spans_of, JSON: trace_request}
_GZIP: Final = 31  # zlib's window bits for gzip

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class HttpDoor:
    """The ASGI application. `metrics` returns what /metrics says."""

    def __init__(self, intake: Intake, metrics: Callable[[], str]) -> None:
        self._intake = intake
        self._metrics = metrics

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        match path:
            case "/v1/traces" if method == "POST":
                await self._traces(dict(scope["headers"]), receive, send)
            case "/v1/traces":
                await _text(send, 405, "POST is expected", allow=b"POST")
            case "/healthz" if method == "GET":
                await _text(send, 200, "ok")
            case "/readyz" if method == "GET":
                ready = self._intake.is_ready
                await _text(send, 200 if ready else 503, "ready" if ready else "not taking requests now")
            case "/metrics" if method == "GET":
                await _text(send, 200, self._metrics(), b"text/plain; version=0.0.4; charset=utf-8")
            case _:
                await _text(send, 404, "POST /v1/traces, GET /healthz, /readyz, /metrics are here")

    async def _traces(self, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        parse = _PARSERS.get(kind)
        if parse is None:
            said = f"content type '{kind}' is not known; {PROTOBUF} or {JSON} is expected"
            await _answer(send, JSON, Answer(Verdict.UNSUPPORTED, said))
            return
        try:
            body = await _body(headers, receive)
            answer = body if isinstance(body, Answer) else await self._intake.spans(body, parse)
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001 - a 500 would make the client drop its data
            answer = busy(f"{type(error).__name__}: {error}")
        await _answer(send, kind, answer)


class _Gone(Exception):
    """The client went away before all was said."""


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes | Answer:
    """Return the body, decompressed; an answer where it is too large or cannot be decompressed."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"gzip"):
        return Answer(Verdict.UNSUPPORTED, f"content encoding {encoding.decode('latin-1')!r}; gzip or none is expected")
    reader = zlib.decompressobj(_GZIP) if encoding == b"gzip" else None
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        part, more = message.get("body", b""), message.get("more_body", False)
        if reader is not None:
            try:
                part = reader.decompress(part, MAX_REQUEST_BYTES + 1 - size)
            except zlib.error as error:
                return Answer(Verdict.MALFORMED, f"not gzip: {error}")
        size += len(part)
        if size > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is over {MAX_REQUEST_BYTES:,} bytes, decompressed")
        parts.append(part)
    if reader is not None and size and not reader.eof:
        return Answer(Verdict.MALFORMED, "not gzip: it ends early")
    return b"".join(parts)


async def _answer(send: Send, kind: str, answer: Answer) -> None:
    taken = answer.verdict is Verdict.OK
    message: Message = response_of(answer) if taken else status_of(answer)
    if kind == PROTOBUF:
        body = message.SerializeToString()
    elif taken:
        body = MessageToJson(message, indent=None).encode()
    else:
        body = json.dumps({"code": status_of(answer).code, "message": answer.message}).encode()
    headers = [(b"content-type", kind.encode())]
    if answer.retry_after_s:
        headers.append((b"retry-after", str(max(1, round(answer.retry_after_s))).encode()))
    await _send(send, answer.verdict.http, headers, body)


async def _text(send: Send, status: int, text: str, kind: bytes = b"text/plain", **headers: bytes) -> None:
    pairs = [(name.encode(), value) for name, value in headers.items()]
    await _send(send, status, [(b"content-type", kind), *pairs], text.encode())


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
