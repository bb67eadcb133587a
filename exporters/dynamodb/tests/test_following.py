"""Whoever follows all sessions is given each event once, whatever becomes of its writers, and pays for what is active.

Time is made by the tests, so that minutes and weeks pass in them; the table is a DynamoDB Local's.
"""

from __future__ import annotations

import os
import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import pytest

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_dynamodb import DynamoDBStore, activity, open_store
from otel_agent_journal_dynamodb.activity import KEPT_NS, LATE_NS, SECOND_NS
from otel_agent_journal_dynamodb.cursors import Cursor, Stand, Walk, cursor_of, text_of_cursor
from otel_agent_journal_dynamodb.keys import session_key
from tests.real.fault_proxy_http import DynamoDBProxy
from tests.real.servers import DynamoDB

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
SEEDS: Final = range(60 if SOAK else 6)
STEPS: Final = 30
SESSIONS: Final = ("a", "b", "c", "d")
PAUSES_S: Final = (0.1, 0.1, 1, 5, 25, 121, 400, 4_000)  # between two steps
HELD_UP_S: Final = (0.2, 5, 30, 47, 60, 130, 260)  # in the middle of one


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

    What it does not do: kill a writer, hold it up for long or let another one write, between an announcement that came
    too late and the next one (docs/adr/0031). It may be cut off then, and try again.
    """

    def __init__(self, seed: int, opened: Callable[[], DynamoDBStore]) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.opened = opened
        self.callers: dict[int, Caller] = {}
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
        connection.answered_ns = lambda: state.answered_ns
        state = self.callers[id(store)] = Caller(self.clock.now_ns)

        def call(operation: str, body: dict[str, Any]) -> dict[str, Any]:
            return self.befallen(state, operation, body, real)

        connection.call = call
        return store

    def befallen(
        self, state: Caller, operation: str, body: dict[str, Any], real: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Do a call, and what is to befall its caller before and after it."""
        if operation in ("Query", "Scan", "BatchGetItem") or self.random.random() >= self.faults:
            before = after = None
        elif state.late:
            before, after = self.random.choice((None, "cut off")), None
        else:
            before, after = (self.random.choice((None, "held up", "killed", "overtaken")) for _ in range(2))
        self.befall(before)
        answer = real(operation, body)
        state.answered_ns = self.clock.now_ns
        for at_ns, session in _announced(operation, body):
            if self.clock.now_ns - at_ns > LATE_NS:
                state.late.add(session)
        state.late.difference_update(_withdrawn(operation, body))
        if not state.late:
            self.befall(after)
        return answer

    def befall(self, what: str | None) -> None:
        if what == "held up":
            self.clock.pass_s(self.random.choice(HELD_UP_S))
        elif what in ("killed", "cut off"):
            raise StoreUnreachable(what)
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
        """Append by any writer; who is cut off after a late announcement tries again until that is seen to."""
        place = self.random.randrange(len(self.writers))
        writer = self.writers[place]
        while True:
            try:
                writer.append(events)
            except StoreUnreachable:
                if self.callers[id(writer)].late:
                    self.clock.pass_s(self.random.choice((0.1, 5, 25)))
                    continue
                self.owed.append(events)
                if self.random.random() < 0.5:
                    self.writers[place] = self.client()
            else:
                self.acknowledged.update(event.event_id for event in events)
            return

    def settle(self) -> None:
        """See to a session as who sweeps does."""
        writer, session = self.random.choice(self.writers), self.random.choice(SESSIONS)
        for _ in range(50):
            with suppress(StoreUnreachable):
                writer._arrivals.settle(session_key(session))
                return
            if not self.callers[id(writer)].late:
                return

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
        for owed in self.owed:
            self.reader.append(owed)
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
        written = [one for all_ in body["RequestItems"].values() for one in all_]
        items = [one["PutRequest"]["Item"] for one in written if "PutRequest" in one]
    keys = [item["SK"]["S"] for item in items if item["PK"]["S"].startswith("ACTIVE#")]
    return [(int(key[:20]), key[21:]) for key in keys]


def _withdrawn(operation: str, body: dict[str, Any]) -> list[str]:
    """Return the sessions of which an item of activity is deleted by a call."""
    if operation != "BatchWriteItem":
        return []
    deleted = [
        one["DeleteRequest"]["Key"] for all_ in body["RequestItems"].values() for one in all_ if "DeleteRequest" in one
    ]
    return [key["SK"]["S"][21:] for key in deleted if key["PK"]["S"].startswith("ACTIVE#")]


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


@pytest.mark.long_form
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_event_once(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Of writers that are slow, killed, overtaken, and append again, every follower is given each event once."""
    connection: Any = store._connection
    if seed % 2:
        monkeypatch.setattr(activity, "PAGE", 2)  # who comes back late reads what happened in pieces

    def opened() -> DynamoDBStore:
        client = open_store(store.url)
        shared: Any = client._connection
        shared._client, shared._own_json = connection._client, connection._own_json
        return client

    played(seed, opened)


@pytest.fixture
def proxy(dynamodb_server: DynamoDB) -> Iterator[DynamoDBProxy]:
    """A proxy in front of the server that counts."""
    with DynamoDBProxy(dynamodb_server.port) as proxy:
        yield proxy


@pytest.fixture
def behind(store: DynamoDBStore, dynamodb_server: DynamoDB, proxy: DynamoDBProxy) -> Iterator[DynamoDBStore]:
    """A second client of the table of `store`, through the proxy."""
    client = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)))
    yield client
    client.close()


def test_agents_of_different_sessions_never_meet(
    store: DynamoDBStore, dynamodb_server: DynamoDB, proxy: DynamoDBProxy
) -> None:
    """Context appends of twelve agents at once are a transaction each, and none of them is tried again."""
    url = store.url.replace(str(dynamodb_server.port), str(proxy.port))
    clients = [open_store(url) for _ in range(12)]

    def work(number: int) -> None:
        for seq in range(6):
            made = context_events(1, first=seq, session_id=f"s{number}", instance_id=f"i{number}")
            clients[number].append_context(f"i{number}", seq, made)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert proxy.calls.pop("Query") >= 12  # the last number of each session, again after two seconds without a word
    assert proxy.calls == {"PutItem": 12, "TransactWriteItems": 72}
    assert len(everything(store)[0]) == 72


def test_what_a_look_costs(store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy) -> None:
    """An idle look is a Query a share and hour, whatever there is; a busy one that, and two requests a session."""
    for number in range(20):
        store.append(events(2, session_id=f"old{number}"))
    cursor = behind.tip()
    proxy.calls.clear()
    page = behind.follow(cursor)
    assert page.events == ()
    assert proxy.calls in ({"Query": 4}, {"Query": 8})
    store.append([*events(2, session_id="a"), *events(2, session_id="b")])
    proxy.calls.clear()
    assert len(behind.follow(page.cursor).events) == 4
    assert proxy.calls.pop("BatchGetItem") == 1
    assert proxy.calls in ({"Query": 4 + 2}, {"Query": 8 + 2})


def test_nothing_announces_for_ever(store: DynamoDBStore) -> None:
    """What followers need expires, also where nothing else does: the table holds a week of it."""
    store.append(events(1))
    store.append_context("i1", 0, context_events(1))
    connection = store._connection
    items = connection.call("Scan", {"TableName": connection.place.table, "ConsistentRead": True})["Items"]
    active = [item for item in items if item["PK"]["S"].startswith("ACTIVE#")]
    assert len(active) == 2
    for item in active:
        lasts_s = int(item["ExpiresAt"]["N"]) - int(item["SK"]["S"][:20]) // SECOND_NS
        assert lasts_s == KEPT_NS // SECOND_NS


def test_announced_too_late(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An announcement that comes after readers have passed its time is made again under another number."""
    _, cursor = everything(store)
    late = open_store(store.url)
    answered_ns, held_up_ns = late._connection.answered_ns, [LATE_NS + 2 * SECOND_NS]
    monkeypatch.setattr(
        late._connection, "answered_ns", lambda: answered_ns() + (held_up_ns.pop() if held_up_ns else 0)
    )
    late.append(events(3))
    assert everything(store, cursor)[0] == events(3)
    assert store._arrivals.logs.last("SESSION#s1").number == 2
    late.append(events(5))
    assert everything(store, cursor)[0] == everything(store)[0] == events(5)
    assert store._arrivals.logs.last("SESSION#s1").number == 3


@pytest.mark.parametrize("limit", [1, 3, 6, 8])
def test_one_session_from_within_a_walk(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """A cursor of a walk that is under way is one for each session too: it gives what the walk has not."""
    made = [event for one in "abcd" for event in events(3, session_id=one)]
    for number in range(3):
        store.append(made[number::3])
    now_ns = store._connection.now_ns
    monkeypatch.setattr(store._connection, "now_ns", lambda: now_ns() + 3_600 * SECOND_NS)
    page = store.follow(None, limit=limit)
    assert len(page.events) == limit
    rest = [event for one in "abcd" for event in everything(store, page.cursor, session_id=one)[0]]
    assert sorted(event.key for event in (*page.events, *rest)) == sorted(event.key for event in made)
    assert {event.key for event in everything(store, page.cursor)[0]} == {event.key for event in rest}


@pytest.mark.parametrize("place", range(3))
def test_cursors_of_others(store: DynamoDBStore, place: int) -> None:
    """A cursor of another table, one that was cut or changed, and one of a session are refused, not guessed at."""
    store.append(events(3))
    given = store.tip()
    assert given is not None
    raw = bytearray(urlsafe_b64decode(given[4:] + "=" * (-len(given[4:]) % 4)))
    raw[place * 7] ^= 1
    for cursor in ("all.", "all.!", given[:-3], given[4:], "all." + urlsafe_b64encode(raw).decode(), "3", "1.2.3"):
        with pytest.raises(StoreError):
            store.follow(cursor)
    for cursor in ("all.", given[:-3], "4", "1.2.3"):
        with pytest.raises(StoreError):
            store.follow(cursor, session_id="s1")


def test_cursors_as_text() -> None:
    """A cursor is read back as what it was, and is of its table alone."""
    stand = Stand(b"123456789", 17, 3, 1_790_000_000)
    for cursor in (
        Cursor(),
        Cursor(5, 6, (stand,)),
        Cursor(5, 0, (stand,), Walk(9, "SESSION#s1", 4, 2, True, (stand,))),
    ):
        text = text_of_cursor(cursor, "one")
        assert cursor_of(text, "one") == cursor
        assert cursor_of(text, "two") is None
