"""Faults between the store and its server: nothing lost, nothing twice, and an end to trying."""

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
from otel_agent_journal.errors import StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.testing.builders import a_head, context_events, events
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_s3 import S3Store, open_store


class Once:
    """A fault of the first requests that match, the server doing the work or not."""

    def __init__(self, part: str, how: str, times: int = 1, method: str = "PUT") -> None:
        self.part, self.how, self.left, self.method = part, how, times, method

    def __call__(self, request: Any, send: Send) -> Any:
        if request.method != self.method or self.part not in name_of(request) or not self.left:
            return send(request)
        self.left -= 1
        match self.how:
            case "409":
                return answer(request, 409, "ConditionalRequestConflict")
            case "503":
                return answer(request, 503, "SlowDown")
            case "applied":
                send(request)
                raise ReadTimeoutError(endpoint_url=request.url)
        raise ReadTimeoutError(endpoint_url=request.url)


FAULTS = ("409", "503", "applied", "timeout")


@pytest.mark.parametrize("how", FAULTS)
@pytest.mark.parametrize("part", ["segments/", "log/", "head.json", "listing/", "instances/", "journal.jsonl"])
def test_one_fault(store: S3Store, wire: Wire, part: str, how: str) -> None:
    """Whatever write fails, applied or not, is tried again, and nothing is there twice."""
    wire.fault = Once(part, how)
    store.append(events(10))
    store.append_context("i1", 0, context_events(3))
    head = store.write_head(a_head(status="COMPLETED"))
    assert head is not None
    assert head.version == 1
    assert store.write_head(msgspec.structs.replace(head, events=13)) is not None
    assert len(list(store.read("s1"))) == 13
    assert list(store.read_context("i1")) == context_events(3)
    assert len(everything(store)[0]) == 13
    assert [head.version for head in store.sessions()] == [2]


def test_answer_lost_to_the_end(store: S3Store, wire: Wire) -> None:
    """An append that failed though it was applied is repeated without a second copy or gap."""
    wire.fault = Once("segments/", "applied", 1)
    store._place = msgspec.structs.replace(store._place, timeout_s=0.0)
    store._bucket.place = store._place  # no time for a second attempt
    with pytest.raises(StoreUnreachable, match="may have been done"):
        store.append(events(4))
    store.append(events(6))
    assert list(store.read("s1")) == events(6)
    assert ids(everything(store)[0]) == ids(events(6))
    wire.fault = Once("segments/", "applied", 1)
    with pytest.raises(StoreUnreachable):
        store.append_context("i1", 0, context_events(2))
    store.append_context("i1", 0, context_events(2))
    with pytest.raises(WrongExpectedSequence):
        store.append_context("i1", 0, _others(2))
    assert list(store.read_context("i1")) == context_events(2)


def _others(count: int) -> list[Any]:
    return [msgspec.structs.replace(event, event_id=f"{event.seq:032x}") for event in context_events(count)]


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (409, "ConditionalRequestConflict"), (500, "InternalError")]
)
def test_bound(store: S3Store, wire: Wire, status: int, code: str) -> None:
    """A server that never lets a request pass is unreachable after a few attempts; the drain goes on from there."""
    wire.fault = lambda request, send: answer(request, status, code)
    with pytest.raises(StoreUnreachable, match=code):
        store.append(events(1))
    assert 2 <= wire.requests.total() <= 6
    wire.fault = None
    store.append(events(1))
    assert list(store.read("s1")) == events(1)


@pytest.mark.long_form
def test_three_in_ten(url: str) -> None:
    """Writers of one session and instance through a wire that fails three in ten: each event exactly once."""
    writers, rounds = (16, 40) if os.environ.get("AGENT_JOURNAL_SOAK") else (6, 6)
    chance, lock = random.Random(7), threading.Lock()

    def fault(request: Any, send: Send) -> Any:
        with lock:
            drawn = chance.random()
        if drawn < 0.1:
            return answer(request, 503, "SlowDown")
        if drawn < 0.2:
            raise ReadTimeoutError(endpoint_url=request.url)
        if drawn < 0.3:
            send(request)
            raise ReadTimeoutError(endpoint_url=request.url)
        return send(request)

    def write(number: int) -> int:
        store = open_store(url)
        Wire(store).fault = fault
        made, seq, won = events(rounds * 3, session_id="s1", first=number * 1000), 0, 0
        for start in range(0, len(made), 3):
            _insist(lambda start=start: store.append(made[start : start + 3]))
            for _ in range(20):
                (event,) = context_events(1, first=seq)
                event = msgspec.structs.replace(event, event_id=f"{number:016x}{seq:016x}", digest=None)
                try:
                    _insist(lambda event=event, seq=seq: store.append_context("i1", seq, [event]))
                except WrongExpectedSequence as other:
                    seq = other.actual
                    continue
                won, seq = won + 1, seq + 1
                break
        store.close()
        return won

    with ThreadPoolExecutor(writers) as pool:
        won = sum(pool.map(write, range(writers)))
    store = open_store(url)
    context = list(store.read_context("i1"))
    assert [event.seq for event in context] == list(range(won))
    read = list(store.read("s1"))
    assert len({event.key for event in read}) == len(read) == writers * rounds * 3 + won
    followed = everything(store)[0]
    assert len({event.key for event in followed}) == len(followed) == len(read)
    store.close()


def _insist(work: Any) -> None:
    for _ in range(10):
        try:
            return work()
        except StoreUnreachable:
            continue
    raise AssertionError("ten times unreachable")
