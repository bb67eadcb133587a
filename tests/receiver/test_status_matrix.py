"""What a client is told, for both signals through every door: the specification's status for each, and no other ever.

What was refused is not kept; what was taken is, once.
"""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Iterator

import grpc
import pytest

from tests.receiver.asking import (
    DOORS,
    ENCODINGS,
    JSON,
    METHODS,
    PROTOBUF,
    SIGNALS,
    Told,
    ask,
    logs,
    made,
    over_http,
    spans,
)
from tests.receiver.serving import MIB, NeverStored, Serving

LIMIT = 64 * MIB

through_every_door = pytest.mark.parametrize(
    ("door", "signal", "encoding"),
    [(door, signal, encoding) for door in DOORS for signal in SIGNALS for encoding in ENCODINGS],
)


@through_every_door
def test_good(served: Serving, door: str, signal: str, encoding: str) -> None:
    """A good request is OK, nothing is said of a partial success, and it is kept once."""
    assert ask(served, door, signal, made(signal, "a", "b"), encoding) == Told("OK")
    assert served.log.names() == ["a", "b"]


@through_every_door
def test_empty(served: Serving, door: str, signal: str, encoding: str) -> None:
    """An empty request is OK, and nothing is kept of it; so is one with resources and no records."""
    hollow = made(signal)
    for request in (b"{}" if door == "json" else b"", hollow):
        assert ask(served, door, signal, request, encoding) == Told("OK")
    assert served.log.payloads == []


@pytest.mark.parametrize("door", DOORS)
def test_no_body_at_all(served: Serving, door: str) -> None:
    """A body of no bytes is an empty request, whatever is said of its type and encoding."""
    for signal in SIGNALS:
        assert ask(served, door, signal, b"") == Told("OK")
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip"}
    assert over_http(served.http, "/v1/traces", b"", headers)[0] == 200


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_some_are_bad(served: Serving, door: str, encoding: str) -> None:
    """Of a request with spans that can never be kept the good ones are, and the client is told how many were not."""
    request = spans("a", "zero trace", "zero span", "no start", "far future", "short id", "b")
    found = {span.name: span for span in request.resource_spans[0].scope_spans[0].spans}
    found["zero trace"].trace_id = bytes(16)
    found["zero span"].span_id = bytes(8)
    found["no start"].start_time_unix_nano = 0
    found["far future"].end_time_unix_nano = 2**64 - 1
    found["short id"].trace_id = b"\1" * 8
    told = ask(served, door, "traces", request, encoding)
    assert (told.status, told.rejected, told.retry_s) == ("OK", 5, None)
    assert told.message.startswith("5 of 7 spans were not kept; the first: trace_id")
    assert served.log.names() == ["a", "b"]


@pytest.mark.parametrize("door", DOORS)
def test_all_are_bad(served: Serving, door: str) -> None:
    """Of a request whose spans are all bad nothing is kept, and it is OK all the same: never to be sent again."""
    request = spans("a")
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    assert ask(served, door, "traces", request)[:3:2] == ("OK", 1)
    assert served.log.payloads == []


@pytest.mark.parametrize("door", DOORS)
def test_log_records_of_others(served: Serving, door: str) -> None:
    """Log records that are none of the journal's are taken and not kept: they are no mistake of their sender's."""
    request = logs("ours", "theirs")
    request.resource_logs[0].scope_logs[0].log_records[1].event_name = "http.request"
    assert ask(served, door, "logs", request) == Told("OK")
    assert served.log.names() == ["ours"]


@through_every_door
def test_undecodable(served: Serving, door: str, signal: str, encoding: str) -> None:
    """Bytes that are no request are their sender's fault, and never to be sent again."""
    good = made(signal, "a").SerializeToString()
    texts = (b"[1]", b"{", b"\xff", b'{"resourceSpans": 5, "resourceLogs": 5}', b'"text"', b"null")
    for body in texts if door == "json" else (b"\xff\xff\xff", b"hello", good[:-1]):
        told = ask(served, door, signal, body, encoding)
        assert (told.status, told.retry_s) == ("INVALID_ARGUMENT", None), body
        assert told.message
    assert served.log.payloads == []


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_not_compressed_as_said(served: Serving, signal: str, encoding: str) -> None:
    """What is not gzip, ends early, or has something behind it is the sender's fault too."""
    good = gzip.compress(made(signal, "a").SerializeToString())
    for body in (b"no gzip", good[:-5], good[:1], good + b"behind it"):
        headers = {"content-type": PROTOBUF, "content-encoding": encoding}
        assert over_http(served.http, f"/v1/{signal}", body, headers)[0] == 400
    assert served.log.payloads == []


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("door", DOORS)
def test_deflate(served: Serving, door: str, signal: str) -> None:
    """The other compression that gRPC and HTTP know is understood as well."""
    assert ask(served, door, signal, made(signal, "a"), "deflate") == Told("OK")
    assert served.log.names() == ["a"]


@through_every_door
def test_too_large(served: Serving, door: str, signal: str, encoding: str) -> None:
    """Over 64 MiB after decompression is too large, however small it was sent, and there is no use in trying again."""
    told = ask(served, door, signal, bytes(LIMIT + 1), encoding)
    assert (told.status, told.retry_s) == ("RESOURCE_EXHAUSTED", None)
    assert served.log.payloads == []
    assert ask(served, door, signal, made(signal, "a"), encoding) == Told("OK"), "and the next is taken"


@through_every_door
def test_overload(door: str, signal: str, encoding: str, small: Serving) -> None:
    """With as many bytes in hand as there is room for a client is asked to come again, and then it is let in."""
    small.log.payloads.clear()
    with small.fill(MIB):
        told = ask(small, door, signal, made(signal, "a"), encoding)
        assert (told.status, told.retry_s) == ("UNAVAILABLE", 1)
        assert over_http(small.http, "/readyz", method="GET")[0] == 503
    assert small.log.payloads == []
    assert ask(small, door, signal, made(signal, "a"), encoding) == Told("OK")
    assert over_http(small.http, "/readyz", method="GET")[0] == 200
    assert small.log.names() == ["a"]
    assert small.counters.totals()["in_flight_bytes"] == 0


@pytest.fixture(scope="module")
def small() -> Iterator[Serving]:
    """A receiver with room for a mebibyte."""
    with Serving(budget_bytes=MIB) as running:
        yield running


@pytest.mark.parametrize("door", DOORS)
def test_no_room_to_decompress(small: Serving, door: str) -> None:
    """What a body decompresses to counts as well: where there is no room for that, its client is to come again."""
    small.log.payloads.clear()
    with small.fill(MIB // 2):
        told = ask(small, door, "traces", bytes(4 * MIB), "gzip")
        assert (told.status, told.retry_s) == ("UNAVAILABLE", 1)
    assert ask(small, door, "traces", bytes(4 * MIB), "gzip").status == "INVALID_ARGUMENT", "alone it always fits"


@through_every_door
def test_spool_full(door: str, signal: str, encoding: str, served: Serving) -> None:
    """A spool that takes nothing more is no reason to drop anything."""
    served.log.last_refusal = "it is full"
    try:
        told = ask(served, door, signal, made(signal, "a"), encoding)
        assert told == Told("UNAVAILABLE", "the spool takes nothing: it is full", 0, 1)
    finally:
        served.log.last_refusal = None


@through_every_door
def test_faults_of_our_own(door: str, signal: str, encoding: str, served: Serving) -> None:
    """Whatever goes wrong in the receiver itself, a client never hears what would make it drop its data."""
    for failure in (OSError(28, "No space left on device"), KeyError("a mistake"), MemoryError(), RecursionError()):
        served.log.failure = failure
        try:
            told = ask(served, door, signal, made(signal, "a"), encoding)
            assert (told.status, told.retry_s) == ("UNAVAILABLE", 1)
        finally:
            served.log.failure = None


def test_shutting_down() -> None:
    """While it is shutting down clients are asked to come again."""
    with Serving() as running:
        running.intake.close()
        for door in DOORS:
            for signal in SIGNALS:
                told = ask(running, door, signal, made(signal, "a"))
                assert told == Told("UNAVAILABLE", "the receiver is shutting down", 0, 1)
        assert over_http(running.http, "/readyz", method="GET")[0] == 503
        assert over_http(running.http, "/healthz", method="GET")[0] == 200
        assert running.log.payloads == []


def test_not_yet_in_the_store() -> None:
    """Where the store is waited for, and it is away, a client is asked to come again, though its request is kept."""
    with Serving(stored=NeverStored()) as running:
        for door in DOORS:
            for signal in SIGNALS:
                told = ask(running, door, signal, made(signal, "a"))
                assert told == Told("UNAVAILABLE", "it is kept, and not yet in the store", 0, 1)
                assert ask(running, door, signal, made(signal)) == Told("OK"), "nothing in it is to be waited for"
        assert running.log.names() == ["a"] * 6


def test_tokens() -> None:
    """Without a token that is known nothing is read of a request."""
    with Serving(tokens=("old", "new-ü")) as running:
        for door in DOORS:
            for wrong in ((), ("authorization", ""), ("authorization", "Bearer"), ("authorization", "Bearer ne")):
                for signal in SIGNALS:
                    told = ask(running, door, signal, b"\xff", headers=[wrong] if wrong else ())
                    assert (told.status, told.retry_s) == ("UNAUTHENTICATED", None)
                    assert "bearer token is expected" in told.message
            for right in ("Bearer old", "bearer old ", "BEARER   old"):
                told = ask(running, door, "traces", made("traces", "a"), headers=[("authorization", right)])
                assert told == Told("OK")
        assert len(running.log.names()) == 9
        _, _, headers = over_http(running.http, "/v1/traces", b"", {"content-type": PROTOBUF})
        assert headers["www-authenticate"] == "Bearer"
        utf8 = "Bearer new-ü".encode().decode("latin-1")
        assert over_http(running.http, "/v1/traces", b"", {"content-type": JSON, "authorization": utf8})[0] == 200


def test_other_requests_over_http(served: Serving) -> None:
    """What is not OTLP is told so."""
    for kind in ("text/plain", "application/grpc", ""):
        status, body, headers = over_http(served.http, "/v1/traces", b"x", {"content-type": kind})
        assert (status, headers["content-type"]) == (415, JSON)
        assert b"is not known" in body
    for encoding in ("br", "zstd", "gzip, gzip"):
        headers = {"content-type": PROTOBUF, "content-encoding": encoding}
        assert over_http(served.http, "/v1/logs", b"x", headers)[0] == 415
    with_charset = {"content-type": "Application/JSON; charset=utf-8"}
    assert over_http(served.http, "/v1/logs", b"{}", with_charset)[0] == 200
    for path in ("/v1/metrics", "/v1/traces/", "/", "/v1/Traces", "/%ff", "/v1/traces%00"):
        assert over_http(served.http, path, b"x", {"content-type": PROTOBUF})[0] == 404
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "HEAD"):
        status, _, headers = over_http(served.http, "/v1/traces", method=method)
        assert (status, headers["allow"]) == (405, "POST")
    for path in ("/healthz", "/readyz", "/metrics"):
        assert over_http(served.http, path, method="GET")[0] == 200
        assert over_http(served.http, path, method="HEAD")[0] == 200
        assert over_http(served.http, path, b"x", method="POST")[0] == 404
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x"}
    assert over_http(served.http, "/v1/traces", headers=upgrade, method="GET")[0] == 405


def test_other_calls_over_grpc(served: Serving) -> None:
    """A method that is not there is UNIMPLEMENTED, as gRPC has it."""
    metrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    with grpc.insecure_channel(served.grpc) as channel:
        for method in (metrics, METHODS["traces"].replace("Export", "Import"), "/nothing/at.all"):
            with pytest.raises(grpc.RpcError) as failure:
                channel.unary_unary(method)(b"", timeout=30)
            assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_stream_of_messages(served: Serving) -> None:
    """A call is one message: of a client that sends several the first counts, and who sends none is to try again."""
    with grpc.insecure_channel(served.grpc) as channel:
        call = channel.stream_unary(METHODS["traces"])
        assert call(iter([spans("a").SerializeToString(), spans("b").SerializeToString()]), timeout=30) == b""
        with pytest.raises(grpc.RpcError) as failure:
            call(iter([]), timeout=30)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert served.log.names() == ["a"]


def test_frames_of_grpc(served: Serving) -> None:
    """On the wire: a message that is cut short is never acknowledged, one that is said to be too large is refused."""
    good = spans("a").SerializeToString()
    assert status_of_call(served, b"identity", 0, good) == 0
    assert status_of_call(served, b"gzip", 1, gzip.compress(good)) == 0
    assert status_of_call(served, b"identity", 0, good, length=len(good) + 1) == 14
    assert status_of_call(served, b"identity", 0, good[:-9], length=len(good)) == 14
    assert status_of_call(served, b"identity", 0, good, length=2**32 - 1) == 8
    assert served.log.names() == ["a", "a"]


def status_of_call(served: Serving, encoding: bytes, flag: int, message: bytes, length: int | None = None) -> int:
    """Send a call frame by frame, its message with a flag and a length as they are given; return its status."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": METHODS["traces"].encode(),
        b":authority": b"x",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"grpc-encoding": encoding,
    }
    block = b"".join(b"\0%c%b%c%b" % (len(key), key, len(value), value) for key, value in headers.items())
    body = bytes([flag]) + (len(message) if length is None else length).to_bytes(4) + message
    host, _, port = served.grpc.partition(":")
    heard = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        for kind, flags, stream, payload in ((4, 0, 0, b""), (1, 4, 1, block), (0, 1, 1, body)):
            connection.sendall(len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload)
        while (found := re.search(rb"grpc-status.(\d+)", heard, re.DOTALL)) is None:
            part = connection.recv(65536)
            assert part, heard
            heard += part
    return int(found.group(1))
