"""Sessions that are unsettled: none is left out, however an append and a settling meet, and none stays for ever."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from exporters.s3.tests.wire import Send, Wire, answer, name_of
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.store.rules import current, current_sessions, prune
from otel_agent_journal.testing.builders import a_head, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_settling import settled, told
from otel_agent_journal_s3 import S3Store, known, open_store
from tests.real.children import wait_status


@pytest.fixture
def other(url: str) -> S3Store:
    """Another client of the same store."""
    return open_store(url)


def markers(store: S3Store, key: str = "s1") -> int:
    return len(store._settling.markers(key))


def test_what_it_costs(store: S3Store, wire: Wire) -> None:
    """A marker costs a PUT a session, its settling a LIST, a PUT and a DELETE; between them a flush is one PUT."""
    wire.requests.clear()
    store.append(told(step="a"))
    assert wire.requests == {"GET": 1, "LIST": 2, "PUT": 3}  # the layout; known, the log's end; log, marker, segment
    assert [name.split("/")[2] for name in wire.puts] == ["log", "unsettled", "journals"]
    wire.requests.clear()
    store.append(told(step="b", at_ns=50))
    assert wire.requests == {"PUT": 2}, "it is announced once more, and stays so"
    wire.requests.clear()
    store.append(told(step="d", at_ns=60))
    assert wire.requests == {"PUT": 1}
    head = current(store, "s1")
    assert head is not None
    wire.requests.clear()
    written = store.write_head(msgspec.structs.replace(head, status="PROCESSING", open_writers=("w1",)))
    assert wire.requests == {"PUT": 2}, "the head and its place"
    assert written is not None
    wire.requests.clear()
    store.write_head(msgspec.structs.replace(head, version=1))
    # The place, the head, and that the place is sure; the place before; the markers and their mark; the journal, the
    # segments that it takes, and that there is none yet.
    assert wire.requests == {"PUT": 5, "POST": 2, "LIST": 2, "GET": 5}
    assert list(store.unsettled()) == []
    wire.requests.clear()
    store.append(told(step="c", at_ns=100))
    assert wire.requests == {"PUT": 3}, "announced, marked, written"
    assert list(store.unsettled()) == ["s1"]


def test_head_again(store: S3Store, wire: Wire) -> None:
    """A head that is written again for a settled session puts no second mark."""
    store.append(told())
    settled(store)
    wire.puts.clear()
    settled(store)
    assert [name for name in wire.puts if "/segments/" in name or "/unsettled/" in name] == []


def test_append_that_meets_a_settling(store: S3Store, other: S3Store) -> None:
    """Who put its marker before a settling, and its events after it, puts another before them."""
    store.append(told())
    head = current(store, "s1")
    assert head is not None
    put_new, settled_heads = other._bucket.put_new, list[Any]()

    def held_up(name: str, data: bytes, metadata: Any = None) -> Any:
        if "/segments/" in name and not settled_heads:
            assert markers(store) == 2
            settled_heads.append(store.write_head(head))
            assert markers(store) == 0
        return put_new(name, data, metadata)

    other._bucket.put_new = held_up
    other.append(told(step="again", at_ns=50))
    assert len(settled_heads) == 1
    assert list(store.unsettled()) == ["s1"]
    assert [one.events for one in current_sessions(store)] == [4]


def test_settling_that_meets_an_append(store: S3Store, other: S3Store, wire: Wire) -> None:
    """Where an event comes right before the mark, all markers stay."""
    store.append(told())
    head = current(store, "s1")

    def come_first(request: Any, send: Send) -> Any:
        if request.method == "PUT" and "/segments/" in name_of(request):
            wire.fault = None
            other.append(told(step="again", at_ns=50))
        return send(request)

    wire.fault = come_first
    assert head is not None
    assert store.write_head(head) is not None
    assert markers(store) == 2


def test_writers_that_are_gone(store: S3Store, url: str) -> None:
    """What others have left is taken off by who writes the head of an ended session, at once: no clock is asked."""
    for number in range(3):
        gone = open_store(url)
        gone.append(told(step=f"r{number}", at_ns=number * 100)[: 1 + number % 2])
        gone.close()
    assert markers(store) == 3
    store.append(told(step="r0")[1:] + told(step="r2", at_ns=200)[1:])
    settled(store)
    assert markers(store) == 0
    assert list(store.unsettled()) == []


@pytest.mark.parametrize("method", ["LIST", "POST", "PUT"])
def test_settling_that_fails(store: S3Store, wire: Wire, method: str) -> None:
    """A settling that fails anywhere leaves the session unsettled, the head written; the next one makes up for it."""
    store.append(told())
    head = current(store, "s1")

    def fail(request: Any, send: Send) -> Any:
        name = name_of(request) + request.url
        meant = {"LIST": "unsettled", "PUT": "/segments/", "POST": "delete"}[method]
        if request.method == method.replace("LIST", "GET") and meant in name:
            return answer(request, 403, "AccessDenied")
        return send(request)

    wire.fault = fail
    assert head is not None
    assert store.write_head(head) is not None
    wire.fault = None
    assert list(store.unsettled()) == ["s1"]
    for _ in range(2):
        settled(store)
        assert list(store.unsettled()) == []
    store.append(told(step="again", at_ns=50))
    assert list(store.unsettled()) == ["s1"]


@pytest.mark.parametrize("part", ["/unsettled/", "/segments/"])
def test_answers_that_are_lost(store: S3Store, wire: Wire, part: str) -> None:
    """An append that was applied without an answer is unsettled; a mark that was is found to be one's own."""
    store.append(told())
    settled(store)
    store._bucket.place = msgspec.structs.replace(store._bucket.place, timeout_s=0.0)

    def lost(request: Any, send: Send) -> Any:
        if request.method == "PUT" and part in name_of(request):
            wire.fault = None
            send(request)
            raise ReadTimeoutError(endpoint_url=request.url)
        return send(request)

    wire.fault = lost
    with pytest.raises(StoreUnreachable):
        store.append(told(step="again", at_ns=50))
    assert list(store.unsettled()) == ["s1"]
    settled(store)
    store.append(told(step="again", at_ns=50))
    store._bucket.place = msgspec.structs.replace(store._bucket.place, timeout_s=10.0)
    wire.fault = lost
    settled(store)
    assert list(store.unsettled()) == []
    head = store.head("s1")
    assert head is not None
    assert head.events == 4


def test_head_that_knows_less(store: S3Store) -> None:
    """A head that knows less than the one before, or does not say what it knows, unsettles its session."""
    store.append(told())
    first = settled(store)
    store.append(told(step="again", at_ns=50))
    second = settled(store)
    assert list(store.unsettled()) == []
    store.write_head(msgspec.structs.replace(first, version=second.version))
    assert list(store.unsettled()) == ["s1"]
    third = settled(store)
    store.write_head(msgspec.structs.replace(third, cursor=None, snapshot=b""))
    assert list(store.unsettled()) == ["s1"]


def test_forgotten_by_its_writer(store: S3Store, other: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has forgotten a session marks it anew: its marker may be gone since, and the mark with it passed over."""
    monkeypatch.setattr(known, "MAX_KEYS", 1)
    monkeypatch.setattr(known, "_GROWS", 1)
    store.append(told())
    store.append(told("s2"))
    settled(other)
    store.append(told(step="again", at_ns=50))
    assert sorted(store.unsettled()) == ["s1", "s2"]


def test_marker_is_not_inherited(store: S3Store) -> None:
    """A forked child marks a session itself, though its parent has: either may be settled by itself."""
    store.append(told())
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        status = 1
        try:
            store.append(told(step="child", at_ns=50))
            status = 0
        finally:
            os._exit(status)
    assert wait_status(child) == 0
    assert markers(store) == 2
    settled(store)
    assert list(store.unsettled()) == []
    store.append(told(step="parent", at_ns=100))
    assert markers(store) == 1
    assert [head.events for head in current_sessions(store)] == [6]


def test_marks_between_segments(store: S3Store, other: S3Store) -> None:
    """Marks have no events: they are read, compacted, followed, counted and tipped over as if they were not there."""
    made = [told(step=f"r{number}", at_ns=number * 100) for number in range(4)]
    everything_made = [event for batch in made for event in batch]
    cursors: list[str | None] = []
    for number, batch in enumerate(made):
        client = (store, other)[number % 2]
        cursors.append(client.tip("s1"))
        arrived = client.append(batch).get("s1")
        if arrived is not None:
            assert (arrived.after, arrived.cursor) == (cursors[-1], client.tip("s1"))
        settled(client)
    numbers = [item.size_bytes for item in store._bucket.list(store._layout.segments("s1")) if item.size_bytes == 1]
    assert len(numbers) == 4
    for number, cursor in enumerate(cursors):
        page = store.follow(cursor, session_id="s1")
        assert list(page.events) == [event for batch in made[number:] for event in batch]
        assert page.cursor == store.tip("s1")
    assert list(other.read("s1")) == everything_made
    store.compact()
    assert store.compact() == 0
    assert list(open_store(store.url).read("s1")) == everything_made


def test_listing_has_no_snapshots(store: S3Store, wire: Wire) -> None:
    """A listing fetches heads without their snapshots, and whole where a head itself is long."""
    snapshot = bytes(range(256)) * 300
    many = {f"w{number:030}": number for number in range(450)}
    store.write_head(a_head("s1", snapshot=snapshot))
    store.write_head(a_head("s2", snapshot=snapshot, writers=many, open_writers=tuple(many)))
    sizes: list[int] = []

    def weigh(request: Any, send: Send) -> Any:
        got = send(request)
        if "head.json" in name_of(request):
            sizes.append(int(got.headers["content-length"]))
        return got

    wire.fault = weigh
    listed = {head.session_id: head for head in store.sessions()}
    assert [head.snapshot for head in listed.values()] == [b"", b""]
    assert len(listed["s2"].writers) == 450
    assert sum(size > 20_000 for size in sizes) == 1
    assert store.head("s1") == msgspec.structs.replace(listed["s1"], snapshot=snapshot)


def test_context_that_another_went_on_with_meanwhile(store: S3Store, other: S3Store) -> None:
    """What is learned while a session is announced again is judged before anything is written."""
    store.append_context("i1", 0, context_events(2))
    for one in store._segments._sessions._known.values():
        one.probed -= 3600
    ours = store._announcements._ours
    ours["s1"] = ours["s1"]._replace(began_s=ours["s1"].began_s - 3600, at_s=ours["s1"].at_s - 3600)
    other.append_context("i1", 2, context_events(1, first=2))
    store.append_context("i1", 2, context_events(1, first=2))
    assert len(list(store.follow(None, session_id="s1").events)) == 3


@pytest.mark.long_form
def test_three_in_ten(url: str) -> None:
    """Writers that append, settle and prune through a wire that fails three in ten: every event is found in the end."""
    writers, rounds = (8, 40) if os.environ.get("AGENT_JOURNAL_SOAK") else (4, 8)
    chance, lock = random.Random(11), threading.Lock()

    def fault(request: Any, send: Send) -> Any:
        with lock:
            drawn = chance.random()
        if drawn < 0.1:
            return answer(request, 503, "SlowDown")
        if drawn < 0.3:
            if drawn > 0.2:
                send(request)
            raise ReadTimeoutError(endpoint_url=request.url)
        return send(request)

    def work(number: int) -> None:
        store = open_store(url)
        Wire(store).fault = fault
        for step in range(rounds):
            at_ns = 10**15 + (step * writers + number) * 100
            _insist(lambda step=step, at_ns=at_ns: store.append(told(step=f"{number}.{step}", at_ns=at_ns)))
            if step % 3 == number % 3:
                head = _insist(lambda: current(store, "s1"))
                if head is not None:
                    _insist(lambda head=head: store.write_head(head))
            elif step % 3 == 2:
                _insist(lambda: prune(store, EPOCH_2026_NS + 10**14))
        store.close()

    store = open_store(url)
    store.append(events(9))
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, range(writers)))
    read = list(store.read("s1"))
    assert len({event.key for event in read}) == len(read)
    assert sum(event.step_id is not None and "." in event.step_id for event in read) == 2 * writers * rounds
    (listed,) = current_sessions(store)
    assert listed.events == len(read)
    stored = store.head("s1")
    assert list(store.unsettled()) == ["s1"] or (stored is not None and stored.events == len(read))
    settled(store)
    assert list(store.unsettled()) == []
    store.close()


def _insist(work: Any) -> Any:
    for _ in range(10):
        try:
            return work()
        except StoreUnreachable:
            continue
    raise AssertionError("ten times unreachable")
