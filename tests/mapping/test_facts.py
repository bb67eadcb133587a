"""Facts: what the agent's process writes, and the events that the drain makes of it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.codec import digest, intact, plain
from otel_agent_journal.event import STEP_KINDS, ErrorInfo, Usage, derived_id
from otel_agent_journal.mapping.facts import (
    FACTS_VERSION,
    BlobKept,
    Fact,
    FailureNoted,
    FlushAsked,
    Heartbeat,
    SessionNoted,
    StepEnded,
    StepNoted,
    StepStarted,
    decode_fact,
    encode_fact,
    events_of,
)
from tests.strategies import anything, errors, hex_ids, json_objects, texts, times_ns, usages

GOLDEN = Path(__file__).parents[1] / "golden" / "facts_v1.txt"
WRITER = "w" * 32
STEP = ("s1", "TOOL", "search", "5" * 32, "6" * 32, 2, 1_000, "8" * 32, "9" * 16)
NOTED = ("s1", "PROGRESS", "INFO", "search", "5" * 32, "6" * 32, 2, 1_000, "8" * 32, "9" * 16)
FACTS: tuple[Fact, ...] = (
    StepStarted(*STEP, {"input": {"q": "é"}}),
    StepStarted("s1", "AGENT", "researcher", "5" * 32, None, 1, 1_000, None, None),
    StepEnded(*STEP, 3_500, "ok", None, Usage(input_tokens=5), {"output": [1, None, 0.5]}),
    StepEnded(*STEP, 3_500, "error", ErrorInfo(type="ValueError", message="no", code="E1")),
    StepEnded(*STEP, 3_500, "cancelled"),
    StepNoted(*NOTED, 3, 2_000, {"message": "3 of 10"}),
    SessionNoted("s1", "e" * 32, "STAGE_CHANGED", "INFO", 5_000, details={"stage": "x", "progress": 50}),
    SessionNoted("s1", "e" * 32, "JOB", "WARNING", 5_000, "job", "5" * 32, "6" * 32, 1, "8" * 32, "9" * 16, {"a": 1}),
    Heartbeat(7_000, ("s1", "s2")),
    BlobKept("s1", "d" * 32, b'"text"'),
    FailureNoted(
        "s1", "e" * 32, "JOB_FAILED", "ERROR", 5_000, error=ErrorInfo(type="OSError", message="no", code="E1")
    ),
    FlushAsked(3),
)

ids = st.none() | hex_ids
step = (texts, st.sampled_from(STEP_KINDS), texts, hex_ids, ids, st.integers(1, 9), times_ns, ids, ids)
facts = st.one_of(
    st.builds(StepStarted, *step, json_objects),
    st.builds(StepEnded, *step, times_ns, texts, st.none() | errors, st.none() | usages, json_objects),
    st.builds(StepNoted, texts, texts, texts, *step[2:], st.integers(0, 9), times_ns, json_objects),
    st.builds(SessionNoted, texts, hex_ids, texts, texts, times_ns, ids, ids, ids, st.none(), ids, ids, json_objects),
    st.builds(
        FailureNoted, texts, hex_ids, texts, texts, times_ns, ids, ids, ids, st.none(), ids, ids, json_objects, errors
    ),
    st.builds(Heartbeat, times_ns, st.lists(texts).map(tuple)),
    st.builds(BlobKept, texts, hex_ids, st.binary()),
)


@given(facts)
def test_round_trip(fact: Fact) -> None:
    """A fact comes back equal from its bytes, integers of any size in its details included."""
    assert decode_fact(encode_fact(fact)) == fact


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact(fact: Fact) -> None:
    """Each kind of fact comes back as that kind."""
    assert decode_fact(encode_fact(fact)) == fact
    assert type(decode_fact(encode_fact(fact))) is type(fact)


def test_golden_file() -> None:
    """The bytes of a fact are the format of the spool: version 1 is read, and while it is current written, for ever."""
    assert FACTS_VERSION == 1, "a new version wants a golden file of its own"
    written = [bytes.fromhex(line) for line in GOLDEN.read_text().split()]
    assert tuple(map(decode_fact, written)) == FACTS
    assert [encode_fact(fact) for fact in FACTS] == written


@given(st.dictionaries(st.text(max_size=3), anything, max_size=3), st.text(st.characters(categories=["Cs", "L"])))
def test_encoding_is_total(details: dict[str, Any], text: str) -> None:
    """No value and no text keeps a fact from being written; its event is intact and says what was meant."""
    error = ErrorInfo(type=text, message=text, code=text)
    fact = StepEnded(text, "TOOL", text, text, text, 1, 1, None, None, 2, "error", error, None, details)
    (event,) = events_of(decode_fact(encode_fact(fact)), WRITER)
    assert intact(event)
    assert event.name == plain(text)
    assert event.error == ErrorInfo(type=plain(text), message=plain(text), code=plain(text))


def test_what_msgpack_cannot_carry() -> None:
    """Integers beyond 64 bits are kept exactly, lone surrogates as escapes, unknown objects by their class."""
    details = {"large": [2**64, -(2**63) - 1, 2**64 - 1, -(2**63)], "text": "\udc80", "what": object}
    fact = decode_fact(encode_fact(SessionNoted("s1", "e1", "NOTE", "INFO", 1, details=details)))
    assert isinstance(fact, SessionNoted)
    assert fact.details == {"large": details["large"], "text": "\\udc80", "what": repr(object)}
    assert decode_fact(encode_fact(Heartbeat(1, ("\udc80", "s")))) == Heartbeat(1, ("\\udc80", "s"))
    error = ErrorInfo(type="\udc80", message="m")
    (event,) = events_of(decode_fact(encode_fact(StepEnded(*STEP, 5, "error", error))), WRITER)
    assert event.error == ErrorInfo(type="\\udc80", message="m")


def test_read_only_details() -> None:
    """Details may be any mapping, frozen ones within them too."""
    details = MappingProxyType({"inner": MappingProxyType({"a": 1})})
    fact = decode_fact(encode_fact(StepStarted(*STEP, details)))
    assert isinstance(fact, StepStarted)
    assert fact.details == {"inner": {"a": 1}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x91\x63",
        encode_fact(FACTS[0])[:-1],
        encode_fact(FACTS[0]).replace(b"\xa2s1", b"\x05\x05\x05", 1),
        encode_fact(FACTS[8]).replace(b"\x05", b"\x63", 1),
        msgspec.msgpack.encode([4, "s", "e", "T", "I", 1, *[None] * 6, {"a": msgspec.msgpack.Ext(7, b"")}]),
    ],
)
def test_what_is_no_fact(data: bytes) -> None:
    """Bytes that are no fact are refused, and nothing is made of them."""
    with pytest.raises((msgspec.DecodeError, ValueError)):
        decode_fact(data)


def test_start() -> None:
    """A START has the span's start, the step, and an id that any door would derive."""
    (event,) = events_of(FACTS[0], WRITER)
    assert event.type == "TOOL_START"
    assert event.event_id == derived_id(f"{'5' * 32}:2:1000:START:0")
    assert (event.timestamp_ns, event.level, event.name, event.writer) == (1_000, "INFO", "search", WRITER)
    assert (event.step_id, event.parent_step_id, event.attempt) == ("5" * 32, "6" * 32, 2)
    assert (event.trace_id, event.span_id, event.details) == ("8" * 32, "9" * 16, {"input": {"q": "é"}})
    assert (event.outcome, event.duration_ns, event.error, event.usage) == (None, None, None, None)
    assert event.digest == digest(event)


def test_end() -> None:
    """An ending has the span's end, the outcome, how long it took, and the same id whatever the outcome."""
    endings = [events_of(fact, WRITER)[0] for fact in FACTS[2:5]]
    assert [event.type for event in endings] == ["TOOL_END", "TOOL_ERROR", "TOOL_END"]
    assert [event.level for event in endings] == ["INFO", "ERROR", "INFO"]
    assert [event.outcome for event in endings] == ["ok", "error", "cancelled"]
    assert {event.event_id for event in endings} == {derived_id(f"{'5' * 32}:2:1000:END:0")}
    assert {(event.timestamp_ns, event.duration_ns) for event in endings} == {(3_500, 2_500)}
    assert endings[0].usage == Usage(input_tokens=5)
    assert endings[1].error == ErrorInfo(type="ValueError", message="no", code="E1")
    assert all(intact(event) and event.digest for event in endings)


def test_a_clock_that_steps_back() -> None:
    """A step that ends before it began, by its clock, took no time rather than less than none."""
    (event,) = events_of(StepEnded(*STEP, 900, "ok"), WRITER)
    assert (event.timestamp_ns, event.duration_ns) == (900, 0)


def test_note() -> None:
    """An event within a step carries its own time and level, and an id by its index."""
    (event,) = events_of(FACTS[5], WRITER)
    assert event.event_id == derived_id(f"{'5' * 32}:2:1000:PROGRESS:3")
    assert (event.type, event.level, event.timestamp_ns, event.name) == ("PROGRESS", "INFO", 2_000, "search")
    assert (event.step_id, event.parent_step_id, event.attempt) == ("5" * 32, "6" * 32, 2)
    assert (event.trace_id, event.span_id, event.details) == ("8" * 32, "9" * 16, {"message": "3 of 10"})
    assert (event.writer, intact(event)) == (WRITER, True)


def test_session_event() -> None:
    """An event of the session keeps the id it was made with."""
    (event,) = events_of(FACTS[7], WRITER)
    assert (event.event_id, event.type, event.level, event.timestamp_ns) == ("e" * 32, "JOB", "WARNING", 5_000)
    assert (event.name, event.step_id, event.parent_step_id, event.attempt) == ("job", "5" * 32, "6" * 32, 1)
    assert (event.trace_id, event.span_id, event.details) == ("8" * 32, "9" * 16, {"a": 1})
    assert (event.writer, intact(event)) == (WRITER, True)


@pytest.mark.parametrize("fact", [*FACTS[8:10], FACTS[11]])
def test_no_events(fact: Fact) -> None:
    """Heartbeats, blobs and flushes are no events."""
    assert events_of(fact, WRITER) == ()


def test_a_failure_of_the_session_has_its_error() -> None:
    """An event of the session that tells of a failure carries the error as any ending does; all others have none."""
    failed, plainly = events_of(FACTS[10], WRITER)[0], events_of(FACTS[6], WRITER)[0]
    assert (failed.type, failed.error) == ("JOB_FAILED", ErrorInfo(type="OSError", message="no", code="E1"))
    assert intact(failed)
    assert plainly.error is None
