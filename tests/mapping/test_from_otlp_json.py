"""OTLP's JSON: what protobuf says in another way, and what cannot be said in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.from_otlp_json import logs_request, trace_request
from otel_agent_journal.mapping.log_record import event_record, log_records


def with_value(value: dict[str, Any]) -> bytes:
    """Return a request whose resource has an attribute of a value."""
    attributes = [{"key": "k", "value": value}]
    return json.dumps({"resourceSpans": [{"resource": {"attributes": attributes}}]}).encode()


def value_in(request: ExportTraceServiceRequest) -> AnyValue:
    """Return that attribute's value."""
    return request.resource_spans[0].resource.attributes[0].value


@pytest.mark.parametrize(
    ("given", "kind", "found"),
    [
        ({"stringValue": "x"}, "string_value", "x"),
        ({"boolValue": False}, "bool_value", False),
        ({"intValue": "-9223372036854775808"}, "int_value", -(2**63)),
        ({"intValue": 7}, "int_value", 7),
        ({"doubleValue": 1.5}, "double_value", 1.5),
        ({"doubleValue": "Infinity"}, "double_value", float("inf")),
        ({"doubleValue": 1}, "double_value", 1.0),
        ({"intValue": "12.0"}, "int_value", 12),
        ({"intValue": 3.0}, "int_value", 3),
        ({"boolValue": "true"}, "bool_value", True),
        ({"bytesValue": "AQI="}, "bytes_value", b"\x01\x02"),
    ],
)
def test_values(given: dict[str, Any], kind: str, found: Any) -> None:
    """Integers are numbers or texts, what JSON has no number for is a text, bytes are base64."""
    value = value_in(trace_request(with_value(given)))
    assert (value.WhichOneof("value"), getattr(value, kind)) == (kind, found)


def test_values_within_values() -> None:
    """Empty ones too are told from none."""
    for given in ({"arrayValue": {}}, {"kvlistValue": {}}):
        assert value_in(trace_request(with_value(given))).WhichOneof("value") is not None
    pair = {"key": "a", "value": {"arrayValue": {"values": [{"intValue": 1}, {}]}}}
    value = value_in(trace_request(with_value({"kvlistValue": {"values": [pair]}})))
    (found,) = value.kvlist_value.values
    assert [item.WhichOneof("value") for item in found.value.array_value.values] == ["int_value", None]
    assert value_in(trace_request(with_value({}))).WhichOneof("value") is None


@pytest.mark.parametrize(
    ("given", "kind", "found"),
    [
        ({"doubleValue": True}, "bool_value", True),
        ({"doubleValue": "much"}, "string_value", "much"),
        ({"doubleValue": 10**400}, "string_value", str(10**400)),
        ({"intValue": 2**63}, "string_value", str(2**63)),
        ({"intValue": 1.5}, "double_value", 1.5),
        ({"intValue": "many"}, "string_value", "many"),
        ({"boolValue": 1}, "int_value", 1),
        ({"boolValue": "yes"}, "string_value", "yes"),
    ],
)
def test_values_that_are_something_else(given: dict[str, Any], kind: str, found: Any) -> None:
    """What is not of the type that it is said to be is read as what it is, and costs nothing beside it."""
    value = value_in(trace_request(with_value(given)))
    assert (value.WhichOneof("value"), getattr(value, kind)) == (kind, found)


def test_fields_that_cannot_be_read() -> None:
    """An id, a time, an enum that is none is as one that is not there; an enum may be said by its name."""
    read = {
        "traceId": ["ab" * 16, "xyz"],
        "startTimeUnixNano": [5, "5", 5.0, "5.0", "soon", 1.5, -1, None, 2**70],
        "kind": [3, "3", "SPAN_KIND_CLIENT", "CLIENT", 2**31, -1, 1.5],
        "flags": [257, "257", -1, 2**32, "many"],
    }
    spans = [{name: value} for name, values in read.items() for value in values]
    spans.append({"status": {"code": "STATUS_CODE_ERROR"}})
    made = trace_request(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode())
    found = iter(made.resource_spans[0].scope_spans[0].spans)
    assert [next(found).trace_id for _ in read["traceId"]] == [b"\xab" * 16, b""]
    assert [next(found).start_time_unix_nano for _ in read["startTimeUnixNano"]] == [5, 5, 5, 5, 0, 0, 0, 0, 2**64 - 1]
    assert [next(found).kind for _ in read["kind"]] == [3, 3, 3, 0, 0, 0, 0]
    assert [next(found).flags for _ in read["flags"]] == [257, 257, 0, 0, 0]
    assert next(found).status.code == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bytesValue": "A"}, "not base64"),
        ({"intValue": [1]}, "intValue is list, a number, a text or a bool is expected"),
    ],
)
def test_values_that_are_none(given: dict[str, Any], said: str) -> None:
    """It is said which."""
    with pytest.raises(ValueError, match=said):
        trace_request(with_value(given))


def test_log_records() -> None:
    """An event of the journal is the same in JSON as in protobuf."""
    event = JournalEvent(
        session_id="s",
        event_id="e" * 32,
        type="TOOL_START",
        timestamp_ns=5,
        trace_id="a" * 32,
        span_id="b" * 16,
    )
    record = event_record(event, 9)
    told = {
        "timeUnixNano": "5",
        "observedTimeUnixNano": 9,
        "severityNumber": 9,
        "severityText": "INFO",
        "body": {"stringValue": record.body.string_value},
        "attributes": [
            {"key": pair.key, "value": {"stringValue": pair.value.string_value}} for pair in record.attributes
        ],
        "traceId": "a" * 32,
        "spanId": "b" * 16,
        "eventName": "agent_journal.tool_start",
        "droppedAttributesCount": 3,
    }
    scope_logs = {"scope": {"name": "n", "version": "1"}, "logRecords": [told], "schemaUrl": "u"}
    text = json.dumps({"resourceLogs": [{"resource": {}, "scopeLogs": [scope_logs]}]})
    request = logs_request(text.encode())
    assert list(log_records(request)) == [record]
    assert request.resource_logs[0].scope_logs[0].scope.version == "1"


def test_a_log_record() -> None:
    """Every field of a log record is read, ids as hex, integers as numbers and as texts."""
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add(schema_url="of the resource")
    of_resource.resource.attributes.add(key="service.name").value.string_value = "agent"
    of_scope = of_resource.scope_logs.add(schema_url="of the scope")
    of_scope.scope.name, of_scope.scope.version = "scope", "1"
    record = of_scope.log_records.add(
        time_unix_nano=1,
        observed_time_unix_nano=2,
        severity_number=9,
        severity_text="INFO",
        flags=1,
        trace_id=b"\xab" * 16,
        span_id=b"\xcd" * 8,
        event_name="agent_journal.model_start",
    )
    record.body.string_value = "body"
    record.attributes.add(key="a").value.int_value = 5
    record.attributes.add(key="nothing")
    given = {
        "timeUnixNano": "1",
        "observedTimeUnixNano": 2,
        "severityNumber": 9,
        "severityText": "INFO",
        "flags": 1,
        "traceId": "ab" * 16,
        "spanId": "CD" * 8,
        "eventName": "agent_journal.model_start",
        "body": {"stringValue": "body"},
        "attributes": [{"key": "a", "value": {"intValue": "5"}}, {"key": "nothing", "value": {}}],
    }
    scope = {"scope": {"name": "scope", "version": "1"}, "logRecords": [given], "schemaUrl": "of the scope"}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "agent"}}]}
    logs = {"resource": resource, "scopeLogs": [scope], "schemaUrl": "of the resource"}
    assert logs_request(json.dumps({"resourceLogs": [logs]}).encode()) == request


def test_a_request_for_logs_that_is_none() -> None:
    """It is said, as of spans."""
    with pytest.raises(ValueError, match="resourceLogs is int"):
        logs_request(b'{"resourceLogs": 1}')


def test_as_many_brackets_as_a_large_request_has() -> None:
    """Objects cost many times their text: some millions are read, more are refused at once, whatever is in them."""
    text = with_value({"stringValue": "[{" * 1_999_995})
    assert value_in(trace_request(text)).string_value.count("[") == 1_999_995
    for brackets in ("[", "{"):
        with pytest.raises(ValueError, match="objects and lists, limit 4,000,000"):
            trace_request(with_value({"stringValue": brackets * 4_000_000}))
