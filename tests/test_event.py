"""Events and the ids they are known by."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import (
    CONTEXT_TYPES,
    END_TYPES,
    START_TYPES,
    STEP_KINDS,
    JournalEvent,
    derived_id,
    is_context,
    kind_of,
    step_event_id,
    time_ordered_id,
)

NAMESPACE = uuid5(NAMESPACE_URL, "urn:otel-agent-journal")


@given(st.text())
def test_derived_ids_are_uuid5(name: str) -> None:
    """An id derived by hand is the standard library's uuid5 of the same name."""
    assert derived_id(name) == uuid5(NAMESPACE, name).hex


def test_derived_ids_of_any_text() -> None:
    """A name with a lone surrogate has an id too, and another one than its neighbours."""
    assert len({derived_id("a\udc80"), derived_id("a\udc81"), derived_id("a")}) == 3


def test_step_event_ids() -> None:
    """An event of a step has an id of its own for each attempt, start, phase and index, the same at every call."""
    arguments = [
        ("s", 1, 5, "START", 0), ("s", 2, 5, "START", 0), ("s", 1, 6, "START", 0),
        ("s", 1, 5, "END", 0), ("s", 1, 5, "CHUNK", 0), ("s", 1, 5, "CHUNK", 1), ("t", 1, 5, "START", 0),
    ]  # fmt: skip
    ids = [step_event_id(*one) for one in arguments]
    assert len(set(ids)) == len(arguments)
    assert ids == [step_event_id(*one) for one in arguments]
    assert step_event_id("s", 1, 5, "START") == ids[0] == derived_id("s:1:5:START:0")


@given(st.integers(0, 2**48 * 1_000_000 - 1), st.binary(min_size=10, max_size=10))
def test_time_ordered_ids_are_uuid7(now_ns: int, random_bytes: bytes) -> None:
    """A time-ordered id is a uuid of version 7 with the milliseconds in front and the random bits behind."""
    made = UUID(time_ordered_id(now_ns, random_bytes))
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == now_ns // 1_000_000


def test_time_ordered_ids_differ_and_sort() -> None:
    """Ids of one millisecond differ by their random bits, ids of later ones sort behind them."""
    ids = [time_ordered_id(5_000_000, bytes([value]) * 10) for value in range(256)]
    assert len(set(ids)) == 256
    assert max(ids) < time_ordered_id(6_000_000, bytes(10))


@pytest.mark.parametrize("bit", [*range(62), *range(68, 80)])
def test_time_ordered_ids_use_74_random_bits(bit: int) -> None:
    """Each of the bits that a uuid7 leaves to chance makes another id."""
    assert time_ordered_id(0, (1 << bit).to_bytes(10, "big")) != time_ordered_id(0, bytes(10))


def test_key() -> None:
    """An event's key is its session, time and id."""
    event = JournalEvent(session_id="s", event_id="e", type="NOTE", timestamp_ns=7)
    assert event.key == ("s", 7, "e")


def test_events_are_immutable() -> None:
    """An event cannot be changed, nor can what it holds by default."""
    event = JournalEvent(session_id="s", event_id="e", type="NOTE", timestamp_ns=7)
    with pytest.raises(AttributeError):
        event.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.details["x"] = 1  # type: ignore[index]


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_kinds(kind: str) -> None:
    """A step's START and both its endings tell its kind."""
    assert {kind_of(f"{kind}_START"), kind_of(f"{kind}_END"), kind_of(f"{kind}_ERROR")} == {kind}


@pytest.mark.parametrize(
    "event_type", ["PROGRESS", "SESSION_FAILED", "TOOL_CALL", "TOOL_STARTED", "START", "", "X_END"]
)
def test_other_types_have_no_kind(event_type: str) -> None:
    """Any other type has no kind, however it looks."""
    assert kind_of(event_type) is None


def test_context_types() -> None:
    """Context events are those that instrumentors never write."""
    assert all(map(is_context, CONTEXT_TYPES))
    assert not any(map(is_context, START_TYPES | END_TYPES | {"PROGRESS", "X"}))
