"""The server's connections: each reads requests over HTTP/1.1, asks for their replies, and delivers them as told.

Delivery is where time and faults are: pauses, gates, connections that close within a frame. What to answer, it asks
its owner.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from otel_agent_journal.testing.bedrock import frames
from otel_agent_journal.testing.bedrock.completion import TRACES, complete, parts_of
from otel_agent_journal.testing.bedrock.converse import converse_body
from otel_agent_journal.testing.bedrock.invoke import invoke_body
from otel_agent_journal.testing.bedrock.replies import (
    Body,
    Death,
    Delivery,
    Failure,
    Message,
    Part,
    Parts,
    Reply,
    failure,
)
from otel_agent_journal.testing.bedrock.requests import Request, read_request

_LONGEST_HOLD_S: Final = 30.0
_ABRUPTLY: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends a reset


class Connections(http.server.ThreadingHTTPServer):
    """The listening socket and its connections, one thread each; `end` closes all and waits for the threads."""

    daemon_threads = True  # a server that was never closed keeps no process alive
    request_queue_size = 128  # many agents at once connect within one turn of the accepting thread

    def __init__(self, respond: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.respond = respond
        self.numbers = itertools.count(1)
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="bedrock-connection", daemon=True
        )
        with self._lock:
            self._open[thread] = request
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that is gone is no news
            super().handle_error(request, client_address)

    def end(self, timeout_s: float) -> None:
        """Close everything. Threads that a pause or a gate holds are woken."""
        self.closing.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + timeout_s
        for thread in left:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a frame leaves when it is written

    def do_POST(self) -> None:
        payload = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server = cast("Connections", self.server)
        request = read_request(next(server.numbers), self.path, headers, payload)
        if request is None:
            self._send_error(failure("UnknownOperationException", f"nothing is served at {self.path}"))
            return
        with contextlib.suppress(_Ended):
            self._deliver(server.respond(request), request)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Say nothing: what arrived is in the server's `requests`."""

    def _deliver(self, reply: Reply, request: Request) -> None:
        delivery = reply.delivery
        self._wait(delivery.first_s)
        if isinstance(reply.body, Failure):
            self._send_error(reply.body)
        elif request.operation in ("Converse", "InvokeModel"):
            self._deliver_whole(reply.body, reply.delivery, request)
        elif isinstance(reply.body, Body):
            self._send_error(failure("ValidationException", f"a body is no answer to {request.operation}"))
        else:
            self._deliver_stream(reply.body, reply.delivery, request)

    def _deliver_whole(self, said: Message | Parts | Body, delivery: Delivery, request: Request) -> None:
        if isinstance(said, Parts) or (isinstance(said, Body) and request.operation == "Converse"):
            kind = "a stream of parts" if isinstance(said, Parts) else "a body"
            self._send_error(failure("ValidationException", f"{kind} is no answer to {request.operation}"))
            return
        self._pass(delivery.gate)
        broken = None if delivery.breaks_after is None else delivery.breaks_by
        if isinstance(broken, Part):
            code = broken.name[:1].upper() + broken.name[1:]
            self._send_error(failure(code, broken.payload["message"]))
            return
        body, headers = _whole(said, request)
        head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        self._send_head(200, request, head)
        if broken is None:
            self.wfile.write(body)
        else:
            self.wfile.write(body[: len(body) // 2])
            self._die("reset" if broken == "reset" else "close")

    def _deliver_stream(self, body: Message | Parts, delivery: Delivery, request: Request) -> None:
        self._send_head(200, request, {"Content-Type": frames.CONTENT_TYPE, "Transfer-Encoding": "chunked"})
        for sent, frame in enumerate(_frames(body, request)):
            if sent == delivery.gate_after:
                self._pass(delivery.gate)
            if sent == delivery.breaks_after:
                break
            if sent:
                self._wait(delivery.between_s)
            self._send_chunk(frame)
        if delivery.breaks_after is not None:
            self._break(delivery.breaks_by)
        self.wfile.write(b"0\r\n\r\n")

    def _break(self, by: Death | Part) -> None:
        if isinstance(by, Part):
            self._send_chunk(frames.exception_frame(by.name, by.payload))
        elif by == "truncate":
            frame = frames.event_frame("chunk", {"bytes": "bmV2ZXIgd2hvbGU="})
            self.wfile.write(b"%x\r\n" % len(frame) + frame[: len(frame) // 2])
            self._die("close")
        elif by != "end":
            self._die(by)

    def _die(self, how: Death) -> None:
        """Close the connection and leave; with a reset the client gets an error instead of an end."""
        self.close_connection = True
        if how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPTLY)
            self.rfile.close()  # it holds the socket open
            self.connection.close()
        raise _Ended

    def _send_error(self, error: Failure) -> None:
        if not error.code:
            self._die("close")
        body = json.dumps({"message": error.message}).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
        self._send_head(error.status, None, {**head, "x-amzn-ErrorType": error.code})
        self.wfile.write(body)

    def _send_head(self, status: int, request: Request | None, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("x-amzn-RequestId", f"request-{request.number if request else 0}")
        for name, value in {**headers, **(_headers_of(request) if request else {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and cast("Connections", self.server).closing.wait(seconds):
            self._die("close")

    def _pass(self, gate: threading.Event | None) -> None:
        """Wait at the gate; look up now and then, for the server may end."""
        deadline = time.monotonic() + _LONGEST_HOLD_S
        while gate is not None and not gate.wait(0.02):
            if cast("Connections", self.server).closing.is_set() or time.monotonic() > deadline:
                self._die("close")


class _Ended(Exception):
    """The connection is closed on purpose."""


def _frames(body: Message | Parts, request: Request) -> Iterator[bytes]:
    traced = request.body.get("enableTrace") is True
    for part in parts_of(body, request):
        if part.name in TRACES and not traced:
            continue
        payload = complete(part, request, datetime.now(UTC))
        yield frames.exception_frame(part.name, payload) if part.exception else frames.event_frame(part.name, payload)


def _whole(said: Message | Body, request: Request) -> tuple[bytes, Mapping[str, str]]:
    if isinstance(said, Body):
        return said.data, said.headers
    make = converse_body if request.operation == "Converse" else invoke_body
    return json.dumps(make(said, request.number)).encode(), {}


def _headers_of(request: Request) -> dict[str, str]:
    match request.operation:
        case "InvokeAgent" | "InvokeInlineAgent":
            headers = {"x-amz-bedrock-agent-session-id": request.session_id}
            headers["x-amzn-bedrock-agent-content-type"] = "application/json"
            if "memoryId" in request.body:
                headers["x-amz-bedrock-agent-memory-id"] = request.body["memoryId"]
            return headers
        case "InvokeFlow":
            execution = request.body.get("executionId", f"execution-{request.number}")
            return {"x-amz-bedrock-flow-execution-id": execution}
        case _:
            return {}
