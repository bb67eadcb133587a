"""Spans as OTLP has them: the same record as in process, from protobuf and from JSON, whatever is in them."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from otel_agent_journal.mapping.from_otlp import attributes_of, problem_of, span_records, value_of
from otel_agent_journal.mapping.from_otlp_json import trace_request
from otel_agent_journal.mapping.from_sdk import readable_span
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord

_texts = st.text(max_size=20)
_values = st.recursive(
    st.one_of(
        _texts,
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.binary(max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.dictionaries(st.text(min_size=1, max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
_attributes = st.dictionaries(st.text(min_size=1, max_size=20), _values, max_size=4)
_times = st.integers(1, 2**63 - 1)
_trace_ids = st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex)
_span_ids = st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex)
records = st.builds(
    SpanRecord,
    trace_id=_trace_ids,
    span_id=_span_ids,
    name=_texts,
    start_ns=st.just(1_700_000_000_000_000_000),
    end_ns=st.integers(1_700_000_000_000_000_000, 2**63 - 1),
    parent_span_id=st.one_of(st.none(), _span_ids),
    kind=st.sampled_from(["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]),
    attributes=_attributes,
    events=st.lists(st.builds(SpanEvent, _texts, _times, _attributes), max_size=2).map(tuple),
    links=st.lists(st.builds(SpanLink, _trace_ids, _span_ids, _attributes), max_size=2).map(tuple),
    status_code=st.integers(0, 2),
    resource=_attributes,
    scope_name=_texts,
    scope_version=_texts,
)


def as_json(request: ExportTraceServiceRequest) -> bytes:
    """Return a request as OTLP's JSON: written here by hand, from the specification."""

    def value(given: AnyValue) -> dict[str, Any]:
        kind = given.WhichOneof("value")
        match kind:
            case "string_value":
                return {"stringValue": given.string_value}
            case "bool_value":
                return {"boolValue": given.bool_value}
            case "int_value":
                return {"intValue": str(given.int_value)}
            case "double_value":
                text = repr(given.double_value)
                named = {"inf": "Infinity", "-inf": "-Infinity"}.get(text)
                return {"doubleValue": named or given.double_value}
            case "bytes_value":
                return {"bytesValue": b64encode(given.bytes_value).decode()}
            case "array_value":
                return {"arrayValue": {"values": [value(item) for item in given.array_value.values]}}
            case "kvlist_value":
                return {"kvlistValue": {"values": pairs(given.kvlist_value.values)}}
            case _:
                return {}

    def pairs(given: Any) -> list[dict[str, Any]]:
        return [{"key": pair.key, "value": value(pair.value)} for pair in given]

    def span(given: Any) -> dict[str, Any]:
        return {
            "traceId": given.trace_id.hex(),
            "spanId": given.span_id.hex().upper(),
            "parentSpanId": given.parent_span_id.hex(),
            "traceState": given.trace_state,
            "flags": given.flags,
            "name": given.name,
            "kind": given.kind,
            "startTimeUnixNano": str(given.start_time_unix_nano),
            "endTimeUnixNano": given.end_time_unix_nano,
            "attributes": pairs(given.attributes),
            "events": [
                {"timeUnixNano": str(one.time_unix_nano), "name": one.name, "attributes": pairs(one.attributes)}
                for one in given.events
            ],
            "links": [
                {"traceId": one.trace_id.hex(), "spanId": one.span_id.hex(), "attributes": pairs(one.attributes)}
                for one in given.links
            ],
            "status": {"code": given.status.code, "message": given.status.message},
            "aFieldOfTomorrow": {"x": [1]},
        }

    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": pairs(resource.resource.attributes)},
                    "scopeSpans": [
                        {
                            "scope": {"name": scope.scope.name, "version": scope.scope.version},
                            "spans": [span(one) for one in scope.spans],
                        }
                        for scope in resource.scope_spans
                    ],
                }
                for resource in request.resource_spans
            ]
        }
    ).encode()


@given(records)
def test_the_same_by_every_door(record: SpanRecord) -> None:
    """What the SDK's own exporter sends is what was recorded, in protobuf and in JSON."""
    request = encode_spans([readable_span(record)])
    (sent,) = span_records(ExportTraceServiceRequest.FromString(request.SerializeToString()))
    assert sent.attributes == record.attributes
    assert sent.resource == record.resource
    assert sent.events == record.events
    assert sent.links == record.links
    assert [getattr(sent, name) for name in ("trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns")] == [
        getattr(record, name) for name in ("trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns")
    ]
    assert (sent.end_ns, sent.status_code, sent.scope_name) == (record.end_ns, record.status_code, record.scope_name)
    (told,) = span_records(trace_request(as_json(request)))
    assert told == sent


@given(st.binary(max_size=200))
def test_any_json_is_read_or_refused(data: bytes) -> None:
    """Whatever bytes there are, they are a request or a ValueError."""
    for text in (data, b'{"resourceSpans":' + data + b"}"):
        try:
            list(span_records(trace_request(text)))
        except ValueError:
            pass


_FIELDS = [
    *("scopeSpans", "spans", "resource", "attributes", "key", "value", "intValue", "stringValue", "traceId"),
    *("startTimeUnixNano", "status", "code", "kind", "arrayValue", "values", "kvlistValue", "doubleValue"),
]
_junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(_FIELDS),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(_junk)
def test_any_values_are_read_or_refused(junk: Any) -> None:
    """Fields with values of any other type are a ValueError, never anything else."""
    try:
        list(span_records(trace_request(json.dumps({"resourceSpans": [junk]}).encode())))
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "the request is list, an object is expected"),
        ("{", "not JSON"),
        ('{"resourceSpans":5}', "resourceSpans is int, an array is expected"),
        ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":7}]}]}]}', "name is int, str is expected"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    """A request of another shape is told where."""
    with pytest.raises(ValueError, match=said):
        trace_request(text.encode())


def test_values_of_any_depth() -> None:
    """Values within values end somewhere, in JSON by a refusal, in protobuf by being left out."""
    deep = '{"arrayValue":{"values":[' * 200 + "{}" + "]}}" * 200
    with pytest.raises(ValueError, match="deep"):
        trace_request(f'{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{deep}}}]}}}}]}}'.encode())
    with pytest.raises(ValueError, match="not JSON"):
        trace_request(b"[" * 100_000)
    value = AnyValue(string_value="x")
    for _ in range(40):
        outer = AnyValue()
        outer.array_value.values.append(value)
        value = outer
    found = value_of(value)
    for _ in range(31):
        (found,) = found
    assert found == (None,)


def test_problems() -> None:
    """Spans that cannot be journaled say why, and others of their request are not held up."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    good: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "start_time_unix_nano": 5}
    bad: list[tuple[dict[str, Any], str]] = [
        ({"trace_id": b""}, "trace_id has 0 bytes"),
        ({"trace_id": bytes(16)}, "not all zero"),
        ({"span_id": b"s" * 7}, "span_id has 7 bytes"),
        ({"span_id": bytes(8)}, "not all zero"),
        ({"start_time_unix_nano": 0}, "start_time_unix_nano is not set"),
        ({"end_time_unix_nano": 2**63}, "year 2262"),
    ]
    for changed, said in bad:
        assert said in str(problem_of(spans.add(**{**good, **changed})))
    assert problem_of(spans.add(**good, kind=99, parent_span_id=b"odd", name="kept")) is None
    (record,) = span_records(request)
    assert (record.name, record.kind, record.parent_span_id, record.end_ns) == ("kept", "INTERNAL", None, None)


def test_attributes_without_a_name() -> None:
    """An attribute without a key is left out; empty texts and zeros stay what they are."""
    pairs = [KeyValue(key="", value=AnyValue(string_value="nameless"))]
    pairs += [KeyValue(key="text", value=AnyValue(string_value="")), KeyValue(key="none", value=AnyValue())]
    pairs += [
        KeyValue(key="number", value=AnyValue(int_value=0)),
        KeyValue(key="flag", value=AnyValue(bool_value=False)),
    ]
    assert attributes_of(pairs) == {"text": "", "none": None, "number": 0, "flag": False}
