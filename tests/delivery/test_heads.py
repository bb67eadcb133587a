"""The heads that the drain keeps are at any time what a replay gives, those of sessions with parts as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import SpansReceived
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Page, SessionFilter
from otel_agent_journal.store.rules import fold_from_beginning, same_head
from otel_agent_journal.testing.builders import JournalBuilder, an_event, events
from tests.projections.test_links import link
from tests.reading.test_linked import journaled, requests

T = "t1"


def at_once(call: Callable[[], object]) -> None:
    call()


def wrong_heads(store: MemoryStore) -> dict[str, tuple[object, object]]:
    """The heads that are not what a replay gives, and those it gives: heartbeats and versions do not matter."""
    found: dict[str, tuple[object, object]] = {}
    for session_id in {event.session_id for event in store.follow(None, limit=10_000).events}:
        replayed = fold_from_beginning(store, session_id).head(session_id)
        stored = store.head(session_id)
        if stored is None or not same_head(stored, replayed) or stored.cursor != replayed.cursor:
            found[session_id] = stored, replayed
    return found


@given(requests(), st.data())
@settings(max_examples=150, deadline=None)
def test_heads_are_replays(made: list[SpansReceived], data: st.DataObject) -> None:
    """However requests are spread over processes that drain, once all have written each head is a replay."""
    store, spans = MemoryStore(), ReceivedSpans()
    keepers = [HeadKeeper(store, at_once, max_sessions=data.draw(st.sampled_from([1, 100]))) for _ in range(2)]
    for request in made:
        keeper = data.draw(st.sampled_from(keepers))
        found = journaled(store, spans, request)
        cut = data.draw(st.integers(0, len(found)))
        keeper.note(found[:cut])
        data.draw(st.sampled_from([keeper.write, keeper.write_new, lambda: None]))()
        keeper.note(found[cut:])
        if data.draw(st.booleans()):
            data.draw(st.sampled_from(keepers)).write()
    for keeper in (*keepers, *keepers):
        keeper.write()
    assert wrong_heads(store) == {}
    assert {head.part_of for head in store.sessions(SessionFilter(parts=True))} <= {None, "s0", "s1"}


def keeper_and_store() -> tuple[HeadKeeper, MemoryStore]:
    store = MemoryStore()
    return HeadKeeper(store, at_once), store


def write(keeper: HeadKeeper, store: MemoryStore, found: list[JournalEvent]) -> None:
    keeper.note(found, store.append(found))
    keeper.write()


def test_new_sessions_alone() -> None:
    """A session that comes up is listed at once, and costs no write of the heads that lag behind."""
    keeper, store = keeper_and_store()
    write(keeper, store, events(2))
    for found in (events(3), events(1, session_id=T)):
        keeper.note(found, store.append(found))
    keeper.write_new()
    assert store.head(T).events == 1
    assert store.head("s1").events == 2
    assert keeper.lagging == 1
    assert not keeper.has_new
    keeper.write()
    assert wrong_heads(store) == {}


def test_what_comes_for_a_part_moves_its_session() -> None:
    """An event of a part counts in the head of its session, too, whether that is in hand or was let go."""
    keeper, store = keeper_and_store()
    write(keeper, store, [*events(2), *events(2, session_id=T)])
    write(keeper, store, [link("s1", T, "s1", 5), link("s1", T, T, 5)])
    assert store.head("s1").events == 5
    assert (store.head(T).events, store.head(T).part_of) == (3, "s1")
    write(keeper, store, [an_event(7, session_id=T)])
    assert (store.head("s1").events, store.head("s1").updated_ns) == (6, store.head(T).updated_ns)
    keeper.forget()
    write(keeper, store, [an_event(8, session_id=T)])
    assert store.head("s1").events == 7
    assert keeper.lagging == 0
    assert wrong_heads(store) == {}


def test_a_part_that_is_open() -> None:
    """A step that is open in a part is open in the session, and a heartbeat for the part is one for the session."""
    keeper, store = keeper_and_store()
    part = JournalBuilder(T, writer="w7")
    step = part.start("AGENT", "helper")
    write(keeper, store, [*part.events, link("s1", T, "s1", 5), link("s1", T, T, 5)])
    assert (store.head("s1").status, store.head("s1").open_writers) == ("PROCESSING", ("w7",))
    keeper.heard("w7", 10**19, [T])
    keeper.write()
    assert store.head("s1").writers["w7"] == 10**19
    write(keeper, store, [part.end(step)])
    assert store.head("s1").status == "COMPLETED"


def test_a_copy_in_both() -> None:
    """Where session and part both have an event, the session's own counts, whichever comes first."""
    keeper, store = keeper_and_store()
    root = JournalBuilder(T)
    root.start("AGENT", "helper")
    other = [msgspec.structs.replace(event, session_id="s1", writer="w9") for event in root.events]
    write(keeper, store, [*root.events, link("s1", T, "s1", 5), link("s1", T, T, 5)])
    assert store.head("s1").open_writers == store.head(T).open_writers
    write(keeper, store, other)
    assert (store.head("s1").open_writers, store.head("s1").steps) == (("w9",), 1)
    assert wrong_heads(store) == {}


def test_a_session_that_nobody_wrote() -> None:
    """Of a trace whose session has nothing yet, not even the link, the head alone is written."""
    keeper, store = keeper_and_store()
    write(keeper, store, [link("s1", T, T)])
    assert store.head(T).part_of == "s1"
    assert store.head("s1") is None
    write(keeper, store, events(2))
    write(keeper, store, [an_event(7, session_id=T)])
    assert (store.head("s1").events, store.head(T).events) == (2, 2)
    assert wrong_heads(store) == {}


def test_another_process_in_between() -> None:
    """What another process adds to a part while its session's head is being written is counted in it all the same."""

    class Store(MemoryStore):
        meanwhile: Callable[[], object] | None = None

        def write_head(self, head: SessionHead) -> SessionHead | None:
            if head.session_id == T and self.meanwhile is not None:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()
            return super().write_head(head)

    store = Store()
    one, other = HeadKeeper(store, at_once), HeadKeeper(store, at_once)
    write(other, store, events(2, session_id=T))
    store.meanwhile = lambda: write(other, store, [an_event(8, session_id=T)])
    write(one, store, [link("s1", T, "s1", 5), link("s1", T, T, 5)])
    assert wrong_heads(store) == {}


def test_a_circle() -> None:
    """Sessions that claim each other are written, each with the other's events, and nothing hangs."""
    store = MemoryStore()
    keeper = HeadKeeper(store, at_once, max_sessions=1)
    for one, other in (("s1", "s2"), ("s2", "s1")):
        write(keeper, store, [link(one, other, one), link(one, other, other), *events(2, session_id=one)])
    for _ in range(3):
        keeper.write()
    assert wrong_heads(store) == {}
    assert [head.events for head in store.sessions()] == [6, 6]


def test_a_session_that_was_deleted_and_began_anew() -> None:
    """A drain that had it in hand does not go on from what was deleted, though its head has the same version again."""
    store = MemoryStore()
    one, other = HeadKeeper(store, at_once), HeadKeeper(store, at_once)
    write(one, store, events(2))
    assert store.delete_session("s1", store.head("s1").cursor, 1)
    write(other, store, events(1, first=5))
    assert store.head("s1").version == 1
    write(one, store, events(1, first=6))
    assert store.head("s1").events == 2
    assert wrong_heads(store) == {}


def test_a_session_that_was_deleted_before_its_head_was_written() -> None:
    """A drain whose fold was never written does not go on from it either."""
    store = MemoryStore()
    keeper = HeadKeeper(store, at_once)
    keeper.note(events(2), store.append(events(2)))
    assert store.delete_session("s1", store.tip("s1"), 0)
    store.append(events(1, first=5))
    write(keeper, store, events(1, first=6))
    assert store.head("s1").events == 2


class Reading(MemoryStore):
    """Counts the events that are read back."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        page = super().follow(cursor, session_id=session_id, limit=limit)
        self.given += len(page.events)
        return page

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        for event in super().read(session_id, after):
            self.given += 1
            yield event


@pytest.mark.parametrize(("writers", "bound"), [(1, 0), (2, 1), (4, 1)])
@pytest.mark.parametrize("interleaved", [False, True])
def test_events_are_folded_once(writers: int, bound: int, interleaved: bool) -> None:
    """However many deliver into one session, no more events are read back than were written, and by one alone none."""
    store, rounds, each = Reading(), 40, 5
    keepers = [HeadKeeper(store, at_once) for _ in range(writers)]
    for number in range(rounds):
        for place, keeper in enumerate(keepers):
            first = (number * writers + place) * each
            for batch in (events(each, first=first)[:2], events(each, first=first)[2:]):
                keeper.note(batch, store.append(batch))
            if not interleaved:
                keeper.write()
        for keeper in keepers:
            keeper.write()
    written = rounds * writers * each
    assert store.head("s1").events == written
    assert store.given <= bound * written


@pytest.mark.parametrize("turns", [10, 40])
def test_a_process_for_each_turn_reads_what_is_new(turns: int) -> None:
    """A chat whose every turn is a process of its own costs each the reading of nothing that a head has."""
    store = Reading()
    for turn in range(turns):
        keeper = HeadKeeper(store, at_once)
        batch = events(20, first=turn * 20)
        keeper.note(batch, store.append(batch))
        keeper.write()
    assert store.head("s1").events == turns * 20
    assert store.given <= turns * 20
