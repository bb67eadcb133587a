"""Requests of both signals through every door, and what was told in the same terms whatever the door."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import ssl
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
DOORS: Final = ("grpc", "protobuf", "json")
SIGNALS: Final = ("traces", "logs")
ENCODINGS: Final = ("plain", "gzip")
METHODS: Final = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_RESPONSES: Final = {"traces": ExportTraceServiceResponse, "logs": ExportLogsServiceResponse}
_NAMES: Final[Mapping[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}
_HTTP: Final = {  # the one HTTP status that stands for each
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 413,
    "UNIMPLEMENTED": 415,
    "UNAVAILABLE": 503,
}
_GRPC_COMPRESSION: Final = {
    "plain": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
_HTTP_COMPRESSION: Final = {"plain": bytes, "gzip": gzip.compress, "deflate": zlib.compress}


class Told(NamedTuple):
    """An answer: the gRPC status, or the one that an HTTP body says, and what is beside it."""

    status: str
    message: str = ""
    rejected: int = 0
    retry_s: float | None = None


def spans(*names: str, session_id: str = "s1") -> ExportTraceServiceRequest:
    """Return a request for model calls; an id is made of its name."""
    made = ExportTraceServiceRequest()
    of_scope = made.resource_spans.add().scope_spans.add()
    for name in names:
        digits = zlib.crc32(name.encode()).to_bytes(4) + len(name).to_bytes(4)
        span = of_scope.spans.add(name=name, trace_id=digits * 2, span_id=digits, kind=3)
        span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_001_000_000_000
        for key, value in (("gen_ai.operation.name", "chat"), ("gen_ai.conversation.id", session_id)):
            span.attributes.add(key=key).value.string_value = value
    return made


def logs(*names: str) -> ExportLogsServiceRequest:
    """Return a request for log records that name themselves the journal's."""
    made = ExportLogsServiceRequest()
    of_scope = made.resource_logs.add().scope_logs.add()
    for name in names:
        of_scope.log_records.add(event_name="agent_journal.test", time_unix_nano=1).body.string_value = name
    return made


def made(signal: str, *names: str) -> Any:
    """Return a good request of a signal."""
    return (spans if signal == "traces" else logs)(*names)


def as_json(request: Any) -> bytes:
    """Return a request in OTLP's JSON: that of protobuf, but ids in hex and enums as integers."""
    return json.dumps(_hex_ids(MessageToDict(request, use_integers_for_enums=True))).encode()


def _hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {key: base64.b64decode(item).hex() if key in ids else _hex_ids(item) for key, item in value.items()}


def ask(
    served: Any, door: str, signal: str, request: Any, encoding: str = "plain", *, headers: Iterable[Any] = ()
) -> Told:
    """Send a request, a message or bytes, through a door."""
    if door == "json":
        body = request if isinstance(request, bytes) else as_json(request)
    else:
        body = request if isinstance(request, bytes) else request.SerializeToString()
    if door == "grpc":
        return over_grpc(served.grpc, signal, body, _GRPC_COMPRESSION[encoding], headers)
    named = {**dict(headers), "content-type": JSON if door == "json" else PROTOBUF}
    if encoding != "plain":
        named["content-encoding"] = encoding
    status, said, given = over_http(served.http, f"/v1/{signal}", _HTTP_COMPRESSION[encoding](body), named)
    return told_over_http(signal, door, status, said, given)


def over_grpc(
    address: str,
    signal: str,
    body: bytes,
    compression: grpc.Compression = grpc.Compression.NoCompression,
    metadata: Iterable[tuple[str, str]] = (),
    credentials: Any = None,
) -> Told:
    """Send a request over gRPC, and check that a failure is told in its details too."""
    options = [("grpc.max_send_message_length", -1), ("grpc.ssl_target_name_override", "localhost")]
    if credentials is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, credentials, options)
    with channel:
        call: Any = channel.unary_unary(METHODS[signal])
        try:
            response = call(body, timeout=60, compression=compression, metadata=tuple(metadata))
        except grpc.RpcError as error:
            failure: Any = error
            trailers = dict(failure.trailing_metadata() or ())
            details = trailers.get("grpc-status-details-bin")
            if details is None:
                return Told(failure.code().name, failure.details())
            status = Status.FromString(details)
            assert (_NAMES[status.code], status.message) == (failure.code().name, failure.details())
            return Told(failure.code().name, failure.details(), retry_s=retry_s(status))
    return _taken(signal, _RESPONSES[signal].FromString(response))


def _taken(signal: str, response: Any) -> Told:
    if not response.HasField("partial_success"):
        return Told("OK")
    partial = response.partial_success
    rejected = partial.rejected_spans if signal == "traces" else partial.rejected_log_records
    return Told("OK", partial.error_message, rejected)


def over_http(
    address: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes, Mapping[str, str]]:
    """Send a request over HTTP; return status, body and headers."""
    if context is None:
        connection = http.client.HTTPConnection(address, timeout=30)
    else:
        connection = http.client.HTTPSConnection(address, timeout=30, context=context)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def told_over_http(signal: str, door: str, status: int, body: bytes, headers: Mapping[str, str]) -> Told:
    """Read an answer over HTTP, and check that status, type, body and Retry-After go together."""
    assert headers["content-type"] == (JSON if door == "json" else PROTOBUF)
    wait = headers.get("retry-after")
    if status == 200:
        if door == "protobuf":
            return _taken(signal, _RESPONSES[signal].FromString(body))
        partial = json.loads(body).get("partialSuccess", {})
        rejected = partial.get("rejectedSpans") or partial.get("rejectedLogRecords") or 0
        return Told("OK", partial.get("errorMessage", ""), int(rejected))
    if door == "protobuf":
        said = Status.FromString(body)
        code, message = said.code, said.message
        assert (retry_s(said) is None) is (wait is None)
    else:
        found = json.loads(body)
        code, message = found["code"], found["message"]
    assert status == _HTTP[_NAMES[code]]
    return Told(_NAMES[code], message, retry_s=None if wait is None else float(wait))


def retry_s(status: Status) -> float | None:
    """Return after how long a client is to try again, where it is told to."""
    for detail in status.details:
        info = RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.ToMilliseconds() / 1000
    return None
