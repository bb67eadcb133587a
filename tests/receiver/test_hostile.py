"""Requests that mean harm, or come from programs gone wrong: each is answered, and costs nobody else anything."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any, Self

import grpc
import pytest

from otel_agent_journal.mapping.facts import SpansReceived, decode_fact
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.receiver.compression import MAX_MEMBERS
from otel_agent_journal.receiver.signals import LOGS, PART_BYTES, SPANS
from tests.receiver.asking import DOORS, JSON, METHODS, PROTOBUF, Told, as_json, ask, logs, over_http, spans
from tests.receiver.serving import MIB, Serving


def first(request: Any) -> Any:
    """Return the first span of a request."""
    return request.resource_spans[0].scope_spans[0].spans[0]


def readable(served: Serving) -> int:
    """Read what was kept as the drain does; return how many facts it amounts to."""
    facts = 0
    for payload in served.log.payloads:
        fact = decode_fact(payload)
        assert isinstance(fact, SpansReceived)
        facts += len(ReceivedSpans().facts(fact))
    return facts


@pytest.mark.parametrize("kind", ["array", "pairs"])
@pytest.mark.parametrize("door", DOORS)
def test_deep(served: Serving, door: str, kind: str) -> None:
    """However deep values are within values, what is taken can be read again, and what cannot be is refused."""
    taken = []
    for depth in (10, 29, 30, 31, 32, 40, 47, 48, 64, 100, 200):
        served.log.payloads.clear()
        request = spans("a")
        value = first(request).events.add(name="e").attributes.add(key="a").value
        for _ in range(depth):
            value = value.array_value.values.add() if kind == "array" else value.kvlist_value.values.add(key="k").value
        value.string_value = "deepest"
        if door == "json":
            body = deep_json(depth, kind)
        else:
            body = request.SerializeToString() if depth < 80 else nested(depth)
        told = ask(served, door, "traces", body)
        if told.status == "OK":
            taken.append(depth)
            assert readable(served) == 2
        else:
            assert (told.status, served.log.payloads) == ("INVALID_ARGUMENT", [])
    assert taken[:3] == [10, 29, 30]
    assert taken[-1] < 64


def nested(depth: int) -> bytes:
    """Return a protobuf request whose messages are so deep: protobuf itself does not write them."""
    body = b""
    for field in [1, 5] * depth + [2, 9, 2, 2, 1]:
        body = bytes([field << 3 | 2]) + varint(len(body)) + body
    return body


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    written = b""
    while value > 127:
        written, value = written + bytes([value & 127 | 128]), value >> 7
    return written + bytes([value])


def deep_json(depth: int, kind: str) -> bytes:
    """Return a request in JSON with a value so deep."""
    value: Any = {"stringValue": "deepest"}
    for _ in range(depth):
        if kind == "array":
            value = {"arrayValue": {"values": [value]}}
        else:
            value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    return in_json(events=[{"name": "e", "attributes": [{"key": "a", "value": value}]}])


def in_json(**fields: Any) -> bytes:
    """Return a request in JSON for one span, with fields as they are given."""
    span = {
        "traceId": "1" * 32,
        "spanId": "1" * 16,
        "name": "a",
        "startTimeUnixNano": 1_700_000_000_000_000_000,
        "endTimeUnixNano": 1_700_000_001_000_000_000,
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
        **fields,
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_brackets(served: Serving, signal: str) -> None:
    """A hundred thousand brackets are no request."""
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"resourceSpans":' * 100_000):
        assert ask(served, "json", signal, body).status == "INVALID_ARGUMENT"


def test_empty_objects(served: Serving) -> None:
    """JSON of nothing but empty objects, which would take a minute and gigabytes, is refused before it is read."""
    body = in_json(attributes=["ATTRIBUTES"]).replace(b'"ATTRIBUTES"', b"{}" + b",{}" * 4_000_000)
    began = time.monotonic()
    told = ask(served, "json", "traces", body)
    assert told.status == "INVALID_ARGUMENT"
    assert "4,000,009 objects and lists, limit 4,000,000; send less at once" in told.message
    assert time.monotonic() - began < 10


def test_odd_json(served: Serving) -> None:
    """Numbers come as numbers and as texts, values as what they are; what has another shape than OTLP's is refused."""
    good = [
        {"startTimeUnixNano": "1700000000000000000"},
        {"kind": 3, "flags": "257", "unknownField": [1, {"a": None}], "endTimeUnixNano": None},
        {"traceId": "AbCdEf" * 5 + "12"},
        {"attributes": [{"key": "a", "value": {"intValue": "-9223372036854775808"}}, {"key": "b", "value": {}}]},
        {"attributes": [{"key": "a", "value": {"doubleValue": text}} for text in ("NaN", "Infinity", "-Infinity", 1)]},
        {"attributes": [{"key": "a", "value": {"bytesValue": "AAEC"}}], "status": {"code": 2}},
        {"kind": 99},
        *({"kind": kind} for kind in ("SPAN_KIND_CLIENT", 2**31, 1.5, True, -1, "?")),
        *({"flags": flags} for flags in (-1, 2**32, "many")),
        {"startTimeUnixNano": 1.7e18, "endTimeUnixNano": "1.7e18"},
        {"endTimeUnixNano": "never"},
        *({"attributes": [{"key": "a", "value": {"intValue": value}}]} for value in (2**63, 1.5, "12.0", "a", False)),
        *({"attributes": [{"key": "a", "value": {"doubleValue": value}}]} for value in ("much", True)),
        *({"attributes": [{"key": "a", "value": {"boolValue": value}}]} for value in ("yes", "true", 1)),
    ]
    for fields in good:
        assert ask(served, "json", "traces", in_json(**fields)) == Told("OK"), fields
    assert readable(served) > 0
    served.log.payloads.clear()
    bad = [
        {"name": 5},
        {"attributes": {}},
        {"attributes": [5]},
        {"attributes": [{"key": "a", "value": {"doubleValue": [1]}}]},
        {"attributes": [{"key": "a", "value": {"bytesValue": "\u1234"}}]},
    ]
    for fields in bad:
        told = ask(served, "json", "traces", in_json(**fields))
        assert (told.status, told.retry_s) == ("INVALID_ARGUMENT", None), fields
    huge = in_json(attributes=[{"key": "a", "value": {"doubleValue": 0}}]).replace(b": 0}", b": 1" + b"0" * 400 + b"}")
    assert ask(served, "json", "traces", huge.replace(b"0" * 400, b"e999")).status == "INVALID_ARGUMENT"
    rejected = [
        *({"traceId": trace_id} for trace_id in ("1" * 30, "xyz", 5)),
        {"spanId": ""},
        *({"startTimeUnixNano": start} for start in (0, -1, 2**64, "1" * 5000, "soon")),
        {"endTimeUnixNano": str(2**63)},
    ]
    for fields in rejected:
        assert ask(served, "json", "traces", in_json(**fields)).rejected == 1, fields
    assert served.log.payloads == []


def test_twice_the_same_key(served: Serving) -> None:
    """Of a key that is there twice the last counts, in JSON and among attributes."""
    body = in_json().replace(b'"name": "a"', b'"name": "a", "name": "b"')
    assert ask(served, "json", "traces", body) == Told("OK")
    assert served.log.names() == ["b"]


@pytest.mark.parametrize("signal", ["traces", "logs"])
@pytest.mark.parametrize("door", DOORS)
def test_invalid_text(served: Serving, door: str, signal: str) -> None:
    """Text that is no Unicode is mended where it stands, and costs neither its record nor those beside it."""
    made = spans("good", "cut@@") if signal == "traces" else logs("good", "cut@@")
    of_resource = (made.resource_spans if signal == "traces" else made.resource_logs)[0]
    of_resource.resource.attributes.add(key="k@@").value.string_value = "v@@"
    body = (as_json(made) if door == "json" else made.SerializeToString()).replace(b"@@", b"\xc3(")
    for _ in range(2):
        assert ask(served, door, signal, body) == Told("OK")
    assert served.log.names() == ["good", "cut\ufffd("] * 2
    assert len({decode_fact(payload).request for payload in served.log.payloads}) == 1, "sent again it is the same"  # type: ignore[union-attr]


def test_half_of_a_pair(served: Serving) -> None:
    """JSON with half of a surrogate pair is mended; a whole one is the character that it is."""
    body = in_json(name="\ud800 \U0001f600 \ude00 \\ud800")
    assert b"\\ud83d\\ude00" in body
    assert ask(served, "json", "traces", body) == Told("OK")
    assert served.log.names() == ["\ufffd \U0001f600 \ufffd \\ud800"]


@pytest.mark.parametrize("door", DOORS)
def test_large_and_many(served: Serving, door: str) -> None:
    """Ten thousand attributes, a text of megabytes, names of every kind: nothing of it is a reason to refuse."""
    request = spans("a")
    for number in range(10_000):
        first(request).attributes.add(key=f"key.{number}").value.int_value = number
    first(request).attributes.add(key="huge").value.string_value = "x" * (8 * MIB)
    first(request).attributes.add(key="").value.string_value = "no key"
    first(request).attributes.add(key="not a number").value.double_value = float("nan") if door != "json" else 0.0
    first(request).attributes.add(key="\0\n\u202e").value.string_value = "\0"
    first(request).events.add(name="late", time_unix_nano=2**64 - 1)
    first(request).links.add(trace_id=b"short")
    assert ask(served, door, "traces", request) == Told("OK")
    assert readable(served) == 2


@pytest.mark.parametrize("field", [b"\x4a\x00", b"\x5a\x00", b"\x6a\x00"])
def test_more_than_a_span_may_have(served: Serving, field: bytes) -> None:
    """A span of a hundred thousand attributes, events or links is kept; one of more costs itself alone."""
    ids = b"\x0a\x10" + b"\1" * 16 + b"\x12\x08" + b"\1" * 8 + b"\x39" + b"\1" * 8
    most, more = (b"\x12" + varint(len(span)) + span for span in (ids + field * 100_000, ids + field * 100_001))
    body = most + more
    for tag in (b"\x12", b"\x0a"):
        body = tag + varint(len(body)) + body
    told = ask(served, "grpc", "traces", body)
    assert (told.status, told.rejected) == ("OK", 1)
    assert " 100,001 " in told.message
    assert len(served.log.names()) == 1


def test_parts() -> None:
    """A large request is kept in parts; however large its resources are, they do not multiply beyond its parts."""
    request = spans()
    request.resource_spans[0].resource.attributes.add(key="large").value.string_value = "x" * PART_BYTES
    del request.resource_spans[0].scope_spans[:]
    for number in range(2000):
        scope = request.resource_spans[0].scope_spans.add()
        scope.scope.name = f"scope {number}"
        scope.spans.extend(spans(f"{number}").resource_spans[0].scope_spans[0].spans)
    parts = list(SPANS.parts(request))
    assert sum(len(part) for part in parts) < 2 * PART_BYTES
    read = [
        span.name
        for part in parts
        for each in SPANS.read(part).request.resource_spans[0].scope_spans
        for span in each.spans
    ]
    assert read == [str(number) for number in range(2000)]

    many = logs(*(f"{number}-" + "x" * 4000 for number in range(4000)))
    parts = list(LOGS.parts(many))
    assert len(parts) == 4
    assert all(len(part) < 1.1 * PART_BYTES for part in parts)
    assert sum(len(LOGS.read(part).request.resource_logs[0].scope_logs[0].log_records) for part in parts) == 4000


def test_members(served: Serving) -> None:
    """gzip may be of several members, as of files put together, but not of as many as fit."""
    good = gzip.compress(spans("a").SerializeToString())
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip"}
    nothing = gzip.compress(b"")
    assert over_http(served.http, "/v1/traces", nothing * (MAX_MEMBERS - 1) + good, headers)[0] == 200
    began = time.monotonic()
    assert over_http(served.http, "/v1/traces", nothing * 1_000_000 + good, headers)[0] == 400
    assert time.monotonic() - began < 10
    assert served.log.names() == ["a"]


def test_compressed_twice(served: Serving) -> None:
    """What is gzip within gzip is no request."""
    twice = gzip.compress(spans("a").SerializeToString())
    for door in ("grpc", "protobuf"):
        # large enough to be compressed again, else gRPC's client sends it as it is
        told = ask(served, door, "traces", twice + bytes(100_000), "gzip")
        assert told.status == "INVALID_ARGUMENT"


class Wire:
    """A connection to the HTTP door on which anything can be said."""

    def __init__(self, served: Serving) -> None:
        host, _, port = served.http.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self, until: bytes) -> bytes:
        """Return what is said up to a text, or to the end of the connection."""
        heard = b""
        with contextlib.suppress(ConnectionError):
            while until not in heard:
                part = self._socket.recv(65536)
                if not part:
                    break
                heard += part
        return heard

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


POST = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
BODY = spans("a").SerializeToString()
LENGTH = b"content-length: %d\r\n" % len(BODY)


def test_chunked(served: Serving) -> None:
    """A body may come in chunks; one of chunks without end is over the limit at some time."""
    with Wire(served) as wire:
        wire.say(POST + b"transfer-encoding: chunked\r\n\r\n")
        for at in range(len(BODY)):
            wire.say(b"1\r\n" + BODY[at : at + 1] + b"\r\n")
        wire.say(b"0\r\n\r\n")
        assert b"200 OK" in wire.hear(b"\r\n\r\n")
    with Wire(served) as wire, contextlib.suppress(ConnectionError):
        wire.say(POST + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
        for _ in range(65):
            wire.say(chunk)
        wire.say(b"0\r\n\r\n")
        assert b" 413 " in wire.hear(b"\r\n\r\n")
    assert served.log.names() == ["a"]


def test_one_after_the_other(served: Serving) -> None:
    """Requests may follow each other on a connection, and not wait for answers; after an error it is closed."""
    with Wire(served) as wire:
        wire.say((POST + LENGTH + b"\r\n" + BODY) * 3)
        wire.say(POST + b"content-length: 1\r\n\r\n\xff")
        wire.say(POST + LENGTH + b"\r\n" + BODY)
        said = wire.hear(b"never")
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert said.count(b"HTTP/1.1 400 ") == 1
    assert served.log.names() == ["a"] * 3


def test_expect(served: Serving) -> None:
    """Who asks before it sends its body is told to go on, or what is wrong already."""
    with Wire(served) as wire:
        wire.say(POST + LENGTH + b"expect: 100-continue\r\n\r\n")
        assert b"100 " in wire.hear(b"\r\n\r\n")
        wire.say(BODY)
        assert b"200 OK" in wire.hear(b"\r\n\r\n")
    with Wire(served) as wire:
        wire.say(POST + b"content-length: 99999999999\r\nexpect: 100-continue\r\n\r\n")
        assert wire.hear(b"\r\n").startswith(b"HTTP/1.1 413 ")


def test_no_http(served: Serving) -> None:
    """What is not HTTP is answered with 400, or by closing the connection; the next client is served."""
    for said in (
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        POST + b"content-length: -1\r\n\r\n",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        POST + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n",
    ):
        with Wire(served) as wire, contextlib.suppress(ConnectionError):
            wire.say(said)
            heard = wire.hear(b"\r\n\r\n")
            assert not heard or heard.split()[1] in (b"400", b"404", b"431")
    assert ask(served, "protobuf", "traces", BODY) == Told("OK")
    assert served.counters.totals()["in_flight_bytes"] == 0


def test_slow_clients() -> None:
    """Clients that are slow, or say nothing, are told so in the end; meanwhile others are served."""
    with Serving(patience_s=2) as served, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Wire(served)) for _ in range(200)]
        slow_headers, slow_body, half = (stack.enter_context(Wire(served)) for _ in range(3))
        slow_body.say(POST + LENGTH + b"\r\n")
        half.say(POST + LENGTH + b"\r\n" + BODY[:10])
        channel = stack.enter_context(grpc.insecure_channel(served.grpc))
        silent = [threading.Event() for _ in range(60)]
        streams = [channel.stream_unary(METHODS["traces"]).future(_waiting(event), timeout=60) for event in silent]
        began = time.monotonic()
        over = False
        while not over:
            over = time.monotonic() - began > 3
            for wire, data in ((slow_headers, POST), (slow_body, BODY)):
                with contextlib.suppress(OSError):
                    wire.say(data[:1])
            for door in DOORS:
                told = ask(served, door, "traces", spans("b"))
                assert told.status in ("OK", "UNAVAILABLE"), "which is sent again"
        assert ask(served, "grpc", "traces", spans("c")) == Told("OK")
        for wire in (slow_body, half):
            assert wire.hear(b"\r\n").startswith(b"HTTP/1.1 503 ")
        for wire in (*idle, slow_headers):
            assert b" 200 " not in wire.hear(b"\r\n\r\n"), "closed"
        for stream in streams:
            failure: Any = stream.exception(20)
            assert failure.code() is grpc.StatusCode.UNAVAILABLE
        for event in silent:
            event.set()
        assert "a" not in served.log.names()
        assert served.counters.totals()["in_flight_bytes"] == 0


def _waiting(event: threading.Event) -> Iterator[bytes]:
    event.wait(60)
    yield b""


def test_silent_in_a_cold_queue() -> None:
    """With every place taken by streams that say nothing, one that does is served within seconds."""
    with Serving(patience_s=30) as served, grpc.insecure_channel(served.grpc) as channel:
        event = threading.Event()
        streams = [channel.stream_unary(METHODS["traces"]).future(_waiting(event), timeout=60) for _ in range(16)]
        time.sleep(0.3)
        began = time.monotonic()
        assert ask(served, "grpc", "traces", spans("a")) == Told("OK")
        assert time.monotonic() - began < 15
        assert sum(stream.done() for stream in streams) <= 2, "the oldest alone made room"
        event.set()


def test_gone_before_the_end(served: Serving) -> None:
    """A client that goes away in the middle of its request leaves nothing behind."""
    with Wire(served) as wire:
        wire.say(POST + LENGTH + b"\r\n" + BODY[:10])
    deadline = time.monotonic() + 60
    while served.counters.totals()["in_flight_bytes"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert served.log.payloads == []


def test_bombs(served: Serving) -> None:
    """Zeros that were sent as a thousandth of their size are refused, gzip or zlib, in members or as one."""
    bomb = gzip.compress(bytes(80 * MIB))
    headers = {"content-type": JSON, "content-encoding": "gzip"}
    for body, encoding in ((bomb, "gzip"), (bomb * 4, "gzip"), (zlib.compress(bytes(80 * MIB)), "deflate")):
        assert over_http(served.http, "/v1/logs", body, {**headers, "content-encoding": encoding})[0] == 413
    assert served.log.payloads == []
