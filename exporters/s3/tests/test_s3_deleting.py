"""Deleting sessions beside those who go on with them: what came later stays, and is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from exporters.s3.tests.wire import Send, Wire, name_of
from otel_agent_journal.codec import encode_line
from otel_agent_journal.errors import StoreError
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.rules import Repaired, current_sessions, prune, repair
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_settling import settled, told
from otel_agent_journal_s3 import S3Store, open_store

UPDATED_NS = EPOCH_2026_NS + 10**9


@pytest.fixture
def other(url: str) -> S3Store:
    """Another client of the same store."""
    return open_store(url)


@pytest.fixture
def judged(store: S3Store) -> SessionHead:
    """The head of a session that a prune has judged."""
    store.append(events(3))
    store.put_blob("s1", "d", b"1")
    head = store.write_head(a_head(updated_ns=UPDATED_NS, status="COMPLETED", cursor=store.tip("s1")))
    assert head is not None
    return head


def delete(store: S3Store, head: SessionHead) -> bool:
    return store.delete_session("s1", head.cursor, head.version)


class AtTheMark:
    """Does something right before a deletion puts its mark, and something right after."""

    def __init__(self, wire: Wire, before: Callable[[], object], after: Callable[[], object] = lambda: None) -> None:
        self.wire, self.before, self.after = wire, before, after
        wire.fault = self

    def __call__(self, request: Any, send: Send) -> Any:
        if request.method != "PUT" or "/segments/" not in name_of(request):
            return send(request)
        self.wire.fault = None
        self.before()
        answer = send(request)
        self.after()
        return answer


def test_somebody_is_first(store: S3Store, other: S3Store, wire: Wire, judged: SessionHead) -> None:
    """A session to which somebody is first to append while it is deleted stays whole."""
    AtTheMark(wire, lambda: other.append(events(4)))
    assert not delete(store, judged)
    assert list(store.read("s1")) == events(4)
    assert store.head("s1") == judged
    assert store.get_blob("s1", "d") == b"1"
    assert list(store.unsettled()) == ["s1"]


@pytest.mark.parametrize("head_too", [True, False])
def test_went_on(store: S3Store, other: S3Store, judged: SessionHead, head_too: bool) -> None:
    """A session that went on since it was judged keeps everything, its head rewritten or not yet."""
    other.append(events(4))
    if head_too:
        other.write_head(judged)
    assert not delete(store, judged)
    assert list(store.read("s1")) == events(4)
    assert store.head("s1") is not None
    assert store.get_blob("s1", "d") == b"1"


def test_answer_is_lost(store: S3Store, wire: Wire, judged: SessionHead) -> None:
    """A deletion that is applied without an answer goes on all the same, and says so."""

    def lost(request: Any, send: Send) -> Any:
        if request.method == "PUT" and not name_of(request).endswith("000000000000.jsonl"):
            wire.fault = None
            send(request)
            raise ReadTimeoutError(endpoint_url=request.url)
        return send(request)

    wire.fault = lost
    assert delete(store, judged)
    assert store.head("s1") is None
    assert [item.size_bytes for item in store._bucket.list(store._layout.segments("s1"))] == [0, 0]
    assert list(store.unsettled()) == list(store.session_ids()) == []
    assert store.info().sessions == 0


@pytest.mark.parametrize("part", ["head.json", "listing/", "/segments/000000000000", "unsettled/"])
def test_broken_off(store: S3Store, wire: Wire, judged: SessionHead, part: str) -> None:
    """A deletion that is broken off anywhere is found and repeated."""
    store.append(events(4))  # a marker
    head = settled(store)

    def broken(request: Any, send: Send) -> Any:
        if (part in name_of(request) and request.method == "PUT") or request.method == "POST":
            raise ReadTimeoutError(endpoint_url=request.url)
        return send(request)

    store._bucket.place = msgspec.structs.replace(store._bucket.place, timeout_s=0.0)
    wire.fault = broken
    with pytest.raises(StoreError):
        delete(store, head)
    wire.fault = None
    assert list(store.read("s1")) == list(store.session_ids()) == []
    assert store.tip("s1") is None
    assert prune(store, UPDATED_NS + 1) == 1
    assert list(current_sessions(store)) == list(store.unsettled()) == []
    assert store.get_blob("s1", "d") is None


@pytest.mark.parametrize("over", [True, False])
def test_begins_anew(store: S3Store, other: S3Store, wire: Wire, judged: SessionHead, over: bool) -> None:
    """What is put into a session from the moment of the mark on stays, and is counted alone, whoever writes a head."""
    new = told("s1", step="new")

    def begin() -> None:
        other.append(new)
        if over:
            assert other.write_head(msgspec.structs.replace(judged, events=5, cursor=other.tip("s1"))) is not None

    AtTheMark(wire, lambda: other.put_blob("s1", "e", b"2"), begin)
    assert delete(store, judged)
    assert list(store.read("s1")) == new
    assert (store.get_blob("s1", "d"), store.get_blob("s1", "e")) == (None, b"2")
    assert store.head("s1") is None
    assert list(store.unsettled()) == ["s1"]
    assert [(head.events, head.status) for head in current_sessions(store)] == [(2, "COMPLETED")]
    settled(other)
    assert [head.events for head in store.sessions()] == [2]
    assert store.info().sessions == 1


def test_marker_of_who_has_not_met_the_mark(store: S3Store, other: S3Store, judged: SessionHead) -> None:
    """Who put its marker before a deletion, and its first event after it, puts another."""
    settled(store)
    put_new, deleted = other._bucket.put_new, list[bool]()

    def held_up(name: str, data: bytes, metadata: Any = None) -> Any:
        if "/segments/" in name and not deleted:
            assert store._settling.markers("s1")
            head = store.head("s1")
            assert head is not None
            deleted.append(delete(store, head))
            assert store._settling.markers("s1") == []
        return put_new(name, data, metadata)

    other._bucket.put_new = held_up
    other.append(told(step="new"))
    assert deleted == [True]
    assert list(store.unsettled()) == ["s1"]
    assert [head.events for head in current_sessions(store)] == [2]


def test_instance_is_free_again(store: S3Store, other: S3Store) -> None:
    """An instance is of its session until that is pruned, then of who claims it first, also of the same one anew."""
    mine, theirs = context_events(3, session_id="s1"), context_events(3, session_id="s2")
    store.append_context("i1", 0, mine)
    with pytest.raises(StoreError, match="of session s1"):
        other.append_context("i1", 0, theirs)
    assert prune(store, UPDATED_NS) == 1
    assert list(store.read_context("i1")) == []
    other.append_context("i1", 0, theirs)
    for client in (store, other):
        with pytest.raises(StoreError, match="of session s2"):
            client.append_context("i1", 0, mine)
        assert list(client.read_context("i1")) == theirs
    other.append(events(3, session_id="s1"))
    assert prune(store, UPDATED_NS) == 2
    store.append_context("i1", 0, mine)
    with pytest.raises(StoreError, match="of session s1"):
        other.append_context("i1", 0, theirs)
    assert list(store.read_context("i1")) == mine


def test_claim_before_a_mark(store: S3Store, other: S3Store, wire: Wire) -> None:
    """Who claims an instance and meets a prune before its event claims it again: nobody comes between."""
    store.append(events(3))
    settled(other)

    def prune_and_take() -> None:
        assert prune(other, UPDATED_NS) == 1
        other.append_context("i1", 0, context_events(1, session_id="s2"))

    AtTheMark(wire, prune_and_take)
    with pytest.raises(StoreError, match="of session s2"):
        store.append_context("i1", 0, context_events(1, session_id="s1"))
    AtTheMark(wire, lambda: prune(other, UPDATED_NS))
    store.append_context("i2", 0, context_events(1, session_id="s1", instance_id="i2"))
    assert [event.session_id for event in store.read_context("i2")] == ["s1"]
    with pytest.raises(StoreError, match="of session s1"):
        other.append_context("i2", 0, context_events(1, session_id="s2", instance_id="i2"))


def test_sessions_that_have_events(store: S3Store) -> None:
    """Sessions with events are named each once, by their true ids: no pruned one, and what another program put too."""
    long = "x" * 600
    for session_id in ("s1", long, "gone"):
        store.append(events(2, session_id=session_id))
        store.append(events(3, session_id=session_id))
    store.delete_session("gone", store.tip("gone"), 0)
    store.write_head(a_head("no events"))
    store._bucket.put("team/a/journals/theirs/journal.jsonl", b'{"event_type":"NOTE"}\n')
    store.compact(long)
    assert sorted(store.session_ids()) == ["s1", "theirs", long]
    store.append([an_event(9, session_id="gone")])
    assert sorted(store.session_ids()) == ["gone", "s1", "theirs", long]


def test_journal_that_another_program_put(store: S3Store) -> None:
    """A journal that is no segments' is found, gets a head, is not taken for what is appended beside it, and goes."""
    lines = (encode_line(event) for event in told("theirs"))
    store._bucket.put("team/a/journals/theirs/journal.jsonl", b"\n".join(lines))
    assert list(store.session_ids()) == ["theirs"]
    assert repair(store, "theirs") == Repaired("theirs", "no head", written=True)
    assert [(head.session_id, head.events) for head in current_sessions(store)] == [("theirs", 2)]
    assert "theirs" not in store.append(told("theirs", step="again", at_ns=50))
    assert [head.events for head in current_sessions(store)] == [4]
    settled(store, "theirs")
    arrived = store.append(told("theirs", step="more", at_ns=60))["theirs"]
    assert [head.events for head in current_sessions(store)] == [6]
    assert arrived.after is not None
    assert prune(store, UPDATED_NS) == 1
    assert list(store.read("theirs")) == []
