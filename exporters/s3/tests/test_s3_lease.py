"""The lease of announcements: whoever stands still, and whatever clocks say, each event is followed once."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exporters.s3.tests.simulated import Server, store_at
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import a_head, an_event
from otel_agent_journal.testing.contract_setup import ids
from otel_agent_journal_s3 import S3Store, announcements, lease
from otel_agent_journal_s3.lease import HOLDS_S, Lease, Promise, Watch

LEASE = Lease()
SESSIONS = ("s1", "s2")
EXAMPLES = 2_000 if os.environ.get("AGENT_JOURNAL_SOAK") else 200
UNTIL_S = 100  # who stands still for minutes between its look at a session's end and the log may repeat what was given
MOMENTS = st.sampled_from((0, 1, 20, 140, 160, 239, 241, 299, 301, 449, 451, 599, 601, 3_000))

# --- the terms --------------------------------------------------------------------------------------------------------


def test_writer() -> None:
    """A writer goes on under what it announced for four tenths of the time by its own clock, or until it rests."""
    promise = Promise(began_s=1_000, at_s=5, since=3)
    assert LEASE.may_write(promise, 1_000 + 240, rested=3)
    assert not LEASE.may_write(promise, 1_000 + 241, rested=0)
    assert not LEASE.may_write(promise, 1_000, rested=4)
    assert not LEASE.may_write(None, 0, 0)
    assert (LEASE.held(promise.at_s, 305), LEASE.held(promise.at_s, 306)) == (True, False)
    assert (LEASE.is_late(5, 456, 456 + 450), LEASE.is_late(5, 456, 457 + 450)) == (True, False)
    assert not LEASE.is_late(5, 455, 455)


def test_follower() -> None:
    """A follower looks until the segment after which a session rests, or until its last entry is over."""
    watch = Watch(at_s=0, since=3, segment=3)
    watch.passed(rests=False)
    assert not watch.rests
    watch.passed(rests=True)
    assert (watch.rests, watch.segment) == (True, 5)
    watch.announced(10, since=4)
    assert watch.rests, "by who did not know that it rests"
    watch.announced(20, since=5)
    assert not watch.rests
    assert not watch.is_left(LEASE, 20 + HOLDS_S)
    assert not watch.is_left(LEASE, 21 + HOLDS_S), "it was not looked at since"
    watch.nothing(21 + HOLDS_S)
    assert watch.is_left(LEASE, 21 + HOLDS_S)


def test_follower_that_lags() -> None:
    """A segment after which a session rests ends no announcement from behind it, however late a follower reads it."""
    watch = Watch(at_s=0, since=0, segment=0)
    watch.announced(10, since=3)
    watch.announced(20, since=1)
    for number in range(3):
        watch.passed(rests=True)
        assert not watch.rests, number
    watch.passed(rests=True)
    assert watch.rests


@given(MOMENTS, MOMENTS, st.floats(0.8, 1.25))
def test_quarters(written: float, left: float, rate: float) -> None:
    """What is written in time is given; what is given is known by whoever announces a session that was left."""
    promise = Promise(began_s=0, at_s=0, since=0)
    if LEASE.held(promise.at_s, written):
        assert LEASE.is_given(0, written, 0)
    if LEASE.is_over(0, left) and LEASE.is_given(0, written, 0):
        assert left - LEASE.known_s >= written
    if LEASE.may_write(promise, written * rate, 0):
        assert LEASE.held(promise.at_s, written)


# --- the store, under clocks that run apart ---------------------------------------------------------------------------


@dataclass
class Process:
    """A process with a clock of its own: when it began, and how fast it goes."""

    store: S3Store
    rate: float
    cursor: str | None = None
    found: list[JournalEvent] = field(default_factory=list[JournalEvent])
    busy: bool = False


class World:
    """Writers and followers of one bucket. While one of them stands still before a write, the others go on."""

    def __init__(self, rates: list[float], interruptions: list[list[Any]]) -> None:
        self.server = Server()
        self.server.before = self.interrupted
        self.processes = [Process(self.opened(), rate) for rate in rates]
        self.running = self.processes[0]
        self.interruptions = deque(interruptions)
        self.written: list[JournalEvent] = []
        self.left_s: float = UNTIL_S
        self.until_s = math.inf

    def opened(self) -> S3Store:
        return store_at(self.server)

    def clock_gettime(self, clock: int) -> float:
        return self.server.now_s * self.running.rate

    def interrupted(self, name: str) -> None:
        """Let time pass, and others act, before something is written."""
        began_s, before = self.server.now_s, self.until_s
        if "log/" in name:
            self.until_s = min(before, began_s + self.left_s)
        for step in self.interruptions.popleft() if self.interruptions else ():
            self.take(step)
        if "log/" in name:
            self.left_s -= self.server.now_s - began_s
        self.until_s = before

    @contextmanager
    def acting(self, number: int) -> Iterator[Process | None]:
        process, before = self.processes[number % len(self.processes)], self.running
        if process.busy:  # it stands still
            yield None
            return
        self.running, process.busy = process, True
        try:
            yield process
        finally:
            self.running, process.busy = before, False

    def take(self, step: Any) -> None:
        what, number = step
        if what == "wait":
            self.server.now_s += max(0, min(number, self.until_s - self.server.now_s))
            return
        with self.acting(number) as process:
            if process is None:
                return
            session_id = SESSIONS[number // len(self.processes) % len(SESSIONS)]
            if what == "write":
                self.written.append(an_event(len(self.written), session_id=session_id))
                process.store.append([self.written[-1]])
            elif what == "settle":
                head = process.store.head(session_id) or a_head(session_id)
                ended = msgspec.structs.replace(head, status="COMPLETED", open_writers=(), writers={})
                process.store.write_head(msgspec.structs.replace(ended, cursor=process.store.tip(session_id)))
            else:
                page = process.store.follow(process.cursor, limit=1 if what == "look at one" else 1000)
                process.cursor = page.cursor
                process.found += page.events

    def finish(self) -> None:
        """See that everybody has been given everything once, in the order it stands in each session."""
        self.interruptions.clear()
        late = Process(self.opened(), 1.0)
        self.processes.append(late)
        for process in self.processes:
            self.running = process
            while (page := process.store.follow(process.cursor, limit=3)).events:
                process.cursor = page.cursor
                process.found += page.events
            for session_id in SESSIONS:
                rows = ids(process.store.follow(None, session_id=session_id).events)
                assert ids(one for one in process.found if one.session_id == session_id) == rows
                assert sorted(rows) == sorted(ids(one for one in self.written if one.session_id == session_id))
        self.server.now_s += 2 * HOLDS_S
        for process in self.processes:
            self.running = process
            page = process.store.follow(process.cursor)
            assert page.events == ()
            assert ";" not in page.cursor, "nothing is looked after for ever"
            asked = self.server.asked
            assert process.store.follow(page.cursor).events == ()
            assert self.server.asked - asked == 1

    def close(self) -> None:
        for process in self.processes:
            process.store.close()


STEPS = st.one_of(
    st.tuples(st.just("wait"), MOMENTS),
    st.tuples(st.sampled_from(("write", "write", "settle", "look", "look at one")), st.integers(0, 7)),
)


def see(rates: list[float], steps: list[Any], interruptions: list[list[Any]]) -> None:
    """Take steps in a world, and see what everybody was given."""
    world = World(rates, interruptions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(announcements, "time", world)
        patch.setattr(announcements, "_OPEN", 1)  # so that sessions rest and are at work in turn
        try:
            for step in steps:
                world.take(step)
            world.finish()
        finally:
            world.close()


@pytest.mark.timeout(600)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rates=st.lists(st.floats(0.9, 1.1), min_size=2, max_size=4),
    steps=st.lists(STEPS, max_size=30),
    interruptions=st.lists(st.lists(STEPS, max_size=4), max_size=40),
)
@example([1.0, 1.0], [("write", 0), ("look", 1), ("write", 0)], [[], [], [], [], [("wait", 3_000), ("look", 1)]])
@example([1.0, 1.0], [("write", 0), ("write", 1), ("look", 1), ("write", 0), ("look", 1)], [])
def test_everybody_is_given_everything_once(
    rates: list[float], steps: list[Any], interruptions: list[list[Any]]
) -> None:
    """Writers that stand still anywhere, settlings between, clocks that differ: each follower has each event once."""
    see(rates, steps, interruptions)


REST = [("write", 0), ("look", 1), ("write", 0)]
RENEW = [("write", 0), ("write", 0), ("look", 1), ("wait", 601), ("look", 1), ("write", 0)]
LATE: list[list[Any]] = [[], [], [("wait", 601), ("look", 0)], [("write", 0)]]  # while another goes on


@pytest.mark.parametrize(
    ("where", "name", "broken", "steps", "interruptions"),
    [
        (lease, "_RENEWED", 100, RENEW, []),
        (Lease, "may_write", lambda self, promise, now_s, rested: promise is not None, REST, []),
        (Lease, "is_late", lambda self, at_s, written_s, now_s: False, [("write", 1)], LATE),
        (Watch, "announced", lambda self, at_s, since: None, REST, []),
    ],
)
def test_that_it_would_be_seen(
    where: Any,
    name: str,
    broken: Any,
    steps: list[Any],
    interruptions: list[list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events are lost or given twice where a term of the lease is broken."""
    see([1.0, 1.0], steps, interruptions)
    monkeypatch.setattr(where, name, broken)
    if name == "_RENEWED":
        monkeypatch.setattr(lease, "_WRITTEN", broken)
    with pytest.raises(AssertionError):
        see([1.0, 1.0], steps, interruptions)
