"""What a backend's answer to an OTLP request means, once for every protocol, signal and policy.

A request is acknowledged, by a well-formed answer (`Acknowledged`); or refused as it is (`BatchRefused`); or taken by
something that does not speak OTLP back (`Unconfirmed`); or none of these, and may pass later (`SendFailed`): servers in
trouble, settings that somebody may put right, a proxy between. What follows from each is the policy of who sends:
`delivery.batches` waits and loses nothing, `forwarding` does its best.

The OTLP specification would have a client drop what it sent at most of the statuses that are waited for here.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from otel_agent_journal.otlp.target import Signal

_MAX_REASON: Final = 300
# Of the request itself: malformed, or too large.
_HTTP_REFUSALS: Final = frozenset((400, 413, 422))
_GRPC_REFUSALS: Final = frozenset(("INVALID_ARGUMENT",))
_PROTOBUF: Final = frozenset(("application/x-protobuf", "application/protobuf"))


class Acknowledged(NamedTuple):
    """The backend took a request, but for `rejected` of its spans or records; `why` may be a warning alone."""

    rejected: int = 0
    why: str = ""


class SendFailed(Exception):
    """A request was not acknowledged; `retry_after_s` is the backend's own wish, where it said one."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class BatchRefused(SendFailed):
    """The backend refuses this request as it is: something in it is wrong, or it is too large. Halves may pass."""


class Unconfirmed(SendFailed):
    """Something took the request and did not answer as OTLP does: whether it keeps it is not known."""


def of_http(signal: Signal, status: int, said: str, headers: Any, body: bytes) -> Acknowledged:
    """Return what an HTTP answer acknowledges.

    Args:
        signal: what was sent.
        status: its code.
        said: what the server calls it.
        headers: of the answer, asked by `get`.
        body: what came of it.

    Raises:
        BatchRefused, Unconfirmed, SendFailed: it acknowledges nothing.
    """
    kind = str(headers.get("content-type") or "").partition(";")[0].strip().lower()
    if status == 200 and (kind in _PROTOBUF or not (kind or body)):
        return of_message(signal, body)
    reason = f"answered {status} {said}".rstrip()
    if 200 <= status < 300:
        reason = f"{reason}, {kind or 'no content-type'}: no OTLP answer"
        raise (Unconfirmed if _is_plain(kind, body) else SendFailed)(reason)
    if 300 <= status < 400:
        where = one_line(str(headers.get("location") or "another place"))
        raise SendFailed(f"{reason}: redirects are not followed, it points to {where.partition('?')[0]}")
    text = body.decode("utf-8", "replace") if body.isascii() else ""
    reason += f": {one_line(text)}" if text.strip() else ""
    if status in _HTTP_REFUSALS:
        raise BatchRefused(reason)
    wish = str(headers.get("retry-after") or "")
    raise SendFailed(reason, float(wish) if wish.isdecimal() else 0.0)


def of_message(signal: Signal, body: bytes) -> Acknowledged:
    """Return what the message of an answer acknowledges; an empty one is a message.

    Raises:
        SendFailed: it is none of this signal's.
    """
    from google.protobuf.message import DecodeError

    try:
        partial = _response(signal).FromString(body).partial_success
    except DecodeError as error:
        raise SendFailed(f"answered {len(body):,} bytes that are no OTLP answer") from error
    rejected = getattr(partial, signal.rejected)
    return Acknowledged(max(0, int(rejected)), str(partial.error_message))


def of_grpc(error: Any) -> SendFailed:
    """Return what a failed gRPC call means."""
    code, said = str(error.code().name), one_line(str(error.details() or ""))
    if code == "UNAVAILABLE" and "refused" in said.lower():
        return SendFailed("refused")
    if code == "DEADLINE_EXCEEDED":
        return SendFailed("timed out")
    reason = f"answered {code}" + (f": {said}" if said else "")
    # A message over a limit is RESOURCE_EXHAUSTED, and so is overload: the words of every gRPC library tell.
    too_large = code == "RESOURCE_EXHAUSTED" and ("larger than" in said.lower() or "too large" in said.lower())
    if too_large or code in _GRPC_REFUSALS:
        return BatchRefused(reason)
    return SendFailed(reason, _retry_after_s(error))


def one_line(text: str) -> str:
    """Return a text of a server's as it can be printed in a line."""
    return " ".join(text.split())[:_MAX_REASON]


def _response(signal: Signal) -> Any:
    if signal.path.endswith("logs"):
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        return ExportLogsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    return ExportTraceServiceResponse


def _is_plain(kind: str, body: bytes) -> bool:
    """Tell whether an answer of success is what servers give that took a request and say no more: nothing, or JSON."""
    if not body:
        return kind != "text/html"
    try:
        return kind == "application/json" and isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _retry_after_s(error: Any) -> float:
    try:
        from google.rpc.error_details_pb2 import RetryInfo

        trailing: dict[str, Any] = dict(error.trailing_metadata() or ())
        packed = trailing.get("google.rpc.retryinfo-bin")
        if packed is None:
            return 0.0
        info: Any = RetryInfo()
        info.ParseFromString(packed)
        return float(info.retry_delay.seconds) + float(info.retry_delay.nanos) / 1e9
    except Exception:  # noqa: BLE001 - a wish only
        return 0.0
