"""What a listing of sessions costs, and that names of places are believed only where they are true."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from exporters.s3.tests.simulated import Server, store_at
from exporters.s3.tests.wire import Send, Wire
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import is_wanted
from otel_agent_journal.testing.builders import a_head
from otel_agent_journal.testing.contract_heads import said_of
from otel_agent_journal_s3 import S3Store
from otel_agent_journal_s3.parts import in_parts, written

SLOT_NS = 10 * 10**9


def test_the_latest_few_cost_a_page_of_a_few(store: S3Store, wire: Wire) -> None:
    """To list the latest ones of many sessions a few places are asked for, and the heads of these alone."""
    for number in range(60):
        store.write_head(a_head(f"s{number}", updated_ns=number * SLOT_NS, status="COMPLETED", open_writers=()))
    pages: list[int] = []

    def looked(request: Any, send: Send) -> Any:
        if "list-type" in request.url:
            pages.append(int(parse_qs(urlsplit(request.url).query)["max-keys"][0]))
        return send(request)

    wire.fault = looked
    wire.requests.clear()
    assert [head.session_id for head in store.sessions(SessionFilter(limit=1))] == ["s59"]
    assert (pages, wire.requests["GET"]) == ([21], 1)
    pages.clear()
    latest = [f"s{number}" for number in reversed(range(20, 60))]
    assert [head.session_id for head in store.sessions(SessionFilter(limit=40))] == latest
    assert pages == [60]
    pages.clear()
    assert len(list(store.sessions(SessionFilter(limit=100)))) == 60
    assert max(pages) <= 480


def ended(number: int, **fields: Any) -> SessionHead:
    """A session that has ended, one a slot."""
    said = {"status": "COMPLETED", "open_writers": (), "agent": f"agent {number % 3}", **fields}
    return a_head(f"s{number}", updated_ns=number * SLOT_NS + number, **said)


def test_a_brief_listing_fetches_no_head(store: S3Store, wire: Wire) -> None:
    """Of sessions that have ended names say enough, of those in progress heads are fetched; a filter goes first."""
    for number in range(30):
        store.write_head(ended(number))
    store.write_head(a_head("open", updated_ns=40 * SLOT_NS))
    for wanted, fetched in (({}, 1), ({"agent": "agent 2"}, 0), ({"statuses": ("ERROR",)}, 0), ({"limit": 5}, 1)):
        wire.requests.clear()
        found = [said_of(head) for head in store.sessions(SessionFilter(brief=True, **wanted))]
        assert wire.requests["GET"] == fetched, wanted
        assert found == [said_of(head) for head in store.sessions(SessionFilter(**wanted))]
    wire.requests.clear()
    assert len(list(store.sessions(SessionFilter(agent="agent 2")))) == 10
    assert wire.requests["GET"] == 10


def test_heads_are_fetched_side_by_side(store: S3Store, wire: Wire) -> None:
    """Sessions that were updated at different times are fetched several at a time."""
    at_once, most = set[int](), list[int]()
    for number in range(30):
        store.write_head(ended(number))

    def slow(request: Any, send: Send) -> Any:
        at_once.add(threading.get_ident())
        most.append(len(at_once))
        time.sleep(0.01)
        answer = send(request)
        at_once.discard(threading.get_ident())
        return answer

    wire.fault = slow
    assert [head.session_id for head in store.sessions()] == [f"s{number}" for number in reversed(range(30))]
    assert max(most) > 4


class Killed(BaseException):
    """The process ends here."""


class Deleting(Server):
    """A server that tells of each deletion too."""

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        self.before("delete")
        return super().delete_objects(Bucket, Delete)


HEADS = {
    "ends": {"status": "COMPLETED", "updated_ns": 50 * SLOT_NS},
    "ended before": {"status": "ERROR", "updated_ns": 1},
    "goes on": {"status": "PROCESSING", "updated_ns": 60 * SLOT_NS},
    "is a part": {"status": "COMPLETED", "part_of": "whole", "updated_ns": 10 * SLOT_NS},
}
ACTS = (*HEADS, "is deleted")


def act(store: S3Store, what: str) -> None:
    head = store.head("s1")
    if what == "is deleted":
        if head is not None:
            store.delete_session("s1", head.cursor, head.version)
        return
    store.write_head(msgspec.structs.replace(head or a_head("s1"), agent="a", **{"part_of": None, **HEADS[what]}))


OTHER_AT, KILLED_AT = range(8), range(9)  # before which write the other acts, the one is killed; 0: neither
CASES = [*product(HEADS, ACTS, ACTS, (True,)), *product(("ends",), ACTS, ACTS, (False,))]


@pytest.mark.parametrize(("first", "then", "meanwhile", "versioned"), CASES)
def test_a_brief_listing_is_true_wherever_writers_are_killed(
    first: str, then: str, meanwhile: str, versioned: bool
) -> None:
    """Two writers of a head, one within the other, killed before any of its writes: a brief listing says the same."""
    for other_at, killed_at in product(OTHER_AT, KILLED_AT):
        if 0 < killed_at < other_at:
            continue  # there is nothing to act in
        server = Deleting(versioned=versioned)
        store, other = store_at(server), store_at(server)
        act(store, first)
        writes = 0

        def before(name: str) -> None:
            nonlocal writes
            writes += 1
            if writes == other_at:  # noqa: B023 - done before the next
                server.before = lambda name: None  # noqa: B023
                act(other, meanwhile)  # noqa: B023
                server.before = before  # noqa: B023
            if writes == killed_at:  # noqa: B023
                raise Killed

        server.before = before
        with suppress(Killed):
            act(store, then)
        server.before = lambda name: None
        agrees(store_at(server))
        act(store_at(server), "ends")
        agrees(store_at(server))


def agrees(store: S3Store) -> None:
    """See that a brief listing, with any filter, says what heads do."""
    head = store.head("s1")
    for wanted in ({}, {"parts": True}, {"statuses": ("COMPLETED",)}, {"statuses": ("PROCESSING",)}, {"until_ns": 9}):
        full, brief = (list(store.sessions(SessionFilter(brief=said, **wanted))) for said in (False, True))
        assert [said_of(one)[:1] for one in brief] == [said_of(one)[:1] for one in full]
        if head is not None:
            assert [said_of(one) for one in brief] == [said_of(head)] * is_wanted(head, SessionFilter(**wanted))


@pytest.mark.parametrize("seed", range(20))
def test_a_long_listing_is_whole_however_its_times_lie(seed: int) -> None:
    """Parts that are read at once are together what is there, in order: crowds, gaps and names of others included."""
    dice, server = random.Random(seed), Server()
    at = 0
    for _ in range(dice.randrange(1, 8)):
        at += dice.choice((1, 50, 10**6))
        for number in range(dice.randrange(120)):
            at += dice.choice((0, 0, 1, 3))
            server.put_object("b", f"listing/{written(at)}/x/{number:04d}", b"", {})
    others = ["listing/", "listing/notes", "listing/0", "listing/12", "listing/00000000/12", "other/1"]
    for name in dice.sample(others, 2):
        server.put_object("b", name, b"", {})
    bucket = store_at(server)._bucket
    after, until = dice.choice(("", f"listing/{written(at // 2)}")), f"listing/{written(at // 2)}"
    found = [item.name for item in in_parts(bucket, "listing/", after, "listing/~", 5)]
    assert found == [item.name for item in bucket.list("listing/", after)]
    some = [item.name for item in in_parts(bucket, "listing/", "", until, 5) if item.name < until]
    assert some == [item.name for item in bucket.list("listing/") if item.name < until]
