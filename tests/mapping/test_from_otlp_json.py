"""Log records, and what is wrong with values, in OTLP's JSON; spans are with those in protobuf, in test_from_otlp."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_agent_journal.mapping.from_otlp_json import logs_request, trace_request


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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"bytesValue": "é"}, "bytesValue is not base64"),
        ({"doubleValue": True}, "doubleValue is bool, a number is expected"),
        ({"doubleValue": "much"}, "doubleValue is a text that is no number"),
        ({"doubleValue": 10**400}, "a number is too large"),
        ({"intValue": 1.5}, "intValue is float, an integer is expected"),
        ({"intValue": "1" * 5000}, "intValue is a text that is no integer"),
        ({"boolValue": 1}, "boolValue is int, bool is expected"),
        ({"arrayValue": {"values": 1}}, "values is int, an array is expected"),
        ({"kvlistValue": {"values": [1]}}, "an item of values is int, an object is expected"),
    ],
)
def test_what_is_wrong_with_a_value(value: Any, said: str) -> None:
    """A value of another type than OTLP gives it is refused, with what it is."""
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": value}]}]}]}
    with pytest.raises(ValueError, match=said):
        logs_request(json.dumps(body).encode())


@pytest.mark.parametrize("kind", ["arrayValue", "kvlistValue"])
def test_depth(kind: str) -> None:
    """As deep as values may be, protobuf reads again what was read here; a level more is refused."""
    for depth in (30, 31):
        value: Any = {"stringValue": "deepest"}
        for _ in range(depth):
            value = {kind: {"values": [value if kind == "arrayValue" else {"key": "k", "value": value}]}}
        event = {"attributes": [{"key": "a", "value": value}]}
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"events": [event]}]}]}]}).encode()
        if depth > 30:
            with pytest.raises(ValueError, match="more than 30 deep"):
                trace_request(body)
        else:
            request = trace_request(body)
            assert type(request).FromString(request.SerializeToString()) == request
