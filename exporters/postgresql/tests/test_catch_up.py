"""Followers miss no late commit, whoever holds a transaction open; and a restored journal is noticed."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from exporters.postgresql.tests.others import appending, outside
from otel_agent_journal.errors import StoreError, StoreUnusable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import an_event, events
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_postgresql import PostgreSQLStore, arrivals, open_store, statements
from otel_agent_journal_postgresql.cursor import cursor_of, durable, place_of, xmax_of

pytestmark = pytest.mark.real
ROUNDS = 200 if os.environ.get("AGENT_JOURNAL_SOAK") else 25


def test_late_commit(store: PostgreSQLStore, url: str) -> None:
    """What was appended first and committed last is followed last, and not missed."""
    store.append(events(2))
    _, before = everything(store)
    with appending(url, events(2, session_id="late")) as late:
        store.append([an_event(20)])
        found, cursor = everything(store, before)
        assert found == [an_event(20)]
        assert everything(store, cursor)[0] == []
        late.commit()
        assert everything(store, cursor)[0] == events(2, session_id="late")
        assert everything(store, before)[0] == [*events(2, session_id="late"), an_event(20)]


def test_late_commit_behind_a_tip(store: PostgreSQLStore, url: str) -> None:
    """What was under way at the tip and committed afterwards is what arrives after it."""
    with appending(url, events(1, session_id="late")) as late:
        tip = store.tip()
        store.append([an_event(20)])
        late.commit()
        assert everything(store, tip)[0] == [*events(1, session_id="late"), an_event(20)]


def test_two_late_commits(store: PostgreSQLStore, url: str) -> None:
    """Of two open transactions each is followed when it is committed, in whichever order."""
    one, two = events(1, session_id="one"), events(1, session_id="two")
    with appending(url, one) as first, appending(url, two) as second:
        cursor = store.tip()
        second.commit()
        found, cursor = everything(store, cursor)
        assert found == two
        store.append([an_event(3)])
        first.commit()
        assert everything(store, cursor)[0] == [*one, an_event(3)]


def test_aborted_append(store: PostgreSQLStore, url: str) -> None:
    """What was taken back never arrives, and what another writer appends in its place does."""
    with appending(url, [an_event(1)]) as late:
        cursor = store.tip()
        late.abort()
    store.append([an_event(1)])
    assert everything(store, cursor)[0] == [an_event(1)]


def test_late_commit_between_two_pages(store: PostgreSQLStore, url: str) -> None:
    """A reader on its way through pages gets what is committed meanwhile after it, once."""
    late_events = events(5, session_id="late")
    store.append(events(10))
    with appending(url, late_events) as late:
        store.append(events(10, first=20))
        page = store.follow(None, limit=3)
        late.commit()
        store.append(events(1, first=40))
        rest, _ = everything(store, page.cursor, limit=3)
    found = [*page.events, *rest]
    assert found[:20] == [*events(10), *events(10, first=20)]
    assert found[20:] == [*late_events, *events(1, first=40)]


def test_order_within_a_batch(store: PostgreSQLStore) -> None:
    """Events of one batch are followed in its order, of however many sessions they are."""
    made = [an_event(number, session_id=f"s{number * 7 % 300}") for number in range(600)]
    store.append(made)
    assert everything(store, limit=33)[0] == made


def test_others_transactions_delay_nobody(store: PostgreSQLStore, url: str) -> None:
    """A transaction that another program of the server holds open for hours delays no follower."""
    with outside(url) as other:
        other.execute("BEGIN")
        other.execute("SELECT pg_current_xact_id()")
        cursor = store.tip()
        for number in range(5):
            store.append([an_event(number)])
            found, cursor = everything(store, cursor)
            assert found == [an_event(number)]
        other.execute("ROLLBACK")


@pytest.mark.long_form
def test_many_late_commits(store: PostgreSQLStore, url: str) -> None:
    """Writers that commit, late or never, in any order: each committed event is followed once."""
    choose = random.Random(5)
    plans = [[(choose.random() < 0.2, choose.randrange(4)) for _ in range(ROUNDS)] for _ in range(6)]

    def write(number: int) -> list[JournalEvent]:
        kept: list[JournalEvent] = []
        with outside(url) as pausing:
            for turn, (aborts, pause) in enumerate(plans[number]):
                made = events(3, first=turn * 3, session_id=f"s{number}")
                with appending(url, made) as writer:
                    pausing.execute("SELECT pg_sleep(%s)", (pause * 0.002,))
                    writer.abort() if aborts else writer.commit()
                kept += [] if aborts else made
        return kept

    found: list[JournalEvent] = []
    cursor: str | None = None
    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, number) for number in range(6)]
        while True:
            last = all(writer.done() for writer in writers)
            more, cursor = everything(store, cursor, limit=7)
            found += more
            if last:
                break
    written = [event for writer in writers for event in writer.result()]
    assert len(found) == len(written)
    assert {event.key for event in found} == {event.key for event in written}


def test_restored_journal(store: PostgreSQLStore, url: str) -> None:
    """Events of another server's transactions are not passed over in silence: `init` adopts them, then all follow."""
    store.append(events(3))
    with outside(url) as operator:
        operator.execute("UPDATE events SET transaction = '999999999999'")
    restored = open_store(url)
    with pytest.raises(StoreUnusable, match=r"restored from another server.*store init"):
        restored.follow(None)
    restored.append(events(1, first=3))
    assert restored.init_plan() == ["adopt events that were restored from another server"]
    restored.init()
    assert restored.init_plan() == []
    assert ids(everything(restored)[0]) == ids(events(4))
    restored.close()


@pytest.mark.parametrize(
    "cursor",
    ["1", "2:1:", "0:1:", "1:1", "1:1:x", "1:1:,", "1:1:/1:1:", "1:1:/2:1:/1.1", "1:1:/1:1:/1", "9" * 20, "1.1"],
)
def test_malformed_cursor(store: PostgreSQLStore, cursor: str) -> None:
    """What is no cursor is refused before the server sees it."""
    assert cursor_of(cursor) is None
    with pytest.raises(StoreError, match="is not one of store"):
        store.follow(cursor)
    if place_of(cursor) is None:  # of one session
        with pytest.raises(StoreError, match="is not one of store"):
            store.follow(cursor, session_id="s1")


def test_cursor_of_another_server(store: PostgreSQLStore) -> None:
    """A cursor that is ahead of the server is another's, and is refused."""
    with pytest.raises(StoreError, match="of another server"):
        store.follow("900000000000:900000000000:")


@pytest.mark.parametrize(
    ("moment", "newest", "floor", "expected"),
    [
        ("7:7:", None, 1, "1:1:"),
        ("7:7:", "4", 1, "5:5:"),
        ("7:7:", "6", 1, "7:7:"),
        ("7:7:", "9", 1, "7:7:"),  # a replica's moment, before the oldest transaction that is open
        ("3:9:3,5,7,8", "6", 1, "3:7:3,5"),
        ("5:9:5,8", "3", 1, "4:4:"),
        ("5:9:5,8", "3", 7, "5:7:5"),  # the newest events were deleted
        ("5:9:5,8", None, 6, "5:6:5"),
    ],
)
def test_moments_end_behind_the_newest_event(moment: str, newest: str | None, floor: int, expected: str) -> None:
    """Of a moment only what the server cannot forget is kept, and no less than was kept before."""
    assert durable(moment, newest, floor) == expected


def test_others_transactions_are_in_no_cursor(store: PostgreSQLStore, url: str) -> None:
    """What others took back, which a server that crashes may forget, moves no cursor."""
    store.append(events(2))
    tip, page = store.tip(), store.follow(None)
    with outside(url) as other:
        for _ in range(20):
            other.execute("BEGIN")
            other.execute("SELECT pg_current_xact_id()")
            other.execute("ROLLBACK")
    store.append(events(2))  # they are there already
    cursors = [tip, page.cursor, store.tip(), store.follow(page.cursor).cursor]
    assert len({xmax_of(cursor) for cursor in cursors}) == 1


def test_pruned_behind_a_cursor(store: PostgreSQLStore, url: str) -> None:
    """Where the newest events are deleted a cursor stays where it is, and what comes then is followed."""
    store.append(events(2))
    store.append(events(2, session_id="s2"))
    cursor = store.tip()
    with outside(url) as operator, appending(url, events(1, session_id="s3")) as late:
        operator.execute("DELETE FROM events WHERE session_id = 's2'")
        assert xmax_of(store.follow(cursor).cursor) == xmax_of(cursor)
        operator.execute("DELETE FROM events")
        found, cursor = everything(store, cursor)
        store.append(events(1, session_id="s4"))
        late.commit()
        found += everything(store, cursor)[0]
    assert {event.key for event in found} == {
        event.key for event in events(1, session_id="s3") + events(1, session_id="s4")
    }


def test_a_look_costs_the_same_however_much_there_is(store: PostgreSQLStore, url: str) -> None:
    """A follower that has all reads some pages of the database, not those of what it has had."""
    for first in range(0, 30_000, 1_000):
        store.append(events(1_000, first=first))
    cursor, place = cursor_of(store.tip()), place_of(store.tip("s1"))
    assert cursor is not None
    assert place is not None
    session = {"session": "s1", "limit": 1_000, **place._asdict()}
    moment = {"start": cursor.start, "until": cursor.start, "transaction": "0", "arrival": 0}
    follow = statements.follow(until=False, open_before=bool(cursor.open))
    with outside(url) as operator:
        operator.execute("ANALYZE events, arrivals")
        for statement, parameters in (
            (follow, arrivals._parameters(cursor, 1_000)),
            (statements.FOLLOW_SESSION, session),
            (statements.PLACE_IN_SESSION, {**session, **moment}),
        ):
            row = operator.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters).fetchone()
            assert row is not None
            plan = row[0][0]["Plan"]
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50


def test_nothing_wanted(store: PostgreSQLStore) -> None:
    """A page of no events stands where it stood."""
    store.append(events(3))
    tip = store.tip()
    assert store.follow(tip, limit=0).cursor == tip
    assert ids(everything(store, store.follow(None, limit=0).cursor)[0]) == ids(events(3))
