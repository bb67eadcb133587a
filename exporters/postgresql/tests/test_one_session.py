"""Writers of one session take turns, so that what a reader of it has seen, and what its head knows, is one number."""

from __future__ import annotations

import random
import time
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import pytest

from exporters.postgresql.tests.others import appending, outside
from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.store.protocol import Arrived
from otel_agent_journal.store.rules import current, current_sessions, prune
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.contract_settling import LATER_NS, settled, told
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from otel_agent_journal_postgresql.appending import Batch
from otel_agent_journal_postgresql.cursor import place_of
from otel_agent_journal_postgresql.statements import APPEND

pytestmark = pytest.mark.real
WRITERS = 6


def _waits(done: Future[object]) -> bool:
    time.sleep(0.3)
    return not done.done()


def test_writers_take_turns(store: PostgreSQLStore, url: str) -> None:
    """A second writer of a session waits for the first one's commit and comes behind it; others wait for nobody."""
    with appending(url, events(2)) as slow, ThreadPoolExecutor(2) as pool:
        second = pool.submit(store.append, events(2, first=2))
        third = pool.submit(store.append_context, "i1", 0, context_events(1))
        store.append(events(1, session_id="s2"))
        assert _waits(second)
        assert _waits(third)
        assert store.tip("s1") is None
        slow.commit()
        third.result(20)
        arrived = second.result(20)["s1"]
    found, cursor = everything(store, session_id="s1")
    assert found[:2] == events(2)
    assert arrived.after is not None
    assert list(store.follow(arrived.after, session_id="s1", limit=2).events) == events(2, first=2)
    assert store.tip("s1") == cursor


def test_a_first_writer_that_takes_it_back(store: PostgreSQLStore, url: str) -> None:
    """Who waited for a writer whose append came to nothing begins the session."""
    with appending(url, events(2)) as slow, ThreadPoolExecutor(1) as pool:
        second = pool.submit(store.append, events(2))
        assert _waits(second)
        slow.abort()
        assert second.result(20)["s1"].after is None


def test_a_writer_that_stands_still(store: PostgreSQLStore, url: str) -> None:
    """While a transaction holds a session, whoever appends to it is told to retry in time; other sessions go on."""
    hasty = open_store(url + "&timeout=0.3")
    with appending(url, events(1)) as still:
        with pytest.raises(StoreUnreachable, match=r"did not answer in time; retry"):
            hasty.append(events(2, first=1))
        with pytest.raises(StoreUnreachable, match=r"did not answer in time; retry"):
            hasty.append_context("i1", 0, context_events(1))
        hasty.append(events(1, session_id="s2"))
        still.commit()
    hasty.append(events(2, first=1))
    hasty.append_context("i1", 0, context_events(1))
    assert everything(hasty, session_id="s1")[0] == [*events(3), *context_events(1)]
    hasty.close()


def test_many_writers_and_readers(store: PostgreSQLStore, url: str) -> None:
    """Writers of the same sessions in any order, some of which repeat, do not get stuck; each reader has all, once."""
    names = [f"s{number}" for number in range(8)]

    def write(number: int) -> None:
        choose = random.Random(number)
        client = open_store(url)
        for turn in range(15):
            own = [
                an_event(turn, session_id=name, event_id=f"{number}-{turn}-{place}")
                for place, name in enumerate(choose.sample(names, 5) * 2)
            ]
            client.append(own)
            if choose.random() < 0.3:
                client.append([*own, an_event(turn, session_id=names[0], event_id=f"{number}-{turn}-more")])
        client.close()

    found: dict[str, list[tuple[str, int, str]]] = {name: [] for name in names}
    cursors: dict[str, str | None] = dict.fromkeys(names)
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        last = False
        while not last:
            last = all(writer.done() for writer in writers)
            for name in names:
                more, cursors[name] = everything(store, cursors[name], session_id=name, limit=7)
                found[name] += [event.key for event in more]
        for writer in writers:
            writer.result()
    for name in names:
        assert sorted(found[name]) == sorted(event.key for event in store.read(name))
        assert store.tip(name) == cursors[name]
    with outside(url) as operator:
        (twice,) = operator.execute(
            "SELECT count(*) FROM (SELECT FROM events GROUP BY session_id, number HAVING count(*) > 1) AS found"
        ).fetchone()
    assert twice == 0


def test_cursors_of_all(store: PostgreSQLStore, url: str) -> None:
    """A cursor of all goes on in one session with what it has not given of that, wherever it stands."""
    names = ["s1", "s2", "late"]
    store.append([an_event(number, session_id=names[number % 2]) for number in range(10)])
    cursors: list[tuple[str | None, set[tuple[str, int, str]]]] = [(None, set())]

    def look(limit: int) -> None:
        cursor, had = cursors[-1]
        page = store.follow(cursor, limit=limit)
        cursors.append((page.cursor, had | {event.key for event in page.events}))

    with appending(url, events(4, session_id="late")) as late:
        look(3)
        look(3)
        store.append(events(5, first=20))
        look(100)
        store.append(events(5, first=40, session_id="s2"))
        late.commit()
        for _ in range(4):
            look(3)
    store.append([an_event(60, session_id=name) for name in names])
    for cursor, had in cursors:
        for name in names:
            found, end = everything(store, cursor, session_id=name, limit=2)
            assert [event.key for event in found if event.key in had] == []
            assert {event.key for event in found} | had >= {event.key for event in store.read(name)}
            assert end == store.tip(name)
    tip = store.tip()
    assert store.follow(tip, session_id="s1").cursor == tip
    assert store.follow(tip, session_id="nobody").cursor == tip


def test_repetition_takes_no_numbers(store: PostgreSQLStore) -> None:
    """A batch that was there, in whole or in part, moves a session no further than its events, and unsettles none."""
    store.append([*told(), *told("s2")])
    first = settled(store)
    settled(store, "s2")
    assert store.append([*told(), *told("s2")]) == {}
    assert list(store.unsettled()) == []
    assert store.tip("s1") == first.cursor
    more = told(step="again", at_ns=50)
    arrived = store.append([*told("s2"), *more])
    assert arrived == {"s1": Arrived(first.cursor, str(store.tip("s1")))}
    assert store.append([*more, *more]) == {}
    assert list(store.unsettled()) == ["s1"]
    twice = told(step="twice", at_ns=70)
    assert store.append([*twice, *twice]) == {}
    assert settled(store).events == 6
    assert list(store.unsettled()) == []


def test_numbers_taken_for_nothing(store: PostgreSQLStore, url: str) -> None:
    """A writer that ended before it gave numbers back leaves a session that is read, deleted and settled as any."""
    store.append([*told(), *told("s2")])
    head, other = settled(store), settled(store, "s2")
    with outside(url) as killed:
        killed.execute(APPEND, Batch([*told(), *told("s2")]).parameters)
    assert sorted(store.unsettled()) == ["s1", "s2"]
    assert current(store, "s1") == head
    assert store.tip("s1") == store.follow(head.cursor, session_id="s1").cursor == head.cursor
    assert store.delete_session("s2", other.cursor, other.version)
    store.append(told())  # by whoever has the killed one's spool
    assert list(store.unsettled()) == []
    with outside(url) as killed:
        killed.execute(APPEND, Batch(told()).parameters)
    more = told(step="again", at_ns=50)
    store.append(more)
    assert everything(store, head.cursor, session_id="s1")[0] == more
    settled(store)
    assert list(store.unsettled()) == []


def test_head_beside_an_append(store: PostgreSQLStore, url: str) -> None:
    """A head that is written while an append is under way settles nothing that it does not know."""
    store.append(told())
    head = current(store, "s1")
    assert head is not None
    with appending(url, told(step="again", at_ns=50)) as slow, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.write_head, head)
        assert _waits(writing)
        assert store.head("s1") is None
        slow.commit()
        assert writing.result(20) is not None
    assert list(store.unsettled()) == ["s1"]
    assert settled(store).events == 4
    assert list(store.unsettled()) == []


def test_head_that_comes_second(store: PostgreSQLStore, url: str) -> None:
    """Of two writers of a head only the first says what of its session is known."""
    store.append(told())
    settled(store)
    store.append(told(step="again", at_ns=50))
    head = current(store, "s1")
    assert head is not None
    with outside(url) as first, ThreadPoolExecutor(1) as pool:
        first.execute("BEGIN; UPDATE sessions SET version = version + 1")
        second = pool.submit(store.write_head, head)
        assert _waits(second)
        first.execute("COMMIT")
        assert second.result(20) is None
    assert list(store.unsettled()) == ["s1"]


def test_head_of_another_session_of_that_id(store: PostgreSQLStore) -> None:
    """A cursor from before a session was deleted is in front of all that the session of that id has now."""
    store.append(events(5))
    _, cursor = everything(store, session_id="s1")
    assert store.delete_session("s1", cursor, 0)
    assert store.follow(cursor, session_id="s1").cursor == cursor
    arrived = store.append(events(2))
    assert arrived["s1"].after is None
    assert everything(store, cursor, session_id="s1")[0] == events(2)
    assert store.write_head(a_head(cursor=cursor)) is not None
    assert list(store.unsettled()) == ["s1"]
    assert not store.delete_session("s1", cursor, 1)
    assert everything(store, cursor, session_id="s1")[0] == events(2)


def test_deleted_under_a_writer(store: PostgreSQLStore, url: str) -> None:
    """Who appends to a session while it is deleted, or deletes it while something is appended, leaves it whole."""
    store.append(events(3))
    tip = store.tip("s1")
    with appending(url, events(1, first=3)) as slow, ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(store.delete_session, "s1", tip, 0)
        assert _waits(deleting)
        slow.commit()
        assert deleting.result(20) is False
    assert everything(store, session_id="s1")[0] == events(4)
    tip = store.tip("s1")
    with outside(url) as operator, ThreadPoolExecutor(1) as pool:
        operator.execute("BEGIN; SELECT FROM arrivals WHERE session_id = 's1' FOR UPDATE")
        appended = pool.submit(store.append, events(2, first=4))
        assert _waits(appended)
        operator.execute("DELETE FROM events; DELETE FROM arrivals; COMMIT")
        assert appended.result(20)["s1"].after is None
    assert everything(store, tip, session_id="s1")[0] == events(2, first=4)
    assert list(store.unsettled()) == ["s1"]


def test_cursor_ahead(store: PostgreSQLStore) -> None:
    """A cursor beyond a session's last event is of before transactions were lost, and is refused."""
    store.append(events(3))
    place = place_of(store.tip("s1"))
    assert place is not None
    with pytest.raises(StoreError, match=r"is ahead of the server.* start at None"):
        store.follow(str(place._replace(number=4)), session_id="s1")


def test_prune_of_strange_ids(store: PostgreSQLStore) -> None:
    """Sessions of strange ids are found unsettled by these, listed and pruned, and what goes on stays."""
    names = ["nul\0", "x" * 2_000, "~", "", "s\ud800", "plain"]
    found = sorted([*names[:4], "s\\ud800", "plain"])
    for name in names:
        store.append(told(name))
    for reads in (store.unsettled, store.session_ids):
        assert sorted(reads()) == found
    assert sorted(head.session_id for head in current_sessions(store)) == found
    head = settled(store, "nul\0")
    assert store.head("nul\0") == head
    assert (head.cursor, len(head.snapshot) > 0) == (store.tip("nul\0"), True)
    assert list(store.sessions()) == [msgspec.structs.replace(head, snapshot=b"")]
    store.append(told("~", step="again", at_ns=2 * 10**15))
    assert prune(store, LATER_NS) == len(names) - 1
    assert list(store.session_ids()) == ["~"]
