"""Whoever follows all sessions is given each event once, whatever becomes of its writers, and pays for what is active.

Time is made by the tests, so that minutes and weeks pass in them; the table is a DynamoDB Local's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import an_event
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from otel_agent_journal_dynamodb.activity import KEPT_NS, LATE_NS, SECOND_NS
from otel_agent_journal_dynamodb.keys import session_key

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
SEEDS: Final = range(60 if SOAK else 6)
STEPS: Final = 30
SESSIONS: Final = ("a", "b", "c", "d")
PAUSES_S: Final = (0.1, 0.1, 1, 5, 16, 61, 200, 4_000)  # between two steps
HELD_UP_S: Final = (0.2, 5, 19, 25, 70, 130)  # in the middle of one


class Clock:
    """The server's time, and how fast it goes."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000 * SECOND_NS

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


class Caller:
    """A client as the world sees it: when it had an answer, and the sessions that it has announced too late."""

    def __init__(self, answered_ns: int) -> None:
        self.answered_ns = answered_ns
        self.late: set[str] = set()


class World:
    """Writers and followers of one table, of whom any may be held up, killed, or overtaken at any call.

    What it does not do: kill a writer, hold it up again or let another one write, in the moment between an announcement
    that came too late and the next one (docs/adr/0031).
    """

    def __init__(self, seed: int, opened: Callable[[], DynamoDBStore]) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.opened = opened
        self.writers = [self.client() for _ in range(3)]
        self.reader = self.client()
        self.made = 0
        self.depth = 0
        self.faults = 0.0  # the share of calls that something befalls
        self.owed: list[list[JournalEvent]] = []  # of writers that were killed: their spools
        self.acknowledged: set[str] = set()
        self.followers: list[Follower] = [Follower(None, set())]

    def client(self) -> DynamoDBStore:
        """Return a client whose calls something may befall, and to whom the server's time is up to a second old."""
        store = self.opened()
        connection: Any = store._connection
        real = connection.call
        connection.now_ns = lambda: self.clock.now_ns - self.random.randrange(SECOND_NS)
        connection.is_clock_fresh = lambda: True
        connection.sleep = lambda _: None
        connection.answered_ns = lambda: state.answered_ns - self.random.randrange(SECOND_NS)
        state = Caller(self.clock.now_ns)

        def call(operation: str, body: dict[str, Any]) -> dict[str, Any]:
            return self.befallen(state, operation, body, real)

        connection.call = call
        return store

    def befallen(
        self, state: Caller, operation: str, body: dict[str, Any], real: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Do a call, and what is to befall its caller before and after it."""
        if operation in ("Query", "Scan", "BatchGetItem") or state.late or self.random.random() >= self.faults:
            before = after = None
        else:
            before, after = (self.random.choice((None, "held up", "killed", "overtaken")) for _ in range(2))
        self.befall(before)
        answer = real(operation, body)
        state.answered_ns = self.clock.now_ns
        for at_ns, session in _announced(operation, body):
            is_late = self.clock.now_ns - at_ns > LATE_NS - 2 * SECOND_NS
            (state.late.add if is_late else state.late.discard)(session)
        if not state.late:
            self.befall(after)
        return answer

    def befall(self, what: str | None) -> None:
        if what == "held up":
            self.clock.pass_s(self.random.choice(HELD_UP_S))
        elif what == "killed":
            raise StoreUnreachable("killed")
        elif what == "overtaken" and self.depth < 2:
            self.depth += 1
            try:
                self.random.choice((self.append, self.append, self.look))()
            finally:
                self.depth -= 1

    # --- steps ---

    def step(self) -> None:
        """Do anything, and let time pass."""
        self.random.choice(
            (self.append, self.append, self.append, self.append_again, self.look, self.look, self.join, self.settle)
        )()
        self.clock.pass_s(self.random.choice(PAUSES_S))

    def append(self) -> None:
        """Append to one or two sessions, by any writer; those that were killed are opened anew, or were slow."""
        sessions = self.random.sample(SESSIONS, self.random.choice((1, 1, 2)))
        events = [
            an_event(self.made + number, session_id=one)
            for number, one in enumerate(sessions * self.random.choice((1, 2)))
        ]
        self.made += len(events)
        self.bring(events)

    def append_again(self) -> None:
        """Append what a killed writer did not get done."""
        if self.owed:
            self.bring(self.owed.pop(self.random.randrange(len(self.owed))))

    def bring(self, events: list[JournalEvent]) -> None:
        writer = self.random.randrange(len(self.writers))
        try:
            self.writers[writer].append(events)
        except StoreUnreachable:
            self.owed.append(events)
            if self.random.random() < 0.5:
                self.writers[writer] = self.client()
        else:
            self.acknowledged.update(event.event_id for event in events)

    def settle(self) -> None:
        """See to a session as who sweeps does."""
        with suppress(StoreUnreachable):
            self.random.choice(self.writers)._arrivals.settle(session_key(self.random.choice(SESSIONS)))

    def look(self) -> None:
        """Let a follower look, for few or many events."""
        follower = self.random.choice(self.followers)
        page = self.reader.follow(follower.cursor, limit=self.random.choice((1, 2, 5, 1_000)))
        follower.take(page.events, page.cursor)

    def join(self) -> None:
        """Let another follower begin, at the beginning or now."""
        if self.random.random() < 0.5:
            self.followers.append(Follower(None, set()))
        else:
            follower = Follower(self.reader.tip(), set(self.acknowledged))
            follower.either = {event.event_id for events in self.owed for event in events}
            self.followers.append(follower)

    def a_week_passes(self) -> None:
        """Let every item of activity expire, after somebody has swept."""
        for session in SESSIONS:
            self.reader._arrivals.settle(session_key(session))
        self.clock.pass_s(1.1 * KEPT_NS / SECOND_NS)
        connection = self.reader._connection
        for item in connection.call("Scan", {"TableName": connection.place.table, "ConsistentRead": True})["Items"]:
            if item["PK"]["S"].startswith("ACTIVE#"):
                key = {name: item[name] for name in ("PK", "SK")}
                connection.call("DeleteItem", {"TableName": connection.place.table, "Key": key})

    # --- what must hold ---

    def check(self) -> None:
        """Let all that was killed be done in the end, and compare what each follower was given with what there is."""
        self.faults = 0.0
        self.followers.append(Follower(None, set()))
        for events in self.owed:
            self.reader.append(events)
        for session in SESSIONS:
            self.reader.append([an_event(self.made, session_id=session)])
            self.made += 1
        logs = {one: self.reader.follow(None, session_id=one).events for one in SESSIONS}
        there = {event.event_id for events in logs.values() for event in events}
        assert len(there) == sum(map(len, logs.values()))
        assert self.acknowledged <= there
        for follower in self.followers:
            while (page := self.reader.follow(follower.cursor, limit=7)).events:
                follower.take(page.events, page.cursor)
            found = [event.event_id for event in follower.found]
            assert len(set(found)) == len(found), "given twice"
            assert there - follower.behind - follower.either <= {*found}, "skipped"
            assert not follower.behind & {*found}, "given again"
            for session in SESSIONS:
                order = [event for event in follower.found if event.session_id == session]
                assert order == [event for event in logs[session] if event in order], "in another order"


class Follower:
    """A cursor, what lay behind it when it was new, what may have, not being acknowledged, and what it was given."""

    def __init__(self, cursor: str | None, behind: set[str]) -> None:
        self.cursor = cursor
        self.behind = behind
        self.either: set[str] = set()
        self.found: list[JournalEvent] = []

    def take(self, events: tuple[JournalEvent, ...], cursor: str) -> None:
        self.found.extend(events)
        self.cursor = cursor


def _announced(operation: str, body: dict[str, Any]) -> list[tuple[int, str]]:
    """Return the times and sessions of the items of activity that are put by a call."""
    items = [body["Item"]] if operation == "PutItem" else []
    if operation == "BatchWriteItem":
        items = [one["PutRequest"]["Item"] for all_ in body["RequestItems"].values() for one in all_]
    keys = [item["SK"]["S"] for item in items if item["PK"]["S"].startswith("ACTIVE#")]
    return [(int(key[:20]), key[21:]) for key in keys]


def played(seed: int, opened: Callable[[], DynamoDBStore], steps: int = STEPS) -> None:
    """Play one game to its end."""
    world = World(seed, opened)
    world.faults = world.random.choice((0.0, 0.1, 0.3))
    for number in range(steps):
        world.step()
        if number == steps // 2 and seed % 3 == 0:
            faults, world.faults = world.faults, 0.0
            world.a_week_passes()
            world.faults = faults
    world.check()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_event_once(store: DynamoDBStore, seed: int) -> None:
    """Of writers that are slow, killed, overtaken, and append again, every follower is given each event once."""
    connection: Any = store._connection

    def opened() -> DynamoDBStore:
        client = open_store(store.url)
        shared: Any = client._connection
        shared._clients, shared._own_json = connection._clients, connection._own_json
        return client

    played(seed, opened)
