"""What a writer knows of a session that others write and prune too: nothing is refused or left out by what was once."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from exporters.s3.tests.wire import Send, Wire, answer, name_of
from otel_agent_journal.codec import sealed
from otel_agent_journal.errors import StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import Document
from otel_agent_journal.store.rules import current_sessions, prune
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_s3 import S3Store, contents, deleting, known, open_store
from tests.real.children import wait_status

UPDATED_NS = EPOCH_2026_NS + 10**9


@pytest.fixture
def other(url: str) -> S3Store:
    """Another client of the same store."""
    return open_store(url)


def an_hour_passes(store: S3Store) -> None:
    """Make all that a client knows an hour older."""
    ours = store._announcements._ours
    for key, one in ours.items():
        ours[key] = one._replace(began_s=one.began_s - 3600, at_s=one.at_s - 3600)
    for one in store._segments._sessions._known.values():
        one.probed -= 3600


def numbered(count: int, step_ns: int) -> list[JournalEvent]:
    """Return context events whose times are so far apart, whatever their numbers are."""
    made = context_events(count)
    times = (EPOCH_2026_NS + number * step_ns for number in range(count))
    return [
        sealed(msgspec.structs.replace(one, timestamp_ns=at, digest=None)) for one, at in zip(made, times, strict=True)
    ]


@pytest.mark.parametrize("step_ns", [0, -1_000_000])
def test_numbers_out_of_order_of_time(store: S3Store, other: S3Store, step_ns: int) -> None:
    """Who reads a sequence from a journal knows all of it, though it stands there in order of time."""
    made = numbered(6, step_ns)
    store.append_context("i1", 0, made[:5])
    assert store.compact("s1") == 1
    (late,) = context_events(1, first=1)
    with pytest.raises(WrongExpectedSequence) as refused:
        other.append_context("i1", 1, [msgspec.structs.replace(late, event_id="f" * 32, digest=None)])
    assert refused.value.actual == 5
    other.append_context("i1", 5, made[5:])
    assert list(store.read_context("i1")) == made


def test_context_that_another_went_on_with(store: S3Store, other: S3Store, wire: Wire) -> None:
    """An expected number is judged by what is there, not by what was there as this client wrote last."""
    store.append_context("i1", 0, context_events(3))
    other.append_context("i1", 3, context_events(2, first=3))
    store.append_context("i1", 5, context_events(1, first=5))
    other.append_context("i1", 6, context_events(3, first=6))
    with pytest.raises(WrongExpectedSequence) as refused:
        store.append_context("i1", 5, [msgspec.structs.replace(context_events(1)[0], event_id="f" * 32, seq=5)])
    assert refused.value.actual == 9
    assert list(store.read_context("i1")) == context_events(9)
    wire.requests.clear()
    store.append_context("i1", 9, context_events(1, first=9))
    assert wire.requests == {"PUT": 1}, "what is right by what is known costs nothing more"


@pytest.mark.parametrize("rested", [False, True])
@pytest.mark.parametrize("went_on", [False, True])
@pytest.mark.parametrize("count", [3, 5])
def test_pruned_by_another(
    store: S3Store, other: S3Store, count: int, went_on: bool, rested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended before another client pruned the session is written anew, and what is new is not hidden."""
    store.append(events(3))
    store.append_context("i1", 0, context_events(2))
    if went_on:
        other.append(events(1, first=3))
    if rested:
        an_hour_passes(store)
        monkeypatch.setattr(deleting, "HOLDS_S", -3600)
    other.write_head(a_head(status="COMPLETED", updated_ns=UPDATED_NS))
    assert prune(other, UPDATED_NS + 1) == 1
    left = [item.size_bytes for item in store._bucket.list("team/a/journals/s1/segments/")]
    assert left == [0] * (1 if rested else 3 + went_on)
    store.append(events(count))
    assert list(other.read("s1")) == events(count)
    store.append_context("i1", 0, context_events(2))
    assert list(other.read_context("i1")) == context_events(2)
    assert len(everything(other)[0]) == count + 2


@pytest.mark.parametrize("compacting", [None, 3])
def test_writers_that_begin_anew(url: str, compacting: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has written nothing yet reads what may be later than its events, and repeats none; late ones come too."""
    monkeypatch.setattr(contents, "MOST", 4)
    monkeypatch.setattr(known, "LAST_BYTES", 700)
    made = events(40)
    order = [made[(number * 27) % 40] for number in range(40)]
    for number in range(10):
        client = open_store(url)
        client.append(order[max(0, number * 4 - 3) : number * 4 + 4])
        if number % 3 == 0:
            client.append_context("i1", number // 3, context_events(1, first=number // 3))
        client.append(order[number * 4 : number * 4 + 4])
        if compacting and number % compacting == 0:
            client.compact("s1")
        client.close()
    with closing(open_store(url)) as reader:
        arrived = reader.follow(None, session_id="s1", limit=1_000).events
        assert len({event.event_id for event in arrived}) == len(arrived) == 44
        assert list(reader.read("s1")) == sorted(arrived, key=lambda event: (event.timestamp_ns, event.event_id))
        assert list(reader.read_context("i1")) == context_events(4)


def test_a_new_writer_of_a_long_session(store: S3Store, other: S3Store) -> None:
    """What it asks for does not grow with the session: an event later than all others is behind each segment."""
    for number in range(30):
        store.append([an_event(number)])
    wire = Wire(other)
    other.append([an_event(1_000)])
    assert wire.requests["GET"] <= 3
    assert ids(store.read("s1")) == ids([*map(an_event, range(30)), an_event(1_000)])


def test_a_document_that_its_writer_replaces(store: S3Store, other: S3Store) -> None:
    """It is not looked at first; where another was there meanwhile, that is seen."""
    one = store.put_document(Document(scope="a", name="n", data=b"1", version=0))
    assert one is not None
    wire = Wire(store)
    two = store.put_document(msgspec.structs.replace(one, data=b"2"))
    assert (dict(wire.requests), two is not None) == ({"PUT": 1}, True)
    assert two is not None
    three = other.put_document(msgspec.structs.replace(two, data=b"3"))
    assert store.put_document(msgspec.structs.replace(two, data=b"4")) is None
    assert store.get_document("a", "n") == three


def test_repetition_of_many(store: S3Store, wire: Wire) -> None:
    """A batch that is there already costs one request a session, and one that is not its PUT alone."""
    store.append(events(3))
    store.append(events(1, first=3))
    wire.requests.clear()
    store.append(events(4))
    assert wire.requests == {"LIST": 1}
    wire.requests.clear()
    store.append(events(3, first=4))
    assert wire.requests == {"PUT": 1}


class LateSegment:
    """Segments arrive after their announcement was over, without an answer if `lost`; the log cannot be written."""

    def __init__(self, store: S3Store, *, lost: bool = False) -> None:
        self.store, self.lost = store, lost

    def __call__(self, request: Any, send: Send) -> Any:
        if request.method != "PUT":
            return send(request)
        if "/segments/" in name_of(request):
            an_hour_passes(self.store)  # as if this process were suspended between its look at the clock and its PUT
            if self.lost:
                send(request)
                raise ReadTimeoutError(endpoint_url=request.url)
        elif "/log/" in name_of(request):
            return answer(request, 403, "AccessDenied")
        return send(request)


@pytest.mark.parametrize("lost", [False, True])
def test_late_segment_whose_announcement_fails(store: S3Store, wire: Wire, lost: bool) -> None:
    """A segment that came late is announced from its number, though only a repetition gets so far."""
    store.append(events(2))
    store._bucket.place = msgspec.structs.replace(store._bucket.place, timeout_s=0.0)  # no time for a second attempt
    wire.fault = LateSegment(store, lost=lost)
    with pytest.raises(StoreUnreachable):
        store.append(events(3))
    wire.fault = None
    store.append(events(3))
    assert announced(store) == [("s1", 0), ("s1", 1)]
    store.append(events(3))
    store.append(events(4))
    assert announced(store) == [("s1", 0), ("s1", 1)], "once"
    assert ids(everything(store)[0]) == ids(events(4))


def test_late_context_whose_announcement_fails(store: S3Store, wire: Wire) -> None:
    """The same for context, whose repetition is not taken for a conflict."""
    store.append(events(1))
    wire.fault = LateSegment(store)
    with pytest.raises(StoreUnreachable):
        store.append_context("i1", 0, context_events(2))
    wire.fault = None
    store.append_context("i1", 0, context_events(2))
    assert announced(store) == [("s1", 0), ("s1", 1)]
    store.append_context("i1", 2, context_events(1, first=2))
    assert list(store.read_context("i1")) == context_events(3)


@pytest.mark.parametrize("context", [False, True])
def test_late_segment_that_a_prune_had_passed(
    store: S3Store, other: S3Store, wire: Wire, context: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives under a number that a prune has deleted, long ago, is written once more, where it is read."""
    store.append(events(2))

    def stand_still(request: Any, send: Send) -> Any:
        if request.method == "PUT" and "/segments/" in name_of(request):
            wire.fault = None
            other.append(events(3))
            an_hour_passes(store)
            monkeypatch.setattr(deleting, "HOLDS_S", -3600)
            assert prune(other, UPDATED_NS) == 1
        return send(request)

    wire.fault = stand_still
    if context:
        store.append_context("i1", 0, context_events(2))
        assert list(open_store(other.url).read_context("i1")) == context_events(2)
    else:
        store.append(events(2, first=5))
        assert list(other.read("s1")) == events(2, first=5)
    assert list(other.unsettled()) == ["s1"]
    assert [head.events for head in current_sessions(other)] == [2]


def announced(store: S3Store) -> list[tuple[str, int]]:
    """Return what the log says, in order."""
    entries = [store._announcements.entry(number)[0] for number in range(store._announcements.end())]
    return [(one.key, one.first) for entry in entries if entry is not None for one in entry.sessions]


def test_memory_is_bounded(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that grow while they are written make the others forgotten, which are read again."""
    monkeypatch.setattr(known, "MAX_KEYS", 20)
    monkeypatch.setattr(known, "_GROWS", 1)
    remembered = store._segments._sessions._known
    for start in range(0, 30, 5):
        for session_id in ("s1", "s2", "s3"):
            store.append(events(5, first=start, session_id=session_id))
            assert sum(len(one.keys) for one in remembered.values()) <= 20 or len(remembered) == 1
    for session_id in ("s1", "s2", "s3"):
        store.append(events(30, session_id=session_id))
        assert list(store.read(session_id)) == events(30, session_id=session_id)
    assert len(everything(store)[0]) == 90


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_while_a_thread_writes(store: S3Store, wire: Wire) -> None:
    """A child that is forked while another thread holds the store's locks writes, and reads, as its parent does."""
    store.append(events(2))
    parent, arrived, go_on = os.getpid(), threading.Event(), threading.Event()

    def hold(request: Any, send: Send) -> Any:
        if request.method == "PUT" and "/segments/" in request.url and os.getpid() == parent:
            arrived.set()
            go_on.wait(60)
        return send(request)

    wire.fault = hold
    writer = threading.Thread(target=store.append, args=(events(3),))
    writer.start()
    assert arrived.wait(30)
    locks = [store._writing, store._bucket._lock, store._announcements._lock, store._segments._sessions._lock]
    for lock in locks[1:]:
        lock.acquire()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        status = 1
        try:
            store.append([an_event(0), an_event(9), an_event(0, session_id="child")])
            status = 0 if len(list(store.read("s1"))) == 3 else 2
            store.close()
        finally:
            os._exit(status)
    for lock in locks[1:]:
        lock.release()
    ended = wait_status(child)
    go_on.set()
    writer.join(30)
    assert ended == 0
    assert list(store.read("s1")) == [*events(3), an_event(9)]
    assert len(list(store.read("child"))) == 1


PLACEHOLDERS = (
    "log/",
    "log/read me.txt",
    "log/0.json",
    "listing/",
    "listing/notes",
    "listing/a/b/c/d",
    "listing/1/a/b/c/d",
    "listing/000000010002/a/b/c/d",
    "listing/00000001/2/a/b/c/d",
    "journals/",
    "journals/s1/",
    "journals/s1/segments/",
    "journals/s1/segments/000000000000.jsonl.bak",
    "instances/",
    "journals/s1/blobs/",
    "unsettled/",
    "unsettled/s2/",
)


def test_what_others_put_between(store: S3Store, other: S3Store) -> None:
    """Folders that a console made, and other names that are none of ours, are passed over by every method."""
    for name in PLACEHOLDERS:
        store._bucket.put(f"team/a/{name}")
    store.append(events(3))
    store.append_context("i1", 0, context_events(2))
    store.write_head(a_head(status="COMPLETED", updated_ns=UPDATED_NS))
    assert [head.session_id for head in other.sessions()] == list(other.unsettled()) == ["s1"]
    assert list(other.session_ids()) == ["s1"]
    other.append(events(1, first=3))
    assert len(list(other.read("s1"))) == 6
    assert len(everything(other)[0]) == 6
    assert len(everything(other, session_id="s1")[0]) == 6
    assert everything(other, other.tip())[0] == []
    assert everything(other, store.tip(), session_id="s1")[0] == []
    assert store.compact() == 1
    assert store.info().sessions == 1
    assert prune(other, UPDATED_NS + 1) == 1
    assert list(other.read("s1")) == []
    store.append(events(5))
    assert list(other.read("s1")) == events(5)
    assert ids(everything(other, session_id="s1")[0]) == ids(events(5))
