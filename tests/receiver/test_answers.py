"""What a client is told, over gRPC and over HTTP: the specification's status for each, and nothing else ever."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

import grpc
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.receiver.collecting import TRACES, Collecting, eventually, request

GOOD = request([("a" * 32, "b" * 16)]).SerializeToString()
LIMIT = 64 * 1024 * 1024


class Told(NamedTuple):
    """An answer: the status, and its body."""

    status: int | str
    body: bytes
    retry_after: str | None = None


def over_http(
    collecting: Collecting,
    body: bytes,
    kind: str = "application/x-protobuf",
    path: str = "/v1/traces",
    method: str = "POST",
    **headers: str,
) -> Told:
    """Send a request over HTTP."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(
        f"http://{collecting.http}{path}", body or None, {"content-type": kind, **named}, method=method
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.headers["content-type"] == kind or path != "/v1/traces"
            return Told(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Told(error.code, error.read(), error.headers.get("retry-after"))


def over_grpc(collecting: Collecting, body: bytes, compression: grpc.Compression | None = None) -> Told:
    """Send a request over gRPC."""
    with grpc.insecure_channel(collecting.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        call: Callable[..., bytes] = channel.unary_unary(TRACES)
        try:
            return Told("OK", call(body, timeout=30, compression=compression))
        except grpc.RpcError as error:
            return Told(error.code().name, error.details().encode())


def test_taken(collecting: Collecting) -> None:
    """Good requests, empty ones, compressed ones: OK, and nothing said of a partial success."""
    for body in (GOOD, b""):
        assert over_grpc(collecting, body) == Told("OK", b"")
        assert over_grpc(collecting, body, grpc.Compression.Gzip) == Told("OK", b"")
        assert over_http(collecting, body) == Told(200, b"")
        assert over_http(collecting, gzip.compress(body), content_encoding="gzip") == Told(200, b"")
    assert over_http(collecting, b"{}", "application/json") == Told(200, b"{}")


def test_malformed(collecting: Collecting) -> None:
    """Bytes that are no request are the client's fault, and never to be sent again."""
    for body in (b"\xff\xff\xff", b"hello", GOOD[:-1]):
        assert over_grpc(collecting, body).status == "INVALID_ARGUMENT"
        status, said, retry_after = over_http(collecting, body)
        assert (status, retry_after) == (400, None)
        assert Status.FromString(said).code == 3
    for text in (
        b"[1]",
        b"{",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [7]}]}]}',
        b"\xff",
    ):
        status, said, _ = over_http(collecting, text, "application/json")
        assert status == 400
        assert json.loads(said)["code"] == 3
    assert over_http(collecting, b"no gzip", content_encoding="gzip").status == 400
    assert over_http(collecting, gzip.compress(GOOD)[:-5], content_encoding="gzip").status == 400


def test_some_are_bad(collecting: Collecting) -> None:
    """Of a request with bad spans the good ones are kept, and the client is told how many were not."""
    made = request([("a" * 32, "1" * 16), ("0" * 32, "2" * 16), ("a" * 32, "0" * 16), ("b" * 32, "3" * 16)])
    made.resource_spans[0].scope_spans[0].spans.add(name="no ids at all")
    told = [
        over_grpc(collecting, made.SerializeToString()).body,
        over_http(collecting, made.SerializeToString()).body,
    ]
    for body in told:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
        assert partial.rejected_spans == 3
        assert "trace_id" in partial.error_message
    collecting.stop()
    assert len(collecting.events("s1")) == 4, "two spans, each with start and end, sent twice"


def test_too_large(collecting: Collecting) -> None:
    """Over 64 MiB after decompression is too large, however small it was sent."""
    assert over_grpc(collecting, bytes(LIMIT + 1)).status == "RESOURCE_EXHAUSTED"
    assert over_grpc(collecting, bytes(LIMIT + 1), grpc.Compression.Gzip).status == "RESOURCE_EXHAUSTED"
    assert over_http(collecting, gzip.compress(bytes(LIMIT * 8)), content_encoding="gzip").status == 413
    assert over_grpc(collecting, GOOD) == Told("OK", b"")


def test_other_requests(collecting: Collecting) -> None:
    """What is not OTLP is told so."""
    assert over_http(collecting, GOOD, "text/plain").status == 415
    assert over_http(collecting, GOOD, content_encoding="br").status == 415
    assert over_http(collecting, GOOD, path="/v1/nothing").status == 404
    assert over_http(collecting, b"", path="/v1/traces", method="GET").status == 405
    assert over_http(collecting, b"", path="/healthz", method="GET").status == 200
    assert over_http(collecting, b"", path="/readyz", method="GET").status == 200


def test_counted(collecting: Collecting) -> None:
    """Every span is in one place: stored, a duplicate, rejected, left out; in the end none is pending."""
    good = request([("a" * 32, "1" * 16), ("0" * 32, "2" * 16), ("c" * 32, "3" * 16)])
    good.resource_spans[0].scope_spans[0].spans[2].ClearField("attributes")  # none of an agent's
    over_grpc(collecting, GOOD)
    over_http(collecting, good.SerializeToString())
    over_grpc(collecting, GOOD)
    over_http(collecting, b"hello")
    eventually(lambda: counted(collecting)["pending"] == 0)
    found = counted(collecting)
    assert found.pop("bytes") > 0
    assert {name: value for name, value in found.items() if value} == {
        "requests": 4,
        "received": 5,
        "stored": 2,
        "duplicate": 1,
        "rejected": 1,
        "left_out": 1,
        "malformed": 1,
    }


def counted(collecting: Collecting) -> dict[str, int]:
    """Return what /metrics says."""
    lines = over_http(collecting, b"", path="/metrics", method="GET").body.decode().splitlines()
    found = dict(line.removeprefix("agent_journal_receiver_").split() for line in lines if line[0] != "#")
    return {name.removesuffix("_total"): int(value) for name, value in found.items()}
