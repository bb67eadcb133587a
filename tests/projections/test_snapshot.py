"""A fold that was written down is gone on from in another process, as if it had never been put away."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections import id_set, snapshot
from otel_agent_journal.projections.head import MAX_OPEN_WRITERS, MAX_WRITERS
from otel_agent_journal.projections.snapshot import restored, snapshot_of
from otel_agent_journal.projections.status import REMEMBERED, StatusState, apply, fold, heard
from otel_agent_journal.projections.verdict import head_of
from tests.projections import told
from tests.projections.told_at_random import heaps

STEPS = [2196852002565632791, 17296344147128282246]  # of root and tool


def put_away(state: StatusState) -> StatusState:
    """The state as another process has it."""
    found = restored(snapshot_of(state, told.SESSION))
    assert found is not None
    return found


@settings(max_examples=300, deadline=None)
@given(heaps, st.lists(st.integers(0, 30), max_size=3))
def test_going_on_from_a_snapshot_equals_a_replay(events: list[JournalEvent], cuts: list[int]) -> None:
    """Put away at any time and any number of times, what comes in whatever order gives what a replay gives."""
    distinct = list({(event.timestamp_ns, event.event_id): event for event in events}.values())
    state = StatusState()
    for number, event in enumerate(distinct):
        if number in cuts:
            state = put_away(state)
        apply(state, event)
    state = put_away(state)
    assert head_of(state, told.SESSION) == head_of(fold(distinct), told.SESSION)


def test_a_snapshot_is_the_same_in_every_process() -> None:
    """What is written down of the same events is the same bytes, whatever Python's own hashes are."""
    events = told.start("root", 1), told.start("tool", 2, under="root"), told.end("tool", 2, 4, under="root")
    state = fold(events)
    assert state.open.keys() == fold(events).open.keys()
    assert [*state.steps.latest] == STEPS


def test_heartbeats_are_kept() -> None:
    """When a writer was heard of is not forgotten."""
    state = fold([told.start("root", 5)])
    heard(state, "w1", 20)
    assert head_of(put_away(state), told.SESSION).writers == {"w1": 20}


def test_what_is_no_snapshot() -> None:
    """Nothing, something else, and what another version of this package wrote cannot be gone on from."""
    written = snapshot_of(fold([told.start("root", 5)]), told.SESSION)
    cut = msgspec.msgpack.decode(written)
    cut[2][1] = cut[2][1][:-1]  # an id that is none
    for found in (b"", b"else", written[:-1], msgspec.msgpack.encode(cut)):
        assert restored(found) is None


def test_a_snapshot_of_another_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot says how it is written; another one is not read."""
    written = snapshot_of(fold([told.start("root", 5)]), told.SESSION)
    monkeypatch.setattr(snapshot, "_FORM", 1000)
    assert restored(written) is None


def test_a_session_with_parts_has_none() -> None:
    """No one cursor speaks for the events of a session and of its parts."""
    link = told.said("SESSION_LINKED", 5, session=told.SESSION, trace="t1")
    assert snapshot_of(fold([link]), told.SESSION) == b""


def test_what_cannot_be_written_down() -> None:
    """Numbers beyond 64 bits, and more open steps than a store would take, are folded from the beginning."""
    tokens = told.end("root", 1, 5, usage={"input_tokens": 2**70})
    assert snapshot_of(fold([tokens]), told.SESSION) == b""
    assert snapshot_of(fold([told.start(f"step {number}", number) for number in range(9000)]), told.SESSION) == b""


def ended(step: int) -> list[JournalEvent]:
    return [told.start(f"s{step}", step, under="root"), told.end(f"s{step}", step, step + 5, under="root")]


def test_a_long_session_stays_small() -> None:
    """Of 10,000 steps the latest are remembered: the others are counted, and none of them is taken for open."""
    state = fold([told.start("root", 0), *(event for step in range(1, 10_001) for event in ended(step))])
    written = snapshot_of(state, told.SESSION)
    assert len(written) < 3 * 8 * REMEMBERED + 2000
    state = put_away(state)
    for event in (told.start("s1", 1, under="root"), told.end("root", 0, 20_000)):
        apply(state, event)  # the first comes once more, by another writer say, far too late
    head = head_of(state, told.SESSION)
    assert (head.status, head.open_writers, head.events) == ("COMPLETED", (), 20_003)
    assert head.steps == 10_001 + 1  # of all that came so late
    assert not put_away(put_away(state)).open


def test_an_ending_that_comes_before_its_start() -> None:
    """Put away in between, the two meet all the same."""
    start, end = ended(7)
    state = put_away(fold([end]))
    apply(state, start)
    assert (head_of(state, told.SESSION).steps, state.open) == (1, {})


def test_writers_are_bounded() -> None:
    """Of thousands of writers a head and its snapshot name the latest, and those with a step still open."""
    events = [told.said("NOTED", number, writer=f"{number:032x}") for number in range(1, 5000)]
    events += [told.interrupted(f"{number:032x}", number + 1) for number in range(1, 5000)]
    state = fold([told.start("root", 3, writer="old"), *events])
    for one in (state, put_away(state)):
        head = head_of(one, told.SESSION)
        assert len(head.writers) == MAX_WRITERS + 1
        assert {"old", f"{4999:032x}"} <= head.writers.keys()
        assert head.open_writers == ("old",)
    assert len(snapshot_of(state, told.SESSION)) < 30_000


def test_a_mark_upon_the_last_root_is_kept() -> None:
    """The writer of the latest root is known, and what is said of it, however many came after."""
    others: list[Any] = [told.said("NOTED", number, writer=f"w{number}") for number in range(10, 1000)]
    marks = [told.interrupted(f"w{number}", number + 1) for number in range(10, 1000)]
    state = fold([told.start("root", 1, writer="first"), told.interrupted("first", 2), *others, *marks])
    assert head_of(put_away(state), told.SESSION) == head_of(state, told.SESSION)
    assert head_of(state, told.SESSION).status == "INTERRUPTED"


def test_open_writers_are_bounded() -> None:
    """Of more writers with an open step than a head names those seen first and last are named."""
    starts = [told.start(f"s{number}", number, writer=f"w{number:04}") for number in range(1, 1001)]
    head = head_of(fold(starts), told.SESSION)
    assert len(head.open_writers) == MAX_OPEN_WRITERS
    assert {"w0001", "w1000"} <= set(head.open_writers)
    assert set(head.open_writers) <= head.writers.keys()


def test_a_set_goes_on_from_its_latest() -> None:
    """Ids that came before those given are counted, and only those given are told apart."""
    ids = id_set.IdSet(2, latest=(7, 8), before=3)
    assert (len(ids), ids.latest) == (5, (7, 8))
    assert not ids.add(8)
    assert ids.add(9)
    assert (len(ids), ids.latest) == (6, (8, 9))
