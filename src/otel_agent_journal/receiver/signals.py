"""The two kinds of requests that are received: spans and log records. What both doors and the intake know of each.

A signal's messages are read and written here; what of a request can be kept is decided record by record, so that one
that is malformed costs itself alone. Text that is no Unicode costs nothing but itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_agent_journal.mapping.facts import LogsReceived, Received, SpansReceived
from otel_agent_journal.mapping.from_otlp import problem_of
from otel_agent_journal.mapping.from_otlp_json import logs_request, trace_request
from otel_agent_journal.mapping.log_record import is_carried
from otel_agent_journal.mapping.mending import mended_protobuf
from otel_agent_journal.mapping.without_content import logs_without_content, spans_without_content

PART_BYTES: Final = 4 * 1024 * 1024  # a larger request is kept in parts, since a part is read in one go
MOST_OF_A_SPAN: Final = (
    100_000  # attributes, events or links; an empty one takes two bytes as it is sent, hundreds when read
)


class Checked(NamedTuple):
    """What a request had: records, what was wrong with those taken out, how many were none of the journal's."""

    records: int
    problems: list[str]
    left_out: int = 0


class Reading(NamedTuple):
    """A request, and the bytes in protobuf that it was read from, where it was."""

    request: Any
    whole: bytes | None = None


class Signal(msgspec.Struct, frozen=True):
    """A kind of request: how it is addressed, read, checked, kept and answered."""

    noun: str
    path: str
    service: str
    read: Callable[[bytes], Reading]  # protobuf; raises ValueError
    read_json: Callable[[bytes], Reading]  # raises ValueError
    check: Callable[[Any], Checked]
    reduce: Callable[[Any], Checked]  # takes the content out, and what cannot be kept without it
    parts: Callable[[Any], Iterator[bytes]]
    record: Callable[[int, bytes, bool], Received]  # with when it came, and whether it was reduced
    respond: Callable[[int, str], Message]  # with how many were rejected, and why


def _reader(message: type[Any]) -> Callable[[bytes], Reading]:
    """Return what reads requests of a kind in protobuf, which refuses all of one with text that is no Unicode."""

    def read(body: bytes) -> Reading:
        try:
            return Reading(message.FromString(body), body)
        except DecodeError as error:
            try:
                mended = mended_protobuf(body, message)
                return Reading(message.FromString(mended), mended)
            except (DecodeError, ValueError) as still:
                raise ValueError(f"not an {message.DESCRIPTOR.name}: {error}; {still}") from error

    return read


def _check_spans(request: ExportTraceServiceRequest) -> Checked:
    count, problems = 0, list[str]()
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            count += len(of_scope.spans)
            bad: list[int] = []
            for index, span in enumerate(of_scope.spans):
                problem = problem_of(span) or _excess_of(span)
                if problem is not None:
                    problems.append(problem)
                    bad.append(index)
            _take_out(of_scope.spans, bad)
    return Checked(count, problems)


def _excess_of(span: Any) -> str | None:
    for name in ("attributes", "events", "links"):
        count = len(getattr(span, name))
        if count > MOST_OF_A_SPAN:
            return f"a span has {count:,} {name}, limit {MOST_OF_A_SPAN:,}"
    return None


def _check_logs(request: ExportLogsServiceRequest) -> Checked:
    count = left_out = 0
    for of_resource in request.resource_logs:
        for of_scope in of_resource.scope_logs:
            count += len(of_scope.log_records)
            others = [index for index, record in enumerate(of_scope.log_records) if not is_carried(record)]
            left_out += len(others)
            _take_out(of_scope.log_records, others)
    return Checked(count, [], left_out)


def _reduce_spans(request: ExportTraceServiceRequest) -> Checked:
    spans_without_content(request)
    return Checked(0, [])


def _reduce_logs(request: ExportLogsServiceRequest) -> Checked:
    problems, values = logs_without_content(request)
    return Checked(0, problems, values)


def _take_out(records: Any, indexes: list[int]) -> None:
    if len(indexes) == len(records):
        del records[:]
    elif indexes:
        bad = frozenset(indexes)
        kept = [record for index, record in enumerate(records) if index not in bad]
        copies: list[Any] = [type(record).FromString(record.SerializeToString()) for record in kept]
        del records[:]
        records.extend(copies)


def _parts_of_spans(request: ExportTraceServiceRequest) -> Iterator[bytes]:
    yield from _parts(request, "resource_spans", "scope_spans", "spans")


def _parts_of_logs(request: ExportLogsServiceRequest) -> Iterator[bytes]:
    yield from _parts(request, "resource_logs", "scope_logs", "log_records")


def _parts(request: Any, of_resources: str, of_scopes: str, records: str) -> Iterator[bytes]:
    """Yield a request in parts of about `PART_BYTES`, each record in one of them under its resource and scope."""
    if request.ByteSize() <= PART_BYTES:
        yield request.SerializeToString()
        return
    part, size, frames = type(request)(), 0, _Frames(of_resources, of_scopes)
    for of_resource in getattr(request, of_resources):
        resource_bytes = of_resource.resource.ByteSize()
        for of_scope in getattr(of_resource, of_scopes):
            scope_bytes = of_scope.scope.ByteSize()
            for record in getattr(of_scope, records):
                length = record.ByteSize()
                if size and size + length > PART_BYTES + resource_bytes + scope_bytes:
                    yield part.SerializeToString()
                    part, size, frames = type(request)(), 0, _Frames(of_resources, of_scopes)
                size += length
                if frames.resource is not of_resource:
                    size += resource_bytes
                if frames.scope is not of_scope:
                    size += scope_bytes
                getattr(frames.within(part, of_resource, of_scope), records).append(record)
    if size:
        yield part.SerializeToString()


class _Frames:
    """The resources and scopes of a part. Each is copied once for a part, since each may be large."""

    def __init__(self, of_resources: str, of_scopes: str) -> None:
        self._of_resources = of_resources
        self._of_scopes = of_scopes
        self.resource: Any = None
        self._made: Any = None
        self.scope: Any = None
        self._target: Any = None

    def within(self, part: Any, of_resource: Any, of_scope: Any) -> Any:
        """Return the scope of a part that stands for one of the request."""
        if self.resource is not of_resource:
            self.resource = of_resource
            self._made = getattr(part, self._of_resources).add(schema_url=of_resource.schema_url)
            self._made.resource.CopyFrom(of_resource.resource)
        if self.scope is not of_scope:
            self.scope = of_scope
            self._target = getattr(self._made, self._of_scopes).add(schema_url=of_scope.schema_url)
            self._target.scope.CopyFrom(of_scope.scope)
        return self._target


def _respond_to_spans(rejected: int, message: str) -> ExportTraceServiceResponse:
    if not rejected:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return ExportTraceServiceResponse(partial_success=partial)


def _respond_to_logs(rejected: int, message: str) -> ExportLogsServiceResponse:
    if not rejected:
        return ExportLogsServiceResponse()
    partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return ExportLogsServiceResponse(partial_success=partial)


SPANS: Final = Signal(
    noun="spans",
    path="/v1/traces",
    service="opentelemetry.proto.collector.trace.v1.TraceService",
    read=_reader(ExportTraceServiceRequest),
    read_json=lambda body: Reading(trace_request(body)),
    check=_check_spans,
    reduce=_reduce_spans,
    parts=_parts_of_spans,
    record=SpansReceived,
    respond=_respond_to_spans,
)
LOGS: Final = Signal(
    noun="log records",
    path="/v1/logs",
    service="opentelemetry.proto.collector.logs.v1.LogsService",
    read=_reader(ExportLogsServiceRequest),
    read_json=lambda body: Reading(logs_request(body)),
    check=_check_logs,
    reduce=_reduce_logs,
    parts=_parts_of_logs,
    record=lambda received_ns, part, _: LogsReceived(received_ns, part),
    respond=_respond_to_logs,
)
SIGNALS: Final = (SPANS, LOGS)
