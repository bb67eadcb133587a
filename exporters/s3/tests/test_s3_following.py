"""Following over time: announcements that are renewed and run out, sessions that rest, prunes, and bounded cursors."""

from __future__ import annotations

import os
import time
from threading import Thread
from typing import Any

import pytest

from exporters.s3.tests.wire import Send, Wire, name_of
from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.rules import prune
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_s3.lease import Lease
from otel_agent_journal_s3.place import place_of
from otel_agent_journal_s3.store import S3Store

LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
SHORT_S = 4.0  # instead of ten minutes; the server's times are whole seconds


@pytest.fixture
def brief(url: str) -> S3Store:
    """A store whose announcements hold for seconds alone."""
    return S3Store(place_of(url), lease=Lease(SHORT_S))


@pytest.fixture
def wire_of_brief(brief: S3Store) -> Wire:
    """What goes over its wire."""
    return Wire(brief)


def rest() -> None:
    """Let every announcement run out."""
    time.sleep(SHORT_S + 2.1)


@pytest.mark.long_form
def test_session_that_rested(brief: S3Store, url: str) -> None:
    """What is appended to a session that rested is followed once, by old cursors and from the beginning alike."""
    brief.append(events(3))
    _, before = everything(brief)
    rest()
    found, after = everything(brief, before)
    assert found == []
    assert ";" not in after, "a session that rests is in no cursor"
    brief.append(events(2, first=3))
    other = S3Store(place_of(url), lease=Lease(SHORT_S))
    other.append(events(2, first=5))
    for cursor in (before, after):
        assert ids(everything(brief, cursor)[0]) == ids(events(4, first=3))
    assert ids(everything(other)[0]) == ids(events(7))
    assert ids(everything(other, limit=2)[0]) == ids(events(7))
    if LONG:
        rest()
    assert ids(everything(other)[0]) == ids(events(7))
    assert ids(everything(other, after)[0]) == ids(events(4, first=3))


@pytest.mark.soak
def test_follower_beside_writer(brief: S3Store) -> None:
    """A session that is written for longer than an announcement holds is followed without a gap or repetition."""
    cursor: str | None = None
    found: list[JournalEvent] = []
    until, number = time.monotonic() + SHORT_S * 2, 0
    while time.monotonic() < until:
        brief.append([an_event(number)])
        number += 1
        more, cursor = everything(brief, cursor)
        found += more
        time.sleep(0.1)
    assert ids(found) == ids(events(number))
    assert ids(everything(brief)[0]) == ids(found)
    assert brief._announcements.end() >= 3, "announcements were renewed"


@pytest.mark.soak
def test_writer_that_stood_still(brief: S3Store, wire_of_brief: Wire) -> None:
    """A segment that was held up on its way until followers left its session is announced once more, and followed."""

    def fault(request: Any, send: Send) -> Any:
        if request.method == "PUT" and "/segments/" in name_of(request):
            wire_of_brief.fault = None
            rest()
        return send(request)

    brief.append(events(1))
    _, cursor = everything(brief)
    wire_of_brief.fault = fault
    writer = Thread(target=brief.append, args=(events(2),))
    writer.start()
    while writer.is_alive():
        found, cursor = everything(brief, cursor)
        if found:
            break
        time.sleep(0.2)
    writer.join(30)
    found += everything(brief, cursor)[0]
    assert ids(found) == ids(events(1, first=1))
    assert ids(everything(brief)[0]) == ids(events(2))


def test_tip_while_sessions_are_written(store: JournalStore) -> None:
    """The tip holds a place in each session that is being written, and none in the others."""
    store.append([an_event(number, session_id=f"s{number % 4}") for number in range(20)])
    tip = store.tip()
    assert store.follow(tip).events == ()
    store.append([an_event(30, session_id="s2"), an_event(31, session_id="new")])
    assert sorted(event.session_id for event in everything(store, tip)[0]) == ["new", "s2"]
    assert [event.session_id for event in everything(store, tip, session_id="s2")[0]] == ["s2"]
    assert [event.session_id for event in everything(store, tip, session_id="new")[0]] == ["new"]
    assert everything(store, tip, session_id="s1")[0] == []


@pytest.mark.soak
def test_one_session_from_a_tip_before_it(brief: S3Store) -> None:
    """From a tip at which a session rested, its own followers see what comes later alone."""
    brief.append(events(3))
    rest()
    tip = brief.tip()
    assert ";" not in tip
    assert everything(brief, tip, session_id="s1")[0] == []
    _, waiting = everything(brief, tip, session_id="s1")
    brief.append(events(2, first=3))
    assert ids(everything(brief, tip, session_id="s1")[0]) == ids(events(2, first=3))
    assert ids(everything(brief, waiting, session_id="s1")[0]) == ids(events(2, first=3))


def test_events_that_come_while_one_looks(store: S3Store, url: str, wire: Wire) -> None:
    """Segments that come between a look for the next one and a look behind it are followed, all of them."""
    store.append(events(1))
    cursor = store.tip("s1")
    other = S3Store(place_of(url))

    def come_between(request: Any, send: Send) -> Any:
        answer = send(request)
        if request.method == "GET" and name_of(request).endswith("1.jsonl"):
            wire.fault = None
            other.append(events(1, first=1))
            other.append(events(1, first=2))
        return answer

    wire.fault = come_between
    assert ids(everything(store, cursor, session_id="s1")[0]) == ids(events(2, first=1))


def test_pruned_within_a_segment(store: S3Store, url: str) -> None:
    """A follower that stands within a segment gives no more of it once its session was pruned."""
    store.append(events(5))
    page = store.follow(None, session_id="s1", limit=2)
    assert S3Store(place_of(url)).delete_session("s1", store.tip("s1"), 0)
    assert store.follow(page.cursor, session_id="s1").events == ()
    assert store.follow(None, session_id="s1").events == ()


def test_begun_again_after_a_prune(store: S3Store) -> None:
    """Cursors from before a prune follow a session that begins again, and repeat nothing."""
    store.append(events(3))
    store.append(events(3, first=3))
    store.append_context("i1", 0, context_events(2))
    store.write_head(a_head(status="COMPLETED", updated_ns=EPOCH_2026_NS + 10**9))
    _, over_all = everything(store)
    _, over_one = everything(store, session_id="s1")
    early = store.follow(None, session_id="s1", limit=3).cursor
    assert prune(store, EPOCH_2026_NS + 2 * 10**9) == 1
    again = events(2, first=50)
    store.append(again)
    for cursor, session_id in ((over_all, None), (over_one, "s1"), (early, "s1"), (None, None), (None, "s1")):
        assert ids(everything(store, cursor, session_id=session_id)[0]) == ids(again)
    store.append_context("i1", 0, context_events(1))
    assert list(store.read_context("i1")) == context_events(1)


def test_cursors_of_others(store: S3Store) -> None:
    """A cursor of one session is not one of another, nor of all."""
    store.append(events(2))
    cursor = store.follow(None, session_id="s1").cursor
    with pytest.raises(StoreError, match="one session"):
        store.follow(cursor)
    with pytest.raises(StoreError):
        store.follow(cursor, session_id="s2")
    for made_up in (
        "a7",
        "a1;0.0.0",
        "a1;0.9.0.0.0",
        "a1;5.0.0.0.",
        "a1;0.0.0.0.x",
        "ax",
        "s1",
        "s1.x.s1",
        "a1;;",
        "a\u00b2",
    ):
        with pytest.raises(StoreError):
            store.follow(made_up)


def test_polling_is_cheap(store: S3Store, url: str, wire: Wire) -> None:
    """A look where nothing is new costs a GET for the log, and one for each of few sessions that are at work."""
    many = [f"s{number}" for number in range(40)]
    for session_id in many:
        store.append([an_event(0, session_id=session_id)])
    _, cursor = everything(store)
    for after in (cursor, store.tip(), S3Store(place_of(url)).tip()):
        wire.requests.clear()
        assert store.follow(after).events == ()
        assert wire.requests == {"GET": 1}
    store.append([an_event(1, session_id=session_id) for session_id in many])
    _, cursor = everything(store, cursor)
    for after in (cursor, store.tip(), S3Store(place_of(url)).tip()):
        wire.requests.clear()
        assert store.follow(after).events == ()
        assert wire.requests == {"GET": 1 + 6}
        assert len(everything(store, after)[0]) == 0


def test_following_is_linear(store: S3Store, url: str, wire: Wire) -> None:
    """Following many sessions costs a GET for each segment and each entry of the log, whoever wrote them."""
    others = [S3Store(place_of(url)) for _ in range(3)]
    for number in range(60):
        others[number % 3].append(events(10, session_id=f"s{number}"))
    wire.requests.clear()
    found, _ = everything(store, limit=50)
    assert len(found) == 600
    pages = 600 // 50 + 1
    assert wire.requests["LIST"] == 0
    assert wire.requests["GET"] <= 2 * 60 + pages + 1  # the layout


def test_session_that_rests(store: S3Store, url: str, wire: Wire) -> None:
    """A session at which nobody looks is followed at once when anybody writes it: also who knew less of it."""
    other = S3Store(place_of(url))
    other.append(events(1))
    other.append(events(1, first=1))  # it stays announced there
    store.append(events(1, first=2))  # it rests
    _, cursor = everything(store)
    wire.requests.clear()
    assert store.follow(cursor).events == ()
    assert wire.requests == {"GET": 1}
    other.append(events(1, first=3))
    late = store.follow(cursor)
    assert ids(late.events) == ids(events(1, first=3))
    other.append(events(1, first=4))
    assert ids(store.follow(late.cursor).events) == ids(events(1, first=4))
    assert ids(everything(store)[0]) == ids(events(5))


def test_settled_session_is_not_looked_at(store: S3Store, wire: Wire) -> None:
    """A session at work is looked at until it has ended: its settling says so."""
    for number in range(3):
        store.append(events(1, first=number))
    _, cursor = everything(store)
    wire.requests.clear()
    cursor = store.follow(cursor).cursor
    assert wire.requests == {"GET": 2}
    store.write_head(a_head(status="COMPLETED", open_writers=(), writers={}, cursor=store.tip("s1")))
    cursor = store.follow(cursor).cursor
    wire.requests.clear()
    assert store.follow(cursor).events == ()
    assert wire.requests == {"GET": 1}
    store.append(events(1, first=3))
    assert ids(store.follow(cursor).events) == ids(events(1, first=3))
