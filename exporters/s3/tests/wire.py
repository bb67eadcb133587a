"""The wire between a store and its server: counted, and broken as a test wants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSResponse

from otel_agent_journal_s3 import S3Store

Send = Callable[[Any], Any]


class _Raw(BytesIO):
    def stream(self, *_: object, **__: object):
        yield self.read()


class Wire:
    """Every request of a store's client passes here. `fault` may answer in the server's place, or raise."""

    def __init__(self, store: S3Store) -> None:
        self.fault: Callable[[Any, Send], Any] | None = None
        self.requests: Counter[str] = Counter()
        self.put_bytes = 0
        self.puts: list[str] = []
        self.clients = 0
        made = store._bucket.made
        self._attach(store._bucket.client)
        store._bucket.made = lambda: self._attach(made())

    def _attach(self, client: Any) -> Any:
        self.clients += 1
        session = client._endpoint.http_session
        session.send = partial(self._pass, session.send)
        return client

    def _pass(self, send: Send, request: Any) -> Any:
        name = name_of(request)
        listing = request.method == "GET" and "list-type" in request.url
        self.requests["LIST" if listing else request.method] += 1
        if request.method == "PUT":
            self.put_bytes += len(body_of(request))
            self.puts.append(name)
        return send(request) if self.fault is None else self.fault(request, send)


def name_of(request: Any) -> str:
    """The object's name below the bucket."""
    return unquote(urlsplit(request.url).path).lstrip("/").partition("/")[2]


def body_of(request: Any) -> bytes:
    """What is sent."""
    body = request.body
    if hasattr(body, "read"):
        position = body.tell()
        data = body.read()
        body.seek(position)
        return data
    return body or b""


def answer(request: Any, status: int, code: str, message: str = "as the test wants it", **more: str) -> AWSResponse:
    """An error of the server."""
    extra = "".join(f"<{name}>{text}</{name}>" for name, text in more.items())
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>".encode()
    return said(request, status, body, {"content-type": "application/xml", "x-amz-bucket-region": "eu-south-2"})


def said(request: Any, status: int, body: bytes, headers: dict[str, str]) -> AWSResponse:
    """An answer of whoever is there."""
    return AWSResponse(request.url, status, {**headers, "content-length": str(len(body))}, _Raw(body))
