"""An answer as `google.rpc.Status`, which gRPC has in its trailers and HTTP in the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_agent_journal.receiver.answers import Answer

_CODES: Final[Mapping[str, int]] = {
    "OK": 0,
    "INVALID_ARGUMENT": 3,
    "RESOURCE_EXHAUSTED": 8,
    "UNIMPLEMENTED": 12,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


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
