"""Reading a part of a session: what is behind a place, or an agent's context. All of it, and little else is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.s3.tests.wire import Send, Wire, name_of
from otel_agent_journal.codec import encode_line, sealed
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import ContextTip
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import ids
from otel_agent_journal_s3 import S3Store, contents, known, open_store, reading
from otel_agent_journal_s3.contents import ANYTHING, MOST, NOTHING, Contents, Told, contents_of, offset_of, told_by
from otel_agent_journal_s3.lines import Line, key_at, line_of

LARGE: dict[str, Any] = {"input": "q" * 700}
TIMES = st.integers(0, 2**63) | st.integers(EPOCH_2026_NS, EPOCH_2026_NS + 10**7)
PLACES = st.tuples(TIMES, st.text("0123456789abcdef", min_size=1, max_size=4))


class Fetched:
    """Counts the bytes of segments and journals that come over the wire."""

    def __init__(self, wire: Wire) -> None:
        self.bytes = 0
        self.requests = 0
        self._wire = wire
        wire.fault = self

    def __call__(self, request: Any, send: Send) -> Any:
        got = send(request)
        self.requests += 1
        if name_of(request).endswith(".jsonl"):
            self.bytes += int(got.headers["content-length"])
        return got


@pytest.fixture
def reader(url: str) -> Iterator[S3Store]:
    """A client that has written nothing."""
    store = open_store(url)
    yield store
    store.close()


def size_of(made: list[JournalEvent]) -> int:
    return sum(len(encode_line(event)) + 1 for event in made)


def behind(store: S3Store, event: JournalEvent) -> list[JournalEvent]:
    return list(store.read("s1", (event.timestamp_ns, event.event_id)))


# --- what is told -----------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(PLACES, max_size=4), max_size=MOST + 9), PLACES, st.text(max_size=3))
def test_nothing_is_passed_by(segments: list[list[tuple[int, str]]], after: tuple[int, str], instance: str) -> None:
    """What a segment tells never hides an event behind a place, nor context of an instance, near or far."""
    told = Told()
    for number, places in enumerate(segments):
        whose = [instance] if number % 3 == 0 and places else ["another"]
        told = told_by(told.behind(contents_of([key_at(*place) for place in places], whose)).metadata())
    assert len(told.nearest) == min(len(segments), MOST)
    for back, places in enumerate(reversed(segments)):
        one = told.nearest[back] if back < MOST else told.earlier
        if any(key_at(*place) > key_at(*after) for place in places):
            assert one.may_be_after(after[0])
        if (len(segments) - 1 - back) % 3 == 0 and places:
            assert one.may_have(instance)


def test_what_is_told() -> None:
    """Times are told to the millisecond, of what is far back as much as of the last segment, or nothing is known."""
    early, late = contents_of([key_at(10**15, "a")], ["i1"]), contents_of([key_at(2 * 10**15, "b")], [])
    assert (early.may_be_after(10**15), early.may_be_after(10**15 + 10**6)) == (True, False)
    assert (late.may_have("i1"), early.may_have("i1")) == (False, True)
    told = Told().behind(early)
    for _ in range(MOST):
        told = told.behind(late)
    assert told.earlier == early
    assert told_by({}).earlier == told_by({"contents": "of somebody else"}).earlier == ANYTHING
    assert contents_of([], ["i1"]) == NOTHING
    assert not Contents(0, 0).may_be_after(0)
    assert len(told.metadata()["contents"]) < 800


@given(st.lists(PLACES, max_size=200, unique=True), PLACES)
def test_places_in_a_journal(places: list[tuple[int, str]], after: tuple[int, str]) -> None:
    """Before the place that a journal tells for a time there is no line of that time or a later one."""
    keys = sorted(key_at(*place) for place in places)
    lines = [Line(key, b"x" * (number % 7)) for number, key in enumerate(keys)]
    offset = offset_of(contents.places_of(lines), after[0])
    starts = [sum(len(line.text) + 1 for line in lines[:number]) for number in range(len(lines))]
    assert offset in starts or offset == 0
    assert all(key < key_at(after[0], "") for key, start in zip(keys, starts, strict=True) if start < offset)


# --- the end of a session ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compacted", [0, 12, 20])
@pytest.mark.parametrize("left", [1, 10, 500, 999])
def test_tail(store: S3Store, reader: S3Store, compacted: int, left: int) -> None:
    """Reading on behind a place fetches about what is behind it, of segments and of a journal."""
    made = events(1_000, details=LARGE)
    for number in range(20):
        store.append(made[number * 50 : number * 50 + 50])
        if number + 1 == compacted:
            assert store.compact("s1") == 1
    fetched = Fetched(Wire(reader))
    assert behind(reader, made[-left - 1]) == made[-left:]
    assert fetched.bytes <= size_of(made[-left:]) + 0.15 * size_of(made)
    assert fetched.requests <= 6 + left // 50


def test_late_events_in_old_segments(store: S3Store, reader: S3Store) -> None:
    """An event of a late time in an early segment is found, however many segments came since, also in a journal."""
    made = events(1 + 2 * MOST + 10, details=LARGE)
    late = made.pop()
    store.append([made[0], late])
    for event in made[1:]:
        store.append([event])
    wire = Wire(reader)
    for _ in range(2):
        fetched = Fetched(wire)
        assert behind(reader, made[-3]) == [*made[-2:], late]
        assert fetched.bytes < 0.5 * size_of(made) + 2 * reading._TOLD_BYTES
        assert behind(reader, late) == []
        store.compact("s1")


@pytest.mark.parametrize("compacting", [None, 3, 1])
def test_any_place(store: S3Store, url: str, compacting: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind any place is read what reading all gives behind it: late events, context, marks, prunes, two writers."""
    monkeypatch.setattr(contents, "MOST", 4)
    monkeypatch.setattr(reading, "LAST_BYTES", 700)
    monkeypatch.setattr(known, "LAST_BYTES", 700)
    other = open_store(url)
    made = events(60)
    order = [made[(number * 37) % 60] for number in range(60)]
    store.append(events(5, first=100))
    assert store.delete_session("s1", store.tip("s1"), 0)
    for number in range(12):
        (store, other)[number % 5 < 2].append(order[number * 5 : number * 5 + 5])
        if number % 4 == 1:
            (store, other)[number % 2].append_context("i1", number // 4, context_events(1, first=number // 4))
        if number % 5 == 3:
            head = store.head("s1") or a_head(status="COMPLETED", open_writers=(), writers={})
            store.write_head(msgspec.structs.replace(head, cursor=store.tip("s1")))
        if compacting and number % compacting == 0:
            other.compact("s1")
        whole = list(open_store(url).read("s1"))
        for event in (*whole[:: max(1, len(whole) // 7)], whole[-1]):
            place = (event.timestamp_ns, event.event_id)
            assert list(open_store(url).read("s1", place)) == whole[whole.index(event) + 1 :]
            assert ids(store.read("s1", (place[0], ""))) == ids(one for one in whole if one.timestamp_ns >= place[0])
    assert len(whole) == 63
    assert list(other.read_context("i1")) == context_events(3)
    other.close()


def test_journal_of_another_program(store: S3Store, reader: S3Store) -> None:
    """A journal without our metadata is in any order, and is read whole."""
    made = events(200, details=LARGE)
    body = b"\n".join(encode_line(event) for event in reversed(made))
    store._bucket.put("team/a/journals/s1/journal.jsonl", body)
    store.append(events(3, first=200))
    assert behind(reader, made[150]) == [*made[151:], *events(3, first=200)]
    store._bucket.put("team/a/journals/s1/journal.jsonl", b"")
    assert behind(reader, made[150]) == events(3, first=200)


def test_journal_that_is_rewritten_meanwhile(store: S3Store, reader: S3Store) -> None:
    """Who reads the end of a journal and then more of it reads of one version."""
    made = events(600, details=LARGE)
    store.append(made[::2])
    store.compact("s1")
    wire = Wire(reader)

    def rewrite(request: Any, send: Send) -> Any:
        if "if-match" in {name.lower() for name in request.headers}:
            wire.fault = None
            store.append(made[1::2])
            store.compact("s1")
        return send(request)

    wire.fault = rewrite
    assert behind(reader, made[9]) == made[10:]
    assert wire.fault is None


# --- context ----------------------------------------------------------------------------------------------------------


def test_context_without_its_session(store: S3Store, reader: S3Store) -> None:
    """An agent's context is read without the session around it, its end without its beginning."""
    message = context_events(40, text="m" * 500)
    for number in range(40):
        store.append(events(5, first=number * 5, details=LARGE))
        store.append_context("i1", number, message[number : number + 1])
    store.compact("s1")
    store.append(events(50, first=1_000, details=LARGE))
    wire = Wire(reader)
    for from_seq, most in ((0, 1.5), (38, 0.3), (39, 0.25)):
        fetched = Fetched(wire)
        assert list(reader.read_context("i1", from_seq)) == message[from_seq:]
        assert fetched.bytes <= most * size_of(message)
    assert list(reader.read_context("i1", 40)) == []
    for from_seq, limit, newest_first in ((0, 2, False), (17, 2, False), (0, 2, True), (39, 9, False)):
        fetched = Fetched(wire)
        expected = message[from_seq:][::-1] if newest_first else message[from_seq:]
        found = reader.read_context("i1", from_seq, limit=limit, newest_first=newest_first)
        assert list(found) == expected[:limit]
        assert fetched.bytes <= 0.5 * size_of(message)
    fetched = Fetched(wire)
    assert reader.context_tip("i1") == ContextTip("s1", 40)
    assert list(reader.instances("s1")) == ["i1"]
    assert fetched.bytes <= 1.7 * size_of(message)


def test_context_of_many(store: S3Store, url: str) -> None:
    """Instances in one session, of writers that take turns and begin anew, are each read whole, beyond what is told."""
    names = [f"i{number}" for number in range(7)]
    made = {name: context_events(20, instance_id=name) for name in names}
    for seq in range(20):
        client = open_store(url) if seq % 6 == 0 else store
        for number, name in enumerate(names):
            event = sealed(msgspec.structs.replace(made[name][seq], event_id=f"{number:016x}{seq:016x}", digest=None))
            made[name][seq] = event
            client.append_context(name, seq, [event])
        client.append([an_event(seq)])
    for name in names:
        for from_seq in (0, 7, 19):
            read = open_store(url).read_context(name, from_seq)
            assert [event.seq for event in read] == list(range(from_seq, 20)), name
            for limit in (1, 6):
                read = store.read_context(name, from_seq, limit=limit)
                assert [event.seq for event in read] == list(range(from_seq, 20))[:limit], name
        assert store.context_tip(name) == ContextTip("s1", 20)
    assert sorted(store.instances("s1")) == names


def test_context_behind_what_a_client_has_seen(store: S3Store, reader: S3Store) -> None:
    """Whoever has read a session's context once lists what came since, and no more; a prune between is seen."""
    made = context_events(6)
    for number in range(4):
        store.append_context("i1", number, [made[number]])
    assert list(reader.read_context("i1")) == made[:4]
    store.append_context("i1", 4, [made[4]])
    listed = Listed(Wire(reader))
    assert list(reader.read_context("i1")) == made[:5]
    assert reader.context_tip("i1") == ContextTip("s1", 5)
    assert listed.names == 2 + 1  # from the last one seen on
    assert store.delete_session("s1", store.tip("s1"), 0)
    assert list(reader.read_context("i1")) == []
    assert reader.context_tip("i1") is None
    store.append_context("i1", 0, made[:2])
    assert list(reader.read_context("i1")) == made[:2]


class Listed:
    """Counts the names that listings give."""

    def __init__(self, wire: Wire) -> None:
        self.names = 0
        wire.fault = self

    def __call__(self, request: Any, send: Send) -> Any:
        got = send(request)
        if "list-type" in request.url:
            self.names += got.content.count(b"<Contents>")
        return got


def test_metadata_is_small(store: S3Store) -> None:
    """What a segment tells stays within what S3 takes as metadata, however many came before."""
    for number in range(MOST + 6):
        store.append([an_event(number)])
    told = store._bucket.metadata(store._layout.segment("s1", MOST + 5)) or {}
    assert sum(len(name) + len(text) for name, text in told.items()) < 1_024
    assert len(told_by(told).nearest) == MOST
    assert line_of(an_event(0)).key < line_of(an_event(1)).key
