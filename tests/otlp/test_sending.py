"""Where spans are sent, and what each answer of a backend means."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.forwarding import sender as sender_module
from otel_agent_journal.forwarding.sender import open_sender
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.answers import BatchRefused, SendFailed
from otel_agent_journal.otlp.target import otlp_target
from tests.otlp.backend import Backend

SPAN = SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="x", start_ns=1, end_ns=2, resource={"service.name": "r"})
ENV = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize(
    ("url", "environ", "protocol", "address"),
    [
        (None, {}, "http/protobuf", "http://localhost:4318/v1/traces"),
        (None, {f"{ENV}PROTOCOL": "grpc"}, "grpc", "localhost:4317"),
        (None, {f"{ENV}ENDPOINT": "http://c:1234/base/"}, "http/protobuf", "http://c:1234/base/v1/traces"),
        (None, {f"{ENV}ENDPOINT": "http://c:4317"}, "grpc", "c:4317"),
        (None, {f"{ENV}ENDPOINT": "http://c:9", f"{ENV}PROTOCOL": "grpc"}, "grpc", "c:9"),
        (None, {f"{ENV}TRACES_ENDPOINT": "https://c/x", f"{ENV}ENDPOINT": "http://d"}, "http/protobuf", "https://c/x"),
        (None, {f"{ENV}TRACES_ENDPOINT": "http://c:1"}, "http/protobuf", "http://c:1/"),
        ("http://c:1", {f"{ENV}ENDPOINT": "http://d"}, "http/protobuf", "http://c:1/v1/traces"),
        ("http://d/x", {f"{ENV}ENDPOINT": "http://d/x"}, "http/protobuf", "http://d/x/v1/traces"),
        ("http://c:1/", {}, "http/protobuf", "http://c:1/v1/traces"),
        ("http://c:1/otlp?k=v", {}, "http/protobuf", "http://c:1/otlp?k=v"),
        ("http://c:4317", {}, "grpc", "c:4317"),
        ("http://c:4317", {f"{ENV}PROTOCOL": "http/protobuf"}, "grpc", "c:4317"),
        ("http://c:4318", {f"{ENV}PROTOCOL": "grpc"}, "http/protobuf", "http://c:4318/v1/traces"),
        ("http://c:9", {f"{ENV}TRACES_PROTOCOL": "grpc", f"{ENV}PROTOCOL": "http/protobuf"}, "grpc", "c:9"),
        ("grpc://c", {}, "grpc", "c:4317"),
        ("grpcs://[::1]:9", {}, "grpc", "[::1]:9"),
        ("c:1234", {}, "http/protobuf", "http://c:1234/v1/traces"),
        ("c:4317", {}, "grpc", "c:4317"),
        ("HTTP://c", {}, "http/protobuf", "http://c/v1/traces"),
    ],
)
def test_where_spans_go(url: str | None, environ: dict[str, str], protocol: str, address: str) -> None:
    """An argument goes before the variables, their _TRACES_ form before the general one, a port before the protocol."""
    target = otlp_target(url, environ)
    assert (target.protocol, target.address) == (protocol, address)


@pytest.mark.parametrize(
    ("url", "environ", "insecure"),
    [
        ("http://c", {}, True),
        ("https://c", {}, False),
        ("grpc://c", {}, True),
        ("grpcs://c", {}, False),
        ("https://c:4317", {}, False),
        ("grpc://c", {f"{ENV}INSECURE": "false"}, False),
    ],
)
def test_when_it_is_encrypted(url: str, environ: dict[str, str], *, insecure: bool) -> None:
    """By the scheme, and for gRPC by OTEL_EXPORTER_OTLP_INSECURE too."""
    assert otlp_target(url, environ).insecure is insecure


def test_the_other_variables() -> None:
    """Headers, TLS, timeout and compression are as the variables say."""
    target = otlp_target(
        "https://u%40x:p@c",
        {
            f"{ENV}HEADERS": "Api-Key=a%20b, empty ,=x,k2=v=2",
            f"{ENV}TIMEOUT": "2.5",
            f"{ENV}COMPRESSION": "GZIP",
            f"{ENV}CERTIFICATE": "ca.pem",
            f"{ENV}CLIENT_KEY": "key.pem",
            f"{ENV}TRACES_CLIENT_CERTIFICATE": "cert.pem",
        },
    )
    assert target.headers == {"api-key": "a b", "k2": "v=2", "authorization": "Basic dUB4OnA="}
    assert (target.timeout_s, target.compression) == (2.5, "gzip")
    assert (target.certificate, target.client_key, target.client_certificate) == ("ca.pem", "key.pem", "cert.pem")
    assert target.display == "https://c/v1/traces"


@pytest.mark.parametrize(
    ("url", "environ", "message"),
    [
        ("ftp://c", {}, "ftp://c is not a URL like http://localhost:4318"),
        ("http://", {}, "is not a URL"),
        ("grpc://[::1", {}, "OTLP endpoint .*is malformed"),
        ("http://c:nine", {}, r"OTLP endpoint http://c:\*\*\* is malformed, or its port is no number"),
        (None, {f"{ENV}HEADERS": "authorization=Bearer%0Asecret"}, "value of 'authorization' is not printable ASCII$"),
        (None, {f"{ENV}HEADERS": "a b=secret"}, "a header's name is letters"),
        (None, {f"{ENV}PROTOCOL": "smoke"}, "'smoke'; it is one of: grpc, http/protobuf"),
        (None, {f"{ENV}TIMEOUT": "soon"}, "'soon', a number of seconds"),
        (None, {f"{ENV}TIMEOUT": "-1"}, "above 0"),
        (None, {f"{ENV}COMPRESSION": "zip"}, "'zip'; it is one of: none, gzip, deflate"),
    ],
)
def test_what_is_malformed_is_said(url: str | None, environ: dict[str, str], message: str) -> None:
    """With the value and what is expected."""
    with pytest.raises(ConfigError, match=message):
        otlp_target(url, environ)


def test_a_certificate_that_is_not_there_is_said(tmp_path: Path) -> None:
    """By either protocol, before anything is sent."""
    environ = {f"{ENV}CERTIFICATE": str(tmp_path / "none.pem")}
    for url in ("https://c", "grpcs://c"):
        with pytest.raises(ConfigError, match=r"OTLP certificate"):
            open_sender(otlp_target(url, environ))


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install` is in the message."""
    monkeypatch.setitem(cast("dict[str, Any]", __import__("sys").modules), "grpc", None)
    with pytest.raises(MissingExtra, match=r"pip install 'otel-agent-journal\[otlp\]'"):
        open_sender(otlp_target("grpc://c", {}))
    monkeypatch.setitem(
        cast("dict[str, Any]", __import__("sys").modules),
        "opentelemetry.exporter.otlp.proto.common.trace_encoder",
        None,
    )
    with pytest.raises(MissingExtra, match="otlp"):
        open_sender(otlp_target("http://c", {}))


# --- HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compression", "decoded"), [("none", bytes), ("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_a_request_is_otlp(backend: Backend, compression: str, decoded: Callable[[bytes], bytes]) -> None:
    """The official encoding, at the right path, compressed as asked, with the headers asked for."""
    environ = {f"{ENV}COMPRESSION": compression, f"{ENV}HEADERS": "k=v"}
    sender = open_sender(otlp_target(backend.url, environ))
    assert sender.send([SPAN, SPAN]) == 0
    sender.close()
    ((path, headers, body),) = backend.received
    assert (path, headers["k"], headers["content-type"]) == ("/v1/traces", "v", "application/x-protobuf")
    (resource_spans,) = ExportTraceServiceRequest.FromString(decoded(body)).resource_spans
    assert [span.name for span in resource_spans.scope_spans[0].spans] == ["x", "x"]
    assert resource_spans.resource.attributes[0].value.string_value == "r"


def test_spans_that_were_rejected_are_counted(backend: Backend) -> None:
    """A partial success says how many."""
    sender = open_sender(otlp_target(backend.url, {}))
    backend.body = ExportTraceServiceResponse(partial_success={"rejected_spans": 2}).SerializeToString()
    assert sender.send([SPAN] * 3) == 2
    assert sender.send([SPAN]) == 1, "of one no more than one"


def test_why_a_payload_is_refused_is_said(backend: Backend) -> None:
    """On one line."""
    backend.status, backend.body = 400, b"bad  \n span"
    with pytest.raises(BatchRefused, match=r"answered 400 .*: bad span"):
        open_sender(otlp_target(backend.url, {})).send([SPAN])


def test_a_wish_is_heard(backend: Backend) -> None:
    """Retry-After says when to come again."""
    backend.status, backend.headers, backend.body = 429, {"retry-after": "7"}, b"\xff"
    with pytest.raises(SendFailed) as raised:
        open_sender(otlp_target(backend.url, {})).send([SPAN])
    assert raised.value.retry_after_s == 7


def test_a_wish_that_is_no_number_is_none(backend: Backend) -> None:
    """A date in Retry-After is left to our own backoff."""
    backend.status, backend.headers = 503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    with pytest.raises(SendFailed) as raised:
        open_sender(otlp_target(backend.url, {})).send([SPAN])
    assert raised.value.retry_after_s == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("grpc://127.0.0.1:1", "refused"),
        ("http://no.such.host.invalid", "host not found"),
    ],
)
def test_a_backend_that_is_not_there_is_named_plainly(url: str, reason: str) -> None:
    """In a word, not in a traceback."""
    sender = open_sender(otlp_target(url, {f"{ENV}TIMEOUT": "5"}))
    with pytest.raises(SendFailed) as raised:
        sender.send([SPAN])
    sender.close()
    assert raised.value.reason == reason or (reason == "host not found" and raised.value.reason.startswith("failed"))


def test_a_backend_that_says_nothing_times_out() -> None:
    """After OTEL_EXPORTER_OTLP_TIMEOUT."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}", f"grpc://127.0.0.1:{port}"):
            sender = open_sender(otlp_target(url, {f"{ENV}TIMEOUT": "0.3"}))
            with pytest.raises(SendFailed, match=r"timed out|UNAVAILABLE"):
                sender.send([SPAN])
            sender.close()


def test_a_backend_that_speaks_no_http_fails() -> None:
    """What it said is in the reason."""
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-odd\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SendFailed, match=r"failed: .*SSH"):
            open_sender(otlp_target(f"http://127.0.0.1:{odd.getsockname()[1]}", {})).send([SPAN])
        thread.join()


# --- gRPC ---------------------------------------------------------------------------------------------------------


class Collector(TraceServiceServicer):
    """A gRPC backend that answers as it is told and keeps what it was sent."""

    def __init__(self) -> None:
        self.code: Any = None
        self.details = ""
        self.trailing: tuple[tuple[str, Any], ...] = ()
        self.rejected = 0
        self.received: list[tuple[dict[str, Any], ExportTraceServiceRequest]] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        self.received.append((dict(context.invocation_metadata()), request))
        if self.code is not None:
            context.set_trailing_metadata(self.trailing)
            context.abort(self.code, self.details)
        return ExportTraceServiceResponse(partial_success={"rejected_spans": self.rejected})


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    """A gRPC backend and its URL."""
    servicer = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"grpc://127.0.0.1:{port}"
    server.stop(0).wait()


def test_grpc_carries_the_same(collector: tuple[Collector, str]) -> None:
    """Metadata and spans arrive, gzip or not, and rejected spans are counted."""
    servicer, url = collector
    servicer.rejected = 1
    for compression in ("none", "gzip"):
        sender = open_sender(otlp_target(url, {f"{ENV}HEADERS": "k=v", f"{ENV}COMPRESSION": compression}))
        assert sender.target == url
        assert sender.send([SPAN]) == 1
        sender.close()
    assert [metadata["k"] for metadata, _ in servicer.received] == ["v", "v"]
    assert servicer.received[0][1] == servicer.received[1][1]


def test_a_grpc_backend_s_wish_is_heard(collector: tuple[Collector, str]) -> None:
    """RetryInfo says when to come again."""
    from google.protobuf.duration_pb2 import Duration
    from google.rpc.error_details_pb2 import RetryInfo

    servicer, url = collector
    servicer.code = grpc.StatusCode.UNAVAILABLE
    sender = open_sender(otlp_target(url, {}))
    for trailing, expected in (
        ((("google.rpc.retryinfo-bin", RetryInfo(retry_delay=Duration(seconds=3)).SerializeToString()),), 3.0),
        ((("google.rpc.retryinfo-bin", b"\xff\xff"),), 0.0),
    ):
        servicer.trailing = trailing
        with pytest.raises(SendFailed) as raised:
            sender.send([SPAN])
        assert raised.value.retry_after_s == expected
    sender.close()
    with pytest.raises(SendFailed, match="closed"):
        sender.send([SPAN])


def test_a_resource_is_made_once_for_all_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is the same object, and without keeping ever more of them."""
    encoder = sender_module._Encoder()
    resource = {"service.name": "r"}
    first = encoder._resource(resource)
    assert encoder._resource(resource) is first
    monkeypatch.setattr(sender_module, "_MAX_KNOWN_RESOURCES", 1)
    encoder._resource({"service.name": "q"})
    assert encoder._resource(resource) is not first
    assert SimpleNamespace(resources=encoder._resources).resources.keys() == {id(resource)}


@pytest.mark.parametrize("scheme", ["http", "grpc", "dynamodb"])
def test_a_scheme_without_its_slashes_is_no_host(scheme: str) -> None:
    """What follows may be a login: it is refused, and not repeated."""
    with pytest.raises(ConfigError, match="is not a URL like") as refused:
        otlp_target(f"{scheme}:/ann:s3cr3t@127.0.0.1:1/name", {})
    assert "s3cr3t" not in str(refused.value)


def test_a_login_in_a_path_is_not_shown() -> None:
    """Where the endpoint is said, in errors and in counts, what stands before an @ is left out."""
    assert "s3cr3t" not in otlp_target("http://host/ann:s3cr3t@127.0.0.1:1/name", {}).display
    assert otlp_target("http://host:4318/v1/traces", {}).display == "http://host:4318/v1/traces"
