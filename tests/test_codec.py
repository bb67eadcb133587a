"""The codec: JSON lines and neutral dicts there and back, foreign records, old versions, the digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_agent_journal.codec import (
    MAX_DEPTH,
    decode_line,
    decode_value,
    digest,
    encode_line,
    encode_value,
    format_timestamp,
    from_neutral,
    intact,
    parse_timestamp,
    plain,
    sealed,
    to_neutral,
    upcast,
    valid_text,
)
from otel_agent_journal.errors import CodecError, NewerSchema
from otel_agent_journal.event import SCHEMA_VERSION, ErrorInfo, JournalEvent, Usage
from tests.strategies import anything, events, json_values

GOLDEN = Path(__file__).parent / "golden" / "events_v1.jsonl"

FULL = JournalEvent(
    session_id="thread-é",
    event_id="0" * 31 + "1",
    type="MODEL_ERROR",
    timestamp_ns=1_767_225_600_000_000_001,
    level="ERROR",
    name="claude",
    writer="2" * 32,
    instance_id="3" * 32,
    seq=4,
    step_id="5" * 32,
    parent_step_id="6" * 32,
    attempt=7,
    trace_id="8" * 32,
    span_id="9" * 16,
    outcome="error",
    duration_ns=10,
    error=ErrorInfo(type="ClientError", message="slow down", code="ThrottlingException"),
    usage=Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4, reasoning_tokens=5),
    details={
        "input": {"messages": [{"role": "user", "content": "naïve 😀"}]}, "large": 2**80, "none": None, "half": 0.5,
    },
)  # fmt: skip
# What the golden file holds, line by line; a line is never changed, only added.
WRITTEN_BY_VERSION_1 = (
    sealed(FULL),
    sealed(
        JournalEvent(
            session_id="s1",
            event_id="a" * 32,
            type="TOOL_START",
            timestamp_ns=1_767_225_600_100_000_000,
            name="search",
            writer="2" * 32,
            step_id="5" * 32,
            attempt=1,
        )
    ),
    JournalEvent(session_id="s1", event_id="b" * 32, type="TRAINING_JOB_STARTED", timestamp_ns=0, level="NOTICE"),
)


# --- there and back -----------------------------------------------------------------------------------------------


@given(events)
@example(FULL)
def test_lines_round_trip(event: JournalEvent) -> None:
    """An event comes back equal from its line."""
    line = encode_line(event)
    assert decode_line(line) == event
    assert decode_line(line.decode()) == event
    assert b"\n" not in line


@given(events)
@example(FULL)
def test_neutral_dicts_round_trip(event: JournalEvent) -> None:
    """An event comes back equal from its neutral dict, which JSON can carry."""
    record = to_neutral(event)
    assert from_neutral(record) == event
    assert from_neutral(json.loads(json.dumps(record))) == event


@given(events)
def test_a_sealed_event_is_intact_after_any_trip(event: JournalEvent) -> None:
    """The digest of an event is still right when it was written and read."""
    event = sealed(event)
    assert intact(event)
    assert intact(decode_line(encode_line(event)))


@given(st.dictionaries(st.text(max_size=3), anything, max_size=3), st.text(st.characters(categories=["Cs", "L"])))
def test_encoding_is_total(details: dict[str, Any], text: str) -> None:
    """No value keeps an event from being written, read again, and found intact."""
    event = JournalEvent(
        session_id="s1", event_id="e1", type="NOTE", timestamp_ns=1, name=text, error=ErrorInfo(type=text),
        details=details,
    )  # fmt: skip
    read = decode_line(encode_line(sealed(event)))
    assert intact(read)
    assert read.name == valid_text(text)
    assert encode_line(read) == encode_line(decode_line(encode_line(read)))


def test_first_keys() -> None:
    """A line begins with time, session, type, tool name, level and details, in this order."""
    tool = msgspec.structs.replace(FULL, type="TOOL_ERROR")
    expected = ["timestamp", "session_id", "event_type", "tool_name", "level", "details"]
    assert list(json.loads(encode_line(tool)))[:6] == expected
    assert list(json.loads(encode_line(FULL)))[:5] == [key for key in expected if key != "tool_name"]


def test_tool_name_is_of_tool_events() -> None:
    """`tool_name` stands in tool events that have a name, and nowhere else."""
    assert to_neutral(msgspec.structs.replace(FULL, type="TOOL_START"))["tool_name"] == "claude"
    assert "tool_name" not in to_neutral(msgspec.structs.replace(FULL, type="TOOL_START", name=None))
    assert "tool_name" not in to_neutral(FULL)
    assert "tool_name" not in to_neutral(msgspec.structs.replace(FULL, type="TOOLBOX_OPENED"))


def test_empty_fields_are_absent() -> None:
    """What an event does not have is not written."""
    bare = JournalEvent(session_id="s1", event_id="e1", type="NOTE", timestamp_ns=1)
    assert to_neutral(bare) == {
        "timestamp": "1970-01-01T00:00:00.000000001Z",
        "session_id": "s1",
        "event_type": "NOTE",
        "level": "INFO",
        "event_id": "e1",
        "schema_version": SCHEMA_VERSION,
    }


# --- the golden file ----------------------------------------------------------------------------------------------


def test_golden_file_is_read() -> None:
    """What version 1 wrote is read as what it meant, for ever."""
    lines = GOLDEN.read_bytes().splitlines()
    assert tuple(decode_line(line) for line in lines) == WRITTEN_BY_VERSION_1
    assert all(intact(decode_line(line)) for line in lines)


def test_golden_file_is_written() -> None:
    """While the version is 1, the same events make the same bytes."""
    assert SCHEMA_VERSION == 1, "a new version wants a golden file of its own, and upcasters"
    assert [encode_line(event) for event in WRITTEN_BY_VERSION_1] == GOLDEN.read_bytes().splitlines()


# --- foreign records ----------------------------------------------------------------------------------------------


def test_a_plain_line_of_another_writer() -> None:
    """A line with the six first keys alone is an event; its id is derived from the line."""
    line = (
        '{"timestamp": "2026-01-31T12:00:00Z", "session_id": "s1", "event_type": "TOOL_START",'
        ' "tool_name": "search", "level": "INFO", "details": {"q": 1}}'
    )
    event = decode_line(line)
    assert (event.name, event.timestamp_ns, event.details) == ("search", 1_769_860_800_000_000_000, {"q": 1})
    assert len(event.event_id) == 32
    assert decode_line(line + "\n") == decode_line(line.encode()) == event
    assert decode_line(line.replace("1}", "2}")).event_id != event.event_id


def test_a_record_without_an_id() -> None:
    """A record without an id has one derived from its session and the key it was found under."""
    record = {"timestamp": "2026-01-31T12:00:00Z", "session_id": "s1", "event_type": "NOTE"}
    ids = {from_neutral(record, fallback_id=key).event_id for key in ("k1", "k2", None)}
    assert len(ids) == 3
    assert from_neutral(record | {"event_id": "e1"}, fallback_id="k1").event_id == "e1"
    assert from_neutral(record | {"event_id": ""}, fallback_id="k1") == from_neutral(record, fallback_id="k1")


def test_a_name_goes_before_a_tool_name() -> None:
    """Where a record has a name and a tool name, the name counts."""
    record = {"timestamp": "2026-01-31T12:00:00Z", "session_id": "s1", "event_type": "NOTE", "tool_name": "t"}
    assert from_neutral(record).name == "t"
    assert from_neutral(record | {"name": "n"}).name == "n"
    assert from_neutral(record | {"name": ""}).name == ""


@pytest.mark.parametrize(
    ("details", "read"), [(None, {}), ("text", {"value": "text"}), ([1], {"value": [1]}), ({}, {})]
)
def test_details_of_any_form(details: Any, read: Mapping[str, Any]) -> None:
    """Details that are no object are kept as the value of one."""
    record = {"timestamp": "2026-01-31T12:00:00Z", "session_id": "s1", "event_type": "NOTE", "details": details}
    assert from_neutral(record).details == read


def test_unknown_keys_are_passed_over() -> None:
    """Keys that nobody knows do no harm, an empty level is INFO."""
    record = {
        "timestamp": "2026-01-31T12:00:00Z", "session_id": "s1", "event_type": "NOTE", "color": "red", "level": "",
    }  # fmt: skip
    assert from_neutral(record).level == "INFO"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"session_id": None}, "'session_id' is None"),
        ({"session_id": ""}, "'session_id' is ''"),
        ({"session_id": 5}, "'session_id' is 5"),
        ({"event_type": None}, "'event_type' is None"),
        ({"timestamp": 5}, "'timestamp' is 5"),
        ({"timestamp": "yesterday"}, "'yesterday' is not RFC 3339"),
        ({"event_id": 5}, "not a journal event"),
        ({"level": 5}, "not a journal event"),
        ({"attempt": "two"}, "not a journal event"),
        ({"seq": 1.5}, "not a journal event"),
        ({"name": ["x"]}, "not a journal event"),
        ({"error": "boom"}, "not a journal event"),
        ({"error": {"message": "without a type"}}, "not a journal event"),
        ({"usage": {"input_tokens": "many"}}, "not a journal event"),
        ({"digest": 5}, "not a journal event"),
    ],
)
def test_what_is_no_event(change: dict[str, Any], says: str) -> None:
    """A record with a field missing or of another type is refused with the name of what is wrong."""
    record = {"timestamp": "2026-01-31T12:00:00Z", "session_id": "s1", "event_type": "NOTE", "event_id": "e1"} | change
    with pytest.raises(CodecError) as refused:
        from_neutral(record)
    assert says in str(refused.value)
    with pytest.raises(CodecError):
        decode_line(json.dumps(record))


@pytest.mark.parametrize(
    "line", ["", "{", "null", "[]", "5", '"text"', b"\xff\xfe", "{} {}", "[" * 100_000, b"[" * 100_000]
)
def test_what_is_no_line(line: str | bytes) -> None:
    """What is not one JSON object is refused, however deep or broken."""
    with pytest.raises(CodecError):
        decode_line(line)


def test_lines_that_a_strict_reader_refuses() -> None:
    """Lines with a byte order mark, lone surrogates, NaN or 1e400 are read, what they mean being plain."""
    line = rb'{"timestamp":"2026-01-31T12:00:00Z","session_id":"s1","event_type":"NOTE","event_id":"e1","details":%s}'
    event = decode_line(b"\xef\xbb\xbf" + line % rb'{"text":"\udc80x","number":NaN,"far":1e400,"large":%d}' % 10**30)
    assert event.details == {"text": "\\udc80x", "number": None, "far": None, "large": 10**30}
    assert intact(decode_line(encode_line(sealed(event))))


# --- values -------------------------------------------------------------------------------------------------------


class Color(StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Any


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_plain() -> None:
    """What JSON cannot carry becomes what comes nearest to it."""
    circular: list[Any] = [1]
    circular.append(circular)
    assert plain({"s": "\ud800", "n": float("nan"), "i": float("inf"), "b": b"ab", "t": (1, {2}), "l": circular}) == {
        "s": "\\ud800",
        "n": None,
        "i": None,
        "b": "YWI=",
        "t": [1, [2]],
        "l": [1, "<list within itself>"],
    }
    assert plain(datetime(2026, 1, 31, tzinfo=UTC)) == "2026-01-31T00:00:00Z"
    assert plain(UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
    assert plain(MappingProxyType({1: "a", None: "b", (1, 2): "c", "\udc80": "d"})) == {
        "1": "a",
        "None": "b",
        "(1, 2)": "c",
        "\\udc80": "d",
    }
    assert plain(Point(1, [b"ab"])) == {"x": 1, "y": ["YWI="]}
    assert plain(Point(1, object)) == {"x": 1, "y": "<class 'object'>"}
    assert plain([Unspeakable(), Color.RED, True, 2**70]) == [f"<{__name__}.Unspeakable>", "red", True, 2**70]
    assert plain(ErrorInfo(type="\udc80")) == {"type": "\\udc80"}


def test_plain_cuts_what_is_too_deep() -> None:
    """Beyond 128 levels a value becomes a text that says so; one that merely occurs twice is kept twice."""
    deep: Any = "bottom"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert plain(deep) == deep
    cut = plain([deep])
    for _ in range(MAX_DEPTH):
        (cut,) = cut
    assert cut == f"<list nested deeper than {MAX_DEPTH}>"
    twice = [1]
    assert plain([twice, twice]) == [[1], [1]]


@given(json_values)
def test_plain_leaves_json_alone(value: Any) -> None:
    """A value that JSON carries is returned as it is, and comes back exactly, type by type."""
    assert repr(plain(value)) == repr(value)
    assert repr(decode_value(encode_value(value))) == repr(value)


@given(anything)
def test_plain_is_plain(value: Any) -> None:
    """Whatever comes in, what goes out is JSON to the strictest reader, and plain again."""
    made = plain(value)
    assert plain(made) == made
    json.dumps(made, allow_nan=False).encode()
    assert decode_value(encode_value(value)) == decode_value(encode_value(decode_value(encode_value(value))))


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timestamp_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_769_860_800_100_000_000, "2026-01-31T12:00:00.100000000Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (-62_135_596_800_000_000_000, "0001-01-01T00:00:00.000000000Z"),
        (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_timestamps(timestamp_ns: int, text: str) -> None:
    """A time is written with exactly nine digits and Z, and read back to the nanosecond."""
    assert format_timestamp(timestamp_ns) == text
    assert parse_timestamp(text) == timestamp_ns


@given(st.integers(-62_135_596_800_000_000_000, 253_402_300_799_999_999_999), st.integers(-(10**12), 10**12))
def test_timestamps_sort_as_text(timestamp_ns: int, apart_ns: int) -> None:
    """Times sort as their texts do, and come back exactly."""
    other_ns = min(max(timestamp_ns + apart_ns, -62_135_596_800_000_000_000), 253_402_300_799_999_999_999)
    first, second = format_timestamp(timestamp_ns), format_timestamp(other_ns)
    assert (first < second) == (timestamp_ns < other_ns)
    assert parse_timestamp(first) == timestamp_ns


@pytest.mark.parametrize("timestamp_ns", [253_402_300_800_000_000_000, -62_135_596_800_000_000_001, 10**40, -(10**40)])
def test_times_out_of_the_calendar(timestamp_ns: int) -> None:
    """A time outside the years 1 to 9999 cannot be written, and is refused as such."""
    with pytest.raises(CodecError, match="outside the years"):
        format_timestamp(timestamp_ns)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31 12:00:00z", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31t12:00:00.5Z", "2026-01-31T12:00:00.500000000Z"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123456000Z"),
        ("2026-01-31T12:00:00.1234567899999Z", "2026-01-31T12:00:00.123456789Z"),
        ("2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00.000000000Z"),
        ("2026-01-31T12:00:00-0530", "2026-01-31T17:30:00.000000000Z"),
        ("2026-01-01T00:00:00.25+23:59", "2025-12-31T00:01:00.250000000Z"),
        ("  2026-01-31T12:00:00Z\n", "2026-01-31T12:00:00.000000000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000000Z"),
        ("2017-01-01T05:29:60.5+05:30", "2017-01-01T00:00:00.500000000Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000000Z"),
    ],
)
def test_timestamps_of_other_writers(text: str, same: str) -> None:
    """Any RFC 3339 is read: other precision and offsets, none at all, leap seconds."""
    assert format_timestamp(parse_timestamp(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "12:00:00Z",
        "1769860800",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z",
        "0000-01-01T00:00:00Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+05:60",
        "2026-01-31T12:00:00+05",
        "2026-01-31T12:00:00ZZ",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_what_is_no_timestamp(text: str) -> None:
    """Anything else is refused, with the text."""
    with pytest.raises(CodecError) as refused:
        parse_timestamp(text)
    assert repr(text) in str(refused.value)


@given(st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_timestamps_agree_with_datetime(moment: datetime) -> None:
    """What the standard library writes is read as the moment that it means."""
    moment = moment.replace(tzinfo=UTC)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
    assert parse_timestamp(moment.isoformat()) == expected


# --- the digest ---------------------------------------------------------------------------------------------------


def test_digest() -> None:
    """The digest is of the body alone: not of itself, of the version, or of the order of keys."""
    assert len(digest(FULL)) == 32
    assert digest(sealed(FULL)) == digest(FULL)
    assert digest(msgspec.structs.replace(FULL, schema_version=9)) == digest(FULL)
    turned = dict(reversed(list(FULL.details.items())))
    assert digest(msgspec.structs.replace(FULL, details=turned)) == digest(FULL)


@pytest.mark.parametrize(
    "field", [name for name in JournalEvent.__struct_fields__ if name not in ("digest", "schema_version")]
)
def test_digest_is_of_every_field(field: str) -> None:
    """An event that was changed in any field is not intact."""
    value = getattr(FULL, field)
    other: Any = {
        str: "changed", int: 99, ErrorInfo: ErrorInfo(type="E"), Usage: Usage(input_tokens=9), dict: {"changed": 1},
    }[type(value)]  # fmt: skip
    assert intact(sealed(FULL))
    assert not intact(msgspec.structs.replace(sealed(FULL), **{field: other}))


def test_an_event_without_a_digest_is_intact() -> None:
    """An event that was never sealed has nothing to be measured by."""
    assert intact(FULL)


def test_digest_of_what_json_cannot_carry() -> None:
    """The digest is of what is written, so that it is right for what is read."""
    strange = msgspec.structs.replace(FULL, details={"n": float("nan"), "s": "\udc80", (1, 2): 3})
    assert digest(strange) == digest(decode_line(encode_line(strange)))


# --- old versions -------------------------------------------------------------------------------------------------


def rename(record: dict[str, Any]) -> dict[str, Any]:
    record["event_type"] = record.pop("kind")
    return record


UPCASTERS = {1: rename, 2: lambda record: record | {"level": record["level"].upper()}}


def test_upcasters_run_in_turn() -> None:
    """A record of an old version goes through one upcaster a version, and is not changed itself."""
    old = {"schema_version": 1, "kind": "NOTE", "level": "info"}
    assert upcast(old, upcasters=UPCASTERS, current=3) == {"schema_version": 1, "event_type": "NOTE", "level": "INFO"}
    assert old == {"schema_version": 1, "kind": "NOTE", "level": "info"}
    newer = {"schema_version": 2, "event_type": "NOTE", "level": "info"}
    assert upcast(newer, upcasters=UPCASTERS, current=3)["level"] == "INFO"


def test_current_records_are_left_alone() -> None:
    """A record of this version, or without one, is taken as it is."""
    for record in ({"schema_version": 3, "level": "info"}, {"level": "info"}):
        assert upcast(record, upcasters=UPCASTERS, current=3) is record


def test_newer_records_are_refused() -> None:
    """A record of a newer version is refused, with both versions and what to do."""
    newer = msgspec.structs.replace(FULL, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(NewerSchema, match="pip install --upgrade") as refused:
        decode_line(encode_line(newer))
    assert (refused.value.found, refused.value.known) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)
    assert FULL.event_id in str(refused.value)


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_versions_that_never_were(version: Any) -> None:
    """A version that never was is no event."""
    with pytest.raises(CodecError):
        upcast({"schema_version": version}, upcasters=UPCASTERS, current=3)
