"""Mended text: what is no Unicode is replaced where it stands, and everything else is as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.mapping import mending
from otel_agent_journal.mapping.from_otlp_json import trace_request
from otel_agent_journal.mapping.mending import mended_json, mended_protobuf

# Each has a text that stands for bytes which are none, and those bytes as they are mended.
BAD = {"@@1": b"a\xff(", "@2": b"\xc3(", "@@@3": b"\xed\xa0\x80x", "@@4": b"\xf0\x9f\x98"}

texts = st.text("ab\u00e9\U0001f600", max_size=6) | st.sampled_from([f"x{stand_in}" for stand_in in BAD])
values = st.recursive(
    texts | st.integers(0, 2**40) | st.sampled_from([b"\xff", b"\xc3("]), lambda one: st.lists(one, max_size=3)
)


def fill(value: Any, given: Any) -> None:
    """Set an AnyValue."""
    match given:
        case str():
            value.string_value = given
        case int():
            value.int_value = given
        case bytes():
            value.bytes_value = given
        case _:
            value.array_value.SetInParent()
            for item in given:
                fill(value.array_value.values.add(), item)


@st.composite
def requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    """Draw a request with text in every field that has some."""
    made = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        of_resource = made.resource_spans.add(schema_url=draw(texts))
        fill(of_resource.resource.attributes.add(key=draw(texts)).value, draw(values))
        for _ in range(draw(st.integers(0, 2))):
            of_scope = of_resource.scope_spans.add()
            of_scope.scope.name, of_scope.scope.version = draw(texts), draw(texts)
            span = of_scope.spans.add(name=draw(texts), trace_state=draw(texts), trace_id=b"\xff" * 16, flags=257)
            span.start_time_unix_nano, span.status.message = 2**62, draw(texts)
            fill(span.attributes.add(key=draw(texts)).value, draw(values))
            fill(
                span.events.add(name=draw(texts)).attributes.add(key="long" * draw(st.sampled_from((1, 300)))).value,
                draw(values),
            )
            span.links.add(trace_state=draw(texts))
    return made


@given(requests())
def test_bad_text_alone_changes(request: ExportTraceServiceRequest) -> None:
    """A request with bytes that are no text reads as the one with U+FFFD there, and one without is untouched."""
    good = request.SerializeToString()
    assert ExportTraceServiceRequest.FromString(mended_protobuf(good, ExportTraceServiceRequest)) == request
    sent, expected = good, str(request)
    for stand_in, bad in BAD.items():
        assert len(stand_in) == len(bad)
        sent = sent.replace(stand_in.encode(), bad)
        escaped = str(ExportTraceServiceRequest.FromString(_named(stand_in))).split('"')[1]
        mended = str(ExportTraceServiceRequest.FromString(_named(bad.decode("utf-8", "replace")))).split('"')[1]
        expected = expected.replace(escaped, mended)
    assert str(ExportTraceServiceRequest.FromString(mended_protobuf(sent, ExportTraceServiceRequest))) == expected


def _named(text: str) -> bytes:
    made = ExportTraceServiceRequest()
    made.resource_spans.add(schema_url=text)
    return made.SerializeToString()


@given(st.binary(max_size=200))
def test_total(data: bytes) -> None:
    """Any bytes are mended or are no message; what was mended can be read."""
    for message in (ExportTraceServiceRequest, ExportLogsServiceRequest):
        try:
            mended = mended_protobuf(data, message)
        except DecodeError:
            continue
        message.FromString(mended)


def test_other_fields() -> None:
    """Texts of a list are mended too, and fields that nobody knows are handed on."""
    unknown = b"\xa2\x06\x01\xff"
    made = ExportTraceServiceRequest()
    made.resource_spans.add().resource.entity_refs.add(id_keys=["good", "@2", "good"])
    sent = made.SerializeToString().replace(b"@2", b"\xc3(") + unknown
    mended = mended_protobuf(sent, ExportTraceServiceRequest)
    assert mended.endswith(unknown)
    (entity,) = ExportTraceServiceRequest.FromString(mended).resource_spans[0].resource.entity_refs
    assert list(entity.id_keys) == ["good", "\ufffd(", "good"]


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an end to how much is looked at."""
    monkeypatch.setattr(mending, "MAX_MESSAGES", 10)
    with pytest.raises(ValueError, match="more than 10 messages"):
        mended_protobuf(b"\x0a\x00" * 10, ExportTraceServiceRequest)


_json = st.recursive(
    st.text(st.characters() | st.sampled_from(["\ud800", "\udfff"]), max_size=6) | st.integers() | st.booleans(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text("ab\udc00", max_size=3), one, max_size=3),
)


@given(_json)
def test_halves_of_pairs(value: Any) -> None:
    """JSON with lone surrogates, as escapes, becomes the same with U+FFFD for each."""

    def mended(one: Any) -> Any:
        match one:
            case str():
                return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in one)
            case list():
                return [mended(item) for item in one]
            case dict():
                return {mended(key): mended(item) for key, item in one.items()}
            case _:
                return one

    joined = json.loads(json.dumps(value))  # a half before its other half is a pair
    assert json.loads(mended_json(json.dumps(value).encode())) == mended(joined)


def test_json_of_bad_bytes() -> None:
    """Bytes that are no UTF-8 are replaced; what is no JSON even so is refused, in the words of the first reading."""
    assert mended_json(b'{"a\xff": "\xc3("}') == '{"a\ufffd": "\ufffd("}'.encode()
    for text in (b'{"a": NaN}', b'{"a": 1e999}', b"[\xff]"):
        with pytest.raises(ValueError, match=r"."):
            mended_json(text)
    with pytest.raises(ValueError, match="not JSON"):
        trace_request(b'{"a": "\xff" ')
    with pytest.raises(ValueError, match="not JSON"):
        trace_request(b'["\\ud800",' * 200_000)
    assert trace_request(b'{"resourceSpans": [{"schemaUrl": "\xff"}]}').resource_spans[0].schema_url == "\ufffd"
