"""Every answer of a backend, by both protocols, under both policies.

For the journal a request is delivered, refused as it is (a `StoreError`, of which `delivery.batches` sets aside what is
refused alone), or waited for (`StoreUnreachable`). For spans it is sent, refused as it is, or tried again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_agent_journal.codec import sealed
from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.forwarding.sender import open_sender
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.answers import BatchRefused, SendFailed
from otel_agent_journal.otlp.target import otlp_target
from otel_agent_journal.store.otlp import open_store
from tests.otlp.backend import Backend
from tests.otlp.grpc_backend import GrpcBackend

SPAN = SpanRecord(trace_id="1" * 32, span_id="2" * 16, name="x", start_ns=1, end_ns=2, resource={"service.name": "r"})
EVENT = sealed(JournalEvent(session_id="s", event_id="1" * 32, type="NOTE", timestamp_ns=5))
DELIVERED, REFUSED, WAITS = "delivered", "refused", "waits"
PROTOBUF = {"content-type": "application/x-protobuf"}
REFUSALS = (400, 413, 422)
CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def journal(url: str) -> str:
    """Return what becomes of an event."""
    store = open_store(f"otlp+{url}" if url.startswith("http") else url.replace("grpc", "otlp"), environ={})
    try:
        store.append([EVENT])
    except StoreUnreachable:
        return WAITS
    except StoreError:
        return REFUSED
    finally:
        store.close()
    return DELIVERED


def spans(url: str) -> str:
    """Return what becomes of a span."""
    sender = open_sender(otlp_target(url, {}))
    try:
        return DELIVERED if sender.send([SPAN]) == 0 else REFUSED
    except BatchRefused:
        return REFUSED
    except SendFailed:
        return WAITS
    finally:
        sender.close()


@pytest.fixture
def collector() -> Iterator[GrpcBackend]:
    """A gRPC backend that takes everything."""
    server = GrpcBackend()
    yield server
    server.close()


@pytest.mark.parametrize("status", [*range(300, 309), *range(400, 452), *range(500, 512), 520, 599, 600, 999])
@pytest.mark.parametrize("body", [b"", b"<html>sorry</html>"])
def test_an_http_status_that_is_no_success(backend: Backend, status: int, body: bytes) -> None:
    """What is said of the request alone is a refusal; all else may pass."""
    backend.status, backend.body = status, body
    expected = REFUSED if status in REFUSALS else WAITS
    assert (journal(backend.url), spans(backend.url)) == (expected, expected)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (200, PROTOBUF, b"", (DELIVERED, DELIVERED)),
        (200, {"content-type": "Application/X-Protobuf; charset=utf-8"}, b"", (DELIVERED, DELIVERED)),
        (200, {}, b"", (DELIVERED, DELIVERED)),
        (200, PROTOBUF, b"<html>login</html>", (WAITS, WAITS)),
        (200, PROTOBUF, b"\xff\xff", (WAITS, WAITS)),
        (200, {}, b"OK", (WAITS, WAITS)),
        (200, {"content-type": "text/html"}, b"<html>login</html>", (WAITS, WAITS)),
        (200, {"content-type": "text/html"}, b"", (WAITS, WAITS)),
        (200, {"content-type": "text/plain"}, b"ok", (WAITS, WAITS)),
        (200, {"content-type": "application/json"}, b"{}", (WAITS, DELIVERED)),
        (200, {"content-type": "application/json"}, b"[", (WAITS, WAITS)),
        (202, {}, b"", (WAITS, DELIVERED)),
        (202, PROTOBUF, b"", (WAITS, DELIVERED)),
        (204, {}, b"", (WAITS, DELIVERED)),
        (206, PROTOBUF, b"\xff", (WAITS, WAITS)),
        (201, {"content-type": "text/html"}, b"<html>", (WAITS, WAITS)),
    ],
)
def test_an_http_answer_of_success(
    backend: Backend, status: int, headers: dict[str, str], body: bytes, expected: tuple[str, str]
) -> None:
    """The journal takes a well-formed answer alone; spans are sent once where somebody took them and says no more."""
    backend.status, backend.headers, backend.body = status, headers, body
    assert (journal(backend.url), spans(backend.url)) == expected


def test_an_http_answer_that_is_cut_short(backend: Backend) -> None:
    """It acknowledges nothing, even where what came of it is a message."""
    backend.missing = 5
    backend.server.RequestHandlerClass.protocol_version = "HTTP/1.0"  # the connection ends with the answer
    assert (journal(backend.url), spans(backend.url)) == (WAITS, WAITS)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_by_nobody(backend: Backend, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Neither to another host, which would be sent the token, nor on the same one."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cr3t")
    elsewhere = Backend("127.0.0.2")
    for to in (elsewhere.url, backend.url):
        backend.status, backend.headers = status, {"location": f"{to}/v1/logs?key=s3cr3t"}
        with pytest.raises(StoreUnreachable, match=rf"answered {status}.* not followed, .* {to}/v1/logs$"):
            open_store(f"otlp+{backend.url}").append([EVENT])
        assert spans(backend.url) == WAITS
    elsewhere.close()
    assert elsewhere.received == []
    assert len(backend.received) == 4


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
@pytest.mark.parametrize("details", ["", "busy"])
def test_a_grpc_code(collector: GrpcBackend, code: grpc.StatusCode, details: str) -> None:
    """INVALID_ARGUMENT is said of the request; what a server, a proxy or a setting may mean passes."""
    collector.code, collector.details = code, details
    expected = REFUSED if code is grpc.StatusCode.INVALID_ARGUMENT else WAITS
    assert (journal(collector.url), spans(collector.url)) == (expected, expected)


@pytest.mark.parametrize(
    "details",
    [
        "grpc: received message larger than max (5 vs. 4)",
        "Received message larger than max (5 vs. 4)",
        "CLIENT: Sent message larger than max",
        "message too large",
    ],
)
def test_a_grpc_message_that_is_too_large(collector: GrpcBackend, details: str) -> None:
    """Halves of it may pass: overload, which has the same code, is told apart."""
    collector.code, collector.details = grpc.StatusCode.RESOURCE_EXHAUSTED, details
    assert (journal(collector.url), spans(collector.url)) == (REFUSED, REFUSED)


@pytest.mark.parametrize("body", [b"\xff\xff", b"<html>"])
def test_a_grpc_answer_that_is_no_message(collector: GrpcBackend, body: bytes) -> None:
    """It acknowledges nothing."""
    collector.body = body
    assert (journal(collector.url), spans(collector.url)) == (WAITS, WAITS)


@pytest.mark.parametrize("rejected", [0, 1, 5, -1])
def test_a_partial_success(backend: Backend, collector: GrpcBackend, rejected: int) -> None:
    """What was rejected is told apart, by both protocols; a warning alone is none."""
    logs: Any = ExportLogsServiceResponse()
    logs.partial_success.rejected_log_records, logs.partial_success.error_message = rejected, "why"
    traces: Any = ExportTraceServiceResponse()
    traces.partial_success.rejected_spans, traces.partial_success.error_message = rejected, "why"
    expected = REFUSED if rejected > 0 else DELIVERED
    for server in (backend, collector):
        for policy, answer in ((journal, logs), (spans, traces)):
            server.body = answer.SerializeToString()
            assert policy(server.url) == expected
