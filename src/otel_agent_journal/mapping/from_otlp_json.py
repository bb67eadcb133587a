"""From OTLP's JSON to the same request in protobuf. Pure.

OTLP's JSON is not that of protobuf: ids are hex, not base64; enums are integers; 64-bit integers are numbers or texts;
fields that nobody knows are left out. Protobuf's own reader gets the ids wrong, so this is a reader of our own, for
the fields that a span or a log record has and no others. An id, a time or an enum that cannot be read is as one that is
not there, and a value that is not of the type it is said to be, as what it is: neither costs the records beside it.
"""

from __future__ import annotations

import contextlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from otel_agent_journal.mapping.mending import mended_json
from otel_agent_journal.mapping.numbers import whole_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_MAX_DEPTH: Final = 30  # of values within values, each up to three messages; protobuf reads up to 100 deep
_INT64: Final = range(-(2**63), 2**63)
_UINT64_MAX: Final = 2**64 - 1
_UINT32_MAX: Final = 2**32 - 1
_INT32_MAX: Final = 2**31 - 1
_MAX_BRACKETS: Final = 4_000_000  # that open, in texts too: twice what 64 MiB of spans have, at a few seconds of a core
_decode: Final = msgspec.json.Decoder().decode

Json = Mapping[str, Any]


def trace_request(data: bytes) -> ExportTraceServiceRequest:
    """Return the request that a JSON text stands for.

    Raises:
        ValueError: it is no JSON, or something in it has another type than OTLP gives it; says what.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    _read(data, _trace_request, request)
    return request


def logs_request(data: bytes) -> ExportLogsServiceRequest:
    """Return the request for logs that a JSON text stands for. Raises as `trace_request` does."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    _read(data, _logs_request, request)
    return request


def _read(data: bytes, fill: Callable[[Json, Any], None], request: Any) -> None:
    brackets = data.count(b"{") + data.count(b"[")
    if brackets > _MAX_BRACKETS:
        raise ValueError(f"the request has {brackets:,} objects and lists, limit {_MAX_BRACKETS:,}; send less at once")
    try:
        fill(_object(_decoded(data), "the request"), request)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ValueError(f"not JSON: {error}") from error


def _decoded(data: bytes) -> Any:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeError) as error:
        try:
            return _decode(mended_json(data))
        except (ValueError, RecursionError):
            raise error from None


def _logs_request(given: Json, request: Any) -> None:
    for resource_logs in _objects(given, "resourceLogs"):
        of_resource = request.resource_logs.add()
        of_resource.schema_url = _text(resource_logs, "schemaUrl")
        _attributes(_member(resource_logs, "resource"), of_resource.resource.attributes)
        for scope_logs in _objects(resource_logs, "scopeLogs"):
            of_scope = of_resource.scope_logs.add()
            of_scope.schema_url = _text(scope_logs, "schemaUrl")
            _scope(_member(scope_logs, "scope"), of_scope.scope)
            for record in _objects(scope_logs, "logRecords"):
                _log_record(record, of_scope.log_records.add())


def _log_record(given: Json, record: Any) -> None:
    record.time_unix_nano = _time(given, "timeUnixNano")
    record.observed_time_unix_nano = _time(given, "observedTimeUnixNano")
    record.severity_number = _enum(given, "severityNumber", record, "severity_number")
    record.severity_text = _text(given, "severityText")
    _value(_member(given, "body"), record.body, 0)
    _attributes(given, record.attributes)
    record.flags = _flags(given)
    record.trace_id = _id(given, "traceId")
    record.span_id = _id(given, "spanId")
    record.event_name = _text(given, "eventName")


def _scope(given: Json, scope: Any) -> None:
    scope.name = _text(given, "name")
    scope.version = _text(given, "version")
    _attributes(given, scope.attributes)


def _trace_request(given: Json, request: Any) -> None:
    for resource_spans in _objects(given, "resourceSpans"):
        of_resource = request.resource_spans.add()
        of_resource.schema_url = _text(resource_spans, "schemaUrl")
        resource = _member(resource_spans, "resource")
        _attributes(resource, of_resource.resource.attributes)
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            of_scope = of_resource.scope_spans.add()
            of_scope.schema_url = _text(scope_spans, "schemaUrl")
            _scope(_member(scope_spans, "scope"), of_scope.scope)
            for span in _objects(scope_spans, "spans"):
                _span(span, of_scope.spans.add())


def _span(given: Json, span: Any) -> None:
    span.trace_id = _id(given, "traceId")
    span.span_id = _id(given, "spanId")
    span.parent_span_id = _id(given, "parentSpanId")
    span.trace_state = _text(given, "traceState")
    span.flags = _flags(given)
    span.name = _text(given, "name")
    span.kind = _enum(given, "kind", span, "kind")
    span.start_time_unix_nano = _time(given, "startTimeUnixNano")
    span.end_time_unix_nano = _time(given, "endTimeUnixNano")
    _attributes(given, span.attributes)
    for event in _objects(given, "events"):
        made = span.events.add()
        made.time_unix_nano = _time(event, "timeUnixNano")
        made.name = _text(event, "name")
        _attributes(event, made.attributes)
    for link in _objects(given, "links"):
        made = span.links.add()
        made.trace_id = _id(link, "traceId")
        made.span_id = _id(link, "spanId")
        made.trace_state = _text(link, "traceState")
        _attributes(link, made.attributes)
    status = _member(given, "status")
    span.status.message = _text(status, "message")
    span.status.code = _enum(status, "code", span.status, "code")


def _attributes(given: Json, pairs: Any) -> None:
    for attribute in _objects(given, "attributes"):
        pair = pairs.add()
        pair.key = _text(attribute, "key")
        _value(_member(attribute, "value"), pair.value, 0)


def _value(given: Json, value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"values are more than {_MAX_DEPTH} deep")
    for name, read in _READINGS.items():
        if given.get(name) is not None:
            read(given, value, depth)
            return


def _array(given: Json, value: Any, depth: int) -> None:
    value.array_value.SetInParent()
    for item in _objects(_member(given, "arrayValue"), "values"):
        _value(item, value.array_value.values.add(), depth + 1)


def _pairs(given: Json, value: Any, depth: int) -> None:
    value.kvlist_value.SetInParent()
    for item in _objects(_member(given, "kvlistValue"), "values"):
        pair = value.kvlist_value.values.add()
        pair.key = _text(item, "key")
        _value(_member(item, "value"), pair.value, depth + 1)


def _string_value(given: Json, value: Any, _depth: int) -> None:
    value.string_value = _text(given, "stringValue")


def _bool_value(given: Json, value: Any, _depth: int) -> None:
    found = given["boolValue"]
    _as_said("boolValue", {"true": True, "false": False}.get(found, found) if isinstance(found, str) else found, value)


def _int_value(given: Json, value: Any, _depth: int) -> None:
    found = given["intValue"]
    number = whole_of(found)
    _as_said("intValue", found if number is None else number, value)


def _double_value(given: Json, value: Any, _depth: int) -> None:
    found = given["doubleValue"]
    if isinstance(found, int | float | str) and not isinstance(found, bool):
        with contextlib.suppress(ValueError, OverflowError):
            found = float(found)  # NaN and Infinity are texts
    _as_said("doubleValue", found, value)


def _as_said(name: str, found: Any, value: Any) -> None:
    """Set a value to what it is, whatever it was said to be."""
    match found:
        case bool():
            value.bool_value = found
        case int() if found in _INT64:
            value.int_value = found
        case float():
            value.double_value = found
        case int() | str():
            value.string_value = str(found)
        case _:
            raise _wrong(name, found, "a number, a text or a bool")


def _bytes_value(given: Json, value: Any, _depth: int) -> None:
    try:
        value.bytes_value = b64decode(_text(given, "bytesValue"))
    except ValueError:
        raise ValueError("bytesValue is not base64") from None


_READINGS: Final[Mapping[str, Callable[[Json, Any, int], None]]] = {
    "stringValue": _string_value,
    "intValue": _int_value,
    "boolValue": _bool_value,
    "doubleValue": _double_value,
    "arrayValue": _array,
    "kvlistValue": _pairs,
    "bytesValue": _bytes_value,
}


def _object(found: Any, what: str) -> Json:
    if not isinstance(found, Mapping):
        raise _wrong(what, found, "an object")
    return cast("Json", found)


def _member(given: Json, name: str) -> Json:
    found = given.get(name)
    return {} if found is None else _object(found, name)


def _objects(given: Json, name: str) -> Iterable[Json]:
    found = given.get(name)
    if found is None:
        return ()
    if not isinstance(found, list):
        raise _wrong(name, found, "an array")
    return [_object(item, f"an item of {name}") for item in cast("list[Any]", found)]


def _typed(given: Json, name: str, wanted: type[Any]) -> Any:
    found = given.get(name)
    if found is None:
        return wanted()
    if not isinstance(found, wanted):
        raise _wrong(name, found, wanted.__name__)
    return found


def _text(given: Json, name: str) -> str:
    return _typed(given, name, str)


def _time(given: Json, name: str) -> int:
    """Return nanoseconds, 0 where they cannot be read; beyond what protobuf can say, the most that it can."""
    return min(max(0, whole_of(given.get(name)) or 0), _UINT64_MAX)


def _flags(given: Json) -> int:
    found = whole_of(given.get("flags")) or 0
    return found if 0 <= found <= _UINT32_MAX else 0


def _enum(given: Json, name: str, message: Any, field: str) -> int:
    """Return an enum by its number, or by its name as protobuf's JSON has it; 0 where it is neither."""
    found = given.get(name)
    if isinstance(found, str):
        known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_name.get(found)
        if known is not None:
            return known.number
    number = whole_of(found) or 0
    return number if 0 <= number <= _INT32_MAX else 0


def _id(given: Json, name: str) -> bytes:
    try:
        return bytes.fromhex(_text(given, name))
    except ValueError:
        return b""


def _wrong(what: str, found: Any, wanted: str) -> ValueError:
    return ValueError(f"{what} is {type(found).__name__}, {wanted} is expected")
