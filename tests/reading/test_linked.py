"""A session is read whole: with the traces that were kept apart until it was known that they are part of it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.event import SESSION_LINKED, JournalEvent
from otel_agent_journal.mapping.facts import SpansReceived, events_of
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.links import MAX_LISTED
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.linked import parts_in, read_whole
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.rules import fold_from_beginning, same_head, whole_of
from otel_agent_journal.testing.builders import a_head, an_event, events
from tests.mapping.test_received import AGENT_SPAN, MODEL_SPAN, TOOL_SPAN, named, received
from tests.projections.test_links import link

TRACES = ("a" * 32, "b" * 32, "c" * 32)
SPANS = (AGENT_SPAN, TOOL_SPAN, MODEL_SPAN, ("5" * 16, AGENT_SPAN[0], MODEL_SPAN[2]))


class CountingStore(MemoryStore):
    """Remembers which sessions were read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        self.reads.append(session_id)
        return super().read(session_id, after)


@pytest.fixture
def store() -> CountingStore:
    """A session s1 of four events and a link, and a trace t1 with three of its own and one that s1 has, too."""
    store = CountingStore()
    store.append([*events(4), link("s1", "t1", "s1", 9), link("s1", "t1", "t1", 9)])
    own = [an_event(number, session_id="t1", timestamp_ns=events(4)[number].timestamp_ns + 5) for number in range(3)]
    store.append([*own, msgspec.structs.replace(events(4)[2], session_id="t1")])
    return store


def heads_written(store: MemoryStore) -> None:
    for session_id in ("s1", "t1"):
        store.write_head(fold_from_beginning(store, session_id).head(session_id))


def kept_in(found: Iterator[JournalEvent]) -> str:
    return " ".join(event.session_id for event in found)


def test_in_order_and_once(store: CountingStore) -> None:
    """Its events and those of its parts come in order of time and id, each once: where both have it, its own."""
    heads_written(store)
    found = list(read_whole(store, "s1"))
    assert [(event.timestamp_ns, event.event_id) for event in found] == sorted(
        {(event.timestamp_ns, event.event_id) for event in found}
    )
    assert kept_in(iter(found)) == "s1 t1 s1 t1 s1 t1 s1 s1"
    assert kept_in(read_whole(store, "t1")) == "t1 t1 t1 t1 t1"


@pytest.mark.parametrize("number", range(9))
def test_from_a_position_on(store: CountingStore, number: int) -> None:
    """Reading goes on behind any event that was had."""
    heads_written(store)
    found = list(read_whole(store, "s1"))
    after = None if number == 8 else (found[number].timestamp_ns, found[number].event_id)
    assert list(read_whole(store, "s1", after)) == found[0 if number == 8 else number + 1 :]


def test_each_is_read_once(store: CountingStore) -> None:
    """By its head a session is read once, and so is each part; without one it is looked through first."""
    assert len(list(read_whole(store, "s1"))) == 8
    assert store.reads == ["s1", "s1", "t1"]
    heads_written(store)
    store.reads.clear()
    list(read_whole(store, "s1"))
    list(read_whole(store, "s1", head=store.head("s1")))
    assert store.reads == ["s1", "t1"] * 2
    store.append(events(2, session_id="s2"))
    store.write_head(a_head("s2"))
    store.reads.clear()
    list(read_whole(store, "s2"))
    assert store.reads == ["s2"]


def test_a_head_that_lags(store: CountingStore) -> None:
    """A part that the head does not know yet is read as its link comes by: nothing is missing, and nothing twice."""
    store.write_head(a_head("s1"))
    found = list(read_whole(store, "s1"))
    assert kept_in(iter(found)) == "s1 s1 s1 s1 s1 t1 t1 t1 t1"
    assert [event.type for event in found].count(SESSION_LINKED) == 1
    assert same_head(head_of(fold(found), "s1"), fold_from_beginning(store, "s1").head("s1"))


def test_a_head_that_is_full(store: CountingStore) -> None:
    """A head that names as many parts as it can need not name all: the session's events are looked through."""
    store.write_head(a_head("s1", parts=tuple(f"x{number}" for number in range(MAX_LISTED))))
    assert parts_in(store, "s1") == ("t1",)


def test_one_hop() -> None:
    """What is part of a part is not part of the session, nor does a circle hang."""
    store = MemoryStore()
    for session_id, part in (("s1", "s2"), ("s2", "s3"), ("s3", "s1")):
        store.append([link(session_id, part, session_id), link(session_id, part, part)])
    for written in (False, True):
        if written:
            for session_id in ("s1", "s2", "s3"):
                store.write_head(fold_from_beginning(store, session_id).head(session_id))
        assert sorted({event.session_id for event in read_whole(store, "s1")}) == ["s1", "s2"]
        assert same_head(head_of(fold(read_whole(store, "s1")), "s1"), fold_from_beginning(store, "s1").head("s1"))
    assert [head.session_id for head in store.sessions()] == ["s1", "s2", "s3"]


def test_the_session_of_a_part(store: CountingStore) -> None:
    """The head of a part leads to that of its session; where that is gone, a part stands for itself."""
    heads_written(store)
    whole, part = store.head("s1"), store.head("t1")
    assert whole is not None
    assert part is not None
    assert (whole_of(store, part), whole_of(store, whole)) == (whole, whole)
    gone = a_head("t2", part_of="gone")
    assert whole_of(store, gone) == gone


@st.composite
def requests(draw: st.DrawFn) -> list[SpansReceived]:
    """Requests with the spans of some traces, in any order and grouping, some of them sent twice.

    One span of a trace, or more, names its session; those of two traces the same.
    """
    spans = [
        (trace, named(span, f"s{number // 2}") if position in naming else span)
        for number, trace in enumerate(TRACES)
        for naming in [draw(st.sets(st.integers(0, 3), min_size=1))]
        for position, span in enumerate(SPANS)
    ]
    made: list[SpansReceived] = []
    left = draw(st.permutations(spans))
    while left:
        trace, _ = left[0]
        taken = [span for of, span in left[: draw(st.integers(1, 4))] if of == trace]
        left = [one for one in left if one != (trace, one[1]) or one[1] not in taken]
        made.append(received(len(made) + 1, *taken, trace=trace))
    again = draw(st.lists(st.sampled_from(made), max_size=3))
    return [msgspec.structs.replace(one, received_ns=number) for number, one in enumerate([*made, *again], 1)]


def naming_requests() -> list[SpansReceived]:
    """Requests before all others that say which session each trace is of."""
    span = ("9" * 16, None, {"gen_ai.operation.name": "chat"})
    return [received(0, named(span, f"s{number // 2}"), trace=trace) for number, trace in enumerate(TRACES)]


def journaled(store: MemoryStore, spans: ReceivedSpans, received_one: SpansReceived) -> list[JournalEvent]:
    found = [event for fact in spans.facts(received_one) for event in events_of(fact, "w")]
    store.append(found)
    return found


def without_links(found: Iterator[JournalEvent], session_id: str) -> SessionHead:
    return head_of(fold(event for event in found if event.type != SESSION_LINKED), session_id)


@given(requests())
@settings(max_examples=150, deadline=None)
def test_as_if_the_session_had_been_known(made: list[SpansReceived]) -> None:
    """Whatever the order and grouping of requests, a session read whole is what it is where it was known at first."""
    late, early = MemoryStore(), MemoryStore()
    knowing, unknowing = ReceivedSpans(), ReceivedSpans()
    for request in naming_requests():
        knowing.facts(request)
    for request in made:
        journaled(late, unknowing, request)
        journaled(early, knowing, request)
    for session_id in ("s0", "s1"):
        assert without_links(read_whole(late, session_id), session_id) == without_links(
            early.read(session_id), session_id
        )
        shown = [
            [(step.step_id, step.depth, step.status, len(step.attempts)) for step in fold_steps(found).walk()]
            for found in (read_whole(late, session_id), early.read(session_id))
        ]
        assert shown[0] == shown[1]
        whole = head_of(fold(read_whole(late, session_id)), session_id)
        assert same_head(whole, fold_from_beginning(late, session_id).head(session_id))
