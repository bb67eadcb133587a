"""The room of requests: whatever becomes of them, what they took is given back, once, as soon as they are left."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.receiver.answers import Verdict
from otel_agent_journal.receiver.counters import Counters
from otel_agent_journal.receiver.room import MAX_REQUEST_BYTES, Budget, GivenUp, Room

LIMIT = 1000


def budget_of(limit: int = LIMIT, reading: int = LIMIT) -> tuple[Budget, Counters]:
    """Return a budget and what it counts with."""
    counters = Counters(1)
    return Budget(limit, counters.row(0), reading_bytes=reading), counters


OPERATIONS = st.tuples(st.sampled_from(("add", "grow", "read", "leave")), st.integers(0, 4), st.integers(0, 700))


@given(st.lists(OPERATIONS, max_size=60))
def test_empty_in_the_end(operations: list[tuple[str, int, int]]) -> None:
    """After any history of requests, left at any time and worked on after that, nothing is in hand or being read."""
    budget, counters = budget_of()
    rooms = [budget.room() for _ in range(5)]
    for operation, number, size in operations:
        room = rooms[number]
        try:
            if operation == "leave":
                room.__exit__()
            elif operation == "read":
                with room.reading(size):
                    room.check()
            else:
                refusal = room.add(size) if operation == "add" else room.grow(size)
                assert refusal is None or refusal.verdict is Verdict.BUSY
        except GivenUp:
            assert room.is_left
        assert counters.totals()["in_flight_bytes"] == sum(room.size for room in rooms)
        assert all(room.size == 0 for room in rooms if room.is_left)
    for room in rooms:
        room.__exit__()
    assert counters.totals()["in_flight_bytes"] == 0
    assert budget.is_open
    with budget.room() as alone:
        assert alone.grow(LIMIT * 2) is None, "the whole of it is there again"
        with alone.reading(LIMIT * 2):
            pass


def test_over_the_limit() -> None:
    """What does not fit beside others is to come again; a request that is alone is taken; none is over 64 MiB."""
    budget, _ = budget_of()
    with budget.room() as one, budget.room() as other:
        assert one.grow(LIMIT + 1) is None
        refusal = other.grow(1)
        assert refusal is not None
        assert (refusal.verdict, refusal.message) == (
            Verdict.BUSY,
            "1,001 bytes of requests are in hand, limit 1,000",
        )
        assert not budget.is_open
        too_large = one.add(MAX_REQUEST_BYTES)
        assert too_large is not None
        assert too_large.verdict is Verdict.TOO_LARGE
    assert budget.is_open
    with budget.room() as under_way:
        assert under_way.grow(1) is None
        budget.close()
        assert under_way.grow(1) is None, "what is in hand is answered"
    with budget.room() as late:
        refusal = late.grow(0)
        assert refusal is not None
        assert refusal.message == "the receiver is shutting down"


def test_nobody_waits_to_read_for_nobody() -> None:
    """Who waits to read a request is woken, and reads nothing, once its client has given up; the next one reads."""
    budget, _ = budget_of(reading=10)
    first, given_up, last = budget.room(), budget.room(), budget.room()
    told: list[str] = []

    def read(room: Room, name: str) -> None:
        try:
            with room.reading(10):
                told.append(name)
        except GivenUp:
            told.append(f"not {name}")

    with first.reading(10):
        waiting = [threading.Thread(target=read, args=pair) for pair in ((given_up, "given up"), (last, "last"))]
        for thread in waiting:
            thread.start()
        time.sleep(0.05)
        assert told == []
        given_up.__exit__()
        waiting[0].join(5)
        assert told == ["not given up"]
    waiting[1].join(5)
    assert told == ["not given up", "last"]


def test_left_is_left() -> None:
    """A room that was left takes nothing more, however its thread goes on."""
    budget, counters = budget_of()
    with budget.room() as room:
        assert room.grow(5) is None
    for again in (room.grow, room.add):
        with pytest.raises(GivenUp):
            again(5)
    room.__exit__()
    assert counters.totals()["in_flight_bytes"] == 0
