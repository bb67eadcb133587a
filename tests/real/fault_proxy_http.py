"""Faults of DynamoDB and S3, in front of DynamoDB Local and MinIO.

Requests are passed on as they came, the Host header among them, which the signature covers. Only a batch that is done
in part is rewritten, which DynamoDB Local, checking no signatures, does not mind.
"""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
from typing import Any, Final, NamedTuple

from tests.real.fault_proxy import (
    APPLIED,
    APPLIED_RESET,
    APPLIED_SILENT,
    CONFLICT,
    FAILED,
    MIDWAY,
    PARTIAL,
    RESET,
    SLOW,
    THROTTLED,
    UNAVAILABLE,
    Call,
    FaultProxy,
    Plan,
    Reset,
    nothing,
)

HOP_BY_HOP: Final = frozenset(("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"))
_ANY: Final = frozenset((THROTTLED, FAILED, UNAVAILABLE, RESET, MIDWAY, SLOW, *APPLIED))
_NO_BODY: Final = frozenset((204, 304))


class Request(NamedTuple):
    """A request, its body in the framing it came in."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def with_body(self, body: bytes) -> Request:
        """Return it with another body."""
        headers = [(key, value) for key, value in self.headers if key.lower() != "content-length"]
        return self._replace(headers=[*headers, ("Content-Length", str(len(body)))], body=body)


class Response(NamedTuple):
    """An answer, its body whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class HttpProxy(FaultProxy):
    """A proxy of HTTP/1.1: keep-alive, bodies by length or in chunks, Expect: 100-continue."""

    def call(self, request: Request) -> Call:
        """Return what a request is."""
        raise NotImplementedError

    def refusal(self, fault: str, request: Request) -> Response:
        """Return what the service says in place of doing it."""
        raise NotImplementedError

    def in_part(self, request: Request, server: socket.socket) -> Response:
        """Have a part of a batch done."""
        raise NotImplementedError

    def altered(self, request: Request) -> Request:
        """Return the request that is passed on; a test that wants a store with a fault in it makes it another."""
        return request

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on requests and answers, one after the other."""
        with client.makefile("rb") as reader:
            while (request := _read_request(reader, client)) is not None:
                fault = self.decide(self.call(request))
                response = self._answer(self.altered(request), fault, server)
                self.answered(client, _text_of(response, request.method))
                if (request.header("connection") or "").lower() == "close":
                    return

    def _answer(self, request: Request, fault: str | None, server: socket.socket) -> Response:
        if fault == RESET:
            raise Reset
        if fault == MIDWAY:
            _send(request, server)
            raise Reset
        if fault in (THROTTLED, FAILED, UNAVAILABLE, CONFLICT):
            return self.refusal(fault, request)
        if fault == PARTIAL:
            return self.in_part(request, server)
        if fault == SLOW:
            self.pause(self.slow_s)
        response = ask(request, server)
        if fault == APPLIED_SILENT:
            self.pause(self.silence_s)
        if fault in (APPLIED_RESET, APPLIED_SILENT):
            raise Reset
        return response


class DynamoDBProxy(HttpProxy):
    """Faults of DynamoDB."""

    def __init__(self, port: int, plan: Plan = nothing, *, seed: int = 0, **options: float) -> None:
        super().__init__(port, plan, **options)
        self._random = random.Random(seed)

    def call(self, request: Request) -> Call:
        """Return the operation of a request."""
        name = (request.header("x-amz-target") or "").partition(".")[2]
        more = {"BatchWriteItem": {PARTIAL}, "BatchGetItem": {PARTIAL}, "TransactWriteItems": {CONFLICT}}
        return Call(name, request.path, _ANY | more.get(name, set()))

    def refusal(self, fault: str, request: Request) -> Response:
        """Return DynamoDB's error."""
        status, kind, more = {
            THROTTLED: (400, "ProvisionedThroughputExceededException", {}),
            FAILED: (500, "InternalServerError", {}),
            UNAVAILABLE: (503, "ServiceUnavailable", {}),
            CONFLICT: (400, "TransactionCanceledException", _conflict(request) if fault == CONFLICT else {}),
        }[fault]
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": f"made by a test: {fault}", **more}
        return _json(body, status)

    def in_part(self, request: Request, server: socket.socket) -> Response:
        """Forward some of a batch, at random, and hand back the rest as unprocessed."""
        body = json.loads(request.body)
        writes = (request.header("x-amz-target") or "").endswith("BatchWriteItem")
        unprocessed = "UnprocessedItems" if writes else "UnprocessedKeys"
        done: dict[str, Any] = {}
        left: dict[str, Any] = {}
        for table, asked in body["RequestItems"].items():
            items = asked if writes else asked["Keys"]
            kept = set(self._random.sample(range(len(items)), len(items) // 2))
            for target, chosen in (
                (done, [item for place, item in enumerate(items) if place in kept]),
                (left, [item for place, item in enumerate(items) if place not in kept]),
            ):
                if chosen:
                    target[table] = chosen if writes else {**asked, "Keys": chosen}
        if not done:
            return _json({unprocessed: left} | ({} if writes else {"Responses": {}}))
        response = ask(request.with_body(json.dumps({**body, "RequestItems": done}).encode()), server)
        if response.status != 200:
            return response
        answer = json.loads(response.body)
        for table, items in answer.get(unprocessed, {}).items():
            there = left.get(table)
            left[table] = items if there is None else [*there, *items] if writes else there
        return _json({**answer, unprocessed: left})


class S3Proxy(HttpProxy):
    """Faults of S3."""

    def call(self, request: Request) -> Call:
        """Return the method and path; a conditional PUT can be in conflict."""
        conditional = request.header("if-match") or request.header("if-none-match")
        can = _ANY | {CONFLICT} if request.method in ("PUT", "POST") and conditional else _ANY
        return Call(request.method, request.path, can)

    def refusal(self, fault: str, request: Request) -> Response:
        """Return S3's error."""
        status, code = {
            THROTTLED: (503, "SlowDown"),
            FAILED: (500, "InternalError"),
            UNAVAILABLE: (503, "ServiceUnavailable"),
            CONFLICT: (409, "ConditionalRequestConflict"),
        }[fault]
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>made by a test: {fault}</Message><RequestId>0</RequestId></Error>"
        )
        return Response(status, [("Content-Type", "application/xml")], text.encode())


def ask(request: Request, server: socket.socket) -> Response:
    """Send a request to the server and read its answer whole."""
    _send(request, server)
    response = http.client.HTTPResponse(server, method=request.method)
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException as error:
        raise ConnectionAbortedError from error
    headers = [(key, value) for key, value in response.getheaders() if key.lower() not in HOP_BY_HOP]
    response.close()
    return Response(response.status, headers, body)


def _send(request: Request, server: socket.socket) -> None:
    lines = [f"{request.method} {request.path} HTTP/1.1"]
    lines += [f"{key}: {value}" for key, value in request.headers if key.lower() not in HOP_BY_HOP | {"expect"}]
    server.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)


def _read_request(reader: io.BufferedReader, client: socket.socket) -> Request | None:
    line = reader.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    message = http.client.parse_headers(reader)
    if (message.get("Expect") or "").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in (message.get("Transfer-Encoding") or "").lower():
        body = b"".join(_chunks(reader))
    else:
        length = int(message.get("Content-Length") or 0)
        body = reader.read(length)
        if len(body) < length:
            return None
    return Request(line[0], line[1], message.items(), body)


def _chunks(reader: io.BufferedReader) -> Any:
    """Yield a chunked body as it is, sizes and trailers too."""
    while True:
        line = reader.readline()
        yield line
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        yield reader.read(size + 2)
    while (line := reader.readline()) not in (b"\r\n", b""):
        yield line
    yield b"\r\n"


def _text_of(response: Response, method: str) -> bytes:
    reason = http.client.responses.get(response.status, "")
    bodiless = method == "HEAD" or response.status in _NO_BODY
    dropped = {"transfer-encoding"} if bodiless else {"transfer-encoding", "content-length"}
    headers = [(key, value) for key, value in response.headers if key.lower() not in dropped]
    if not bodiless:
        headers.append(("Content-Length", str(len(response.body))))
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{key}: {value}" for key, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bodiless else response.body)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    """Return an answer of DynamoDB; without the checksum that the server's own had."""
    return Response(status, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(body).encode())


def _conflict(request: Request) -> dict[str, Any]:
    """Return the reasons of a transaction cancelled because of another: of its actions the last is to blame."""
    actions = json.loads(request.body)["TransactItems"]
    reasons = [{"Code": "None"} for _ in actions[1:]]
    return {"CancellationReasons": [*reasons, {"Code": "TransactionConflict", "Message": "in conflict"}]}
