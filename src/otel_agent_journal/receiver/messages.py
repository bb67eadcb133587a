"""The messages of OTLP that both doors read and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_agent_journal.receiver.answers import Answer

_CODES: Final[Mapping[str, int]] = {
    "OK": 0,
    "INVALID_ARGUMENT": 3,
    "RESOURCE_EXHAUSTED": 8,
    "UNIMPLEMENTED": 12,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


def spans_of(body: bytes) -> ExportTraceServiceRequest:
    """Return a request for spans from protobuf. Raises ValueError where it is none."""
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise ValueError(f"not an ExportTraceServiceRequest: {error}") from error


def response_of(answer: Answer) -> ExportTraceServiceResponse:
    """Return the response to a request that was taken, wholly or in part."""
    if not answer.rejected:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=answer.rejected, error_message=answer.message)
    return ExportTraceServiceResponse(partial_success=partial)


def status_of(answer: Answer) -> Status:
    """Return an answer as `google.rpc.Status`, with when to try again where a client should."""
    status = Status(code=_CODES[answer.verdict.grpc], message=answer.message)
    if answer.retry_after_s:
        delay = Duration()
        delay.FromMilliseconds(int(answer.retry_after_s * 1000))
        packed = AnyMessage()
        packed.Pack(RetryInfo(retry_delay=delay))
        status.details.append(packed)
    return status
