"""A follower is woken by what is appended, well before it would look by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest

from exporters.postgresql.tests.others import outside
from otel_agent_journal.store.protocol import Wakes
from otel_agent_journal.testing.builders import an_event, context_events, events
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from otel_agent_journal_postgresql.listening import QUIET_S
from tests.clock import by_the_clock, in_time

pytestmark = [pytest.mark.real, by_the_clock]
LONG_S = 20.0
SOON_S = 5.0  # on a busy machine; it takes milliseconds


def _settle(store: PostgreSQLStore) -> None:
    """Wait until writers have noticed that this thread listens."""
    until = time.monotonic() + 3 * QUIET_S
    while time.monotonic() < until:
        store.wait(QUIET_S)


def _waits(store: PostgreSQLStore) -> float:
    began = time.monotonic()
    store.wait(LONG_S)
    return time.monotonic() - began


def test_port(store: PostgreSQLStore) -> None:
    """The store says that it wakes."""
    assert isinstance(store, Wakes)


@pytest.mark.parametrize(
    "append",
    [
        lambda store: store.append([an_event()]),
        lambda store: store.append_context("i1", 0, context_events(1)),
    ],
    ids=["append", "append_context"],
)
def test_append_wakes(store: PostgreSQLStore, url: str, append: Callable[[PostgreSQLStore], None]) -> None:
    """A follower is woken by an event of either kind, as another client appends it."""
    _settle(store)
    writer = open_store(url)
    Thread(target=lambda: (time.sleep(0.3), append(writer))).start()
    assert in_time(_waits(store), SOON_S) > 0.1
    assert len(store.follow(None).events) == 1
    writer.close()


def test_nothing_wakes_nobody(store: PostgreSQLStore) -> None:
    """Where nothing is appended a follower waits as long as it said, and what was there already is no news."""
    store.append(events(3))
    _settle(store)
    store.append(events(3))
    began = time.monotonic()
    store.wait(0.7)
    assert time.monotonic() - began >= 0.6


def test_no_gap_as_it_begins(store: PostgreSQLStore, url: str) -> None:
    """Events that are appended while a follower begins to listen are all seen without a long wait."""
    writer = open_store(url)
    writer.append([an_event(0, session_id="early")])  # which found nobody, and now looks for nobody for a while

    def write() -> None:
        for number in range(1, 41):
            writer.append([an_event(number)])
            time.sleep(0.02)

    thread = Thread(target=write)
    thread.start()
    seen, cursor, longest_s = 0, None, 0.0
    while seen < 41:
        page = store.follow(cursor)
        cursor, seen = page.cursor, seen + len(page.events)
        if seen < 41:
            began = time.monotonic()
            store.wait(LONG_S)
            longest_s = max(longest_s, time.monotonic() - began)
    thread.join()
    writer.close()
    in_time(longest_s, SOON_S)


def test_every_thread_is_woken(store: PostgreSQLStore, url: str) -> None:
    """One append wakes all the threads that wait at one store, over one connection."""
    with ThreadPoolExecutor(4) as pool:

        def wait(_: int) -> float:
            _settle(store)
            return _waits(store)

        waiting = [pool.submit(wait, number) for number in range(4)]
        time.sleep(1.5)
        writer = open_store(url)
        writer.append([an_event()])
        writer.close()
        in_time(max(one.result() for one in waiting), SOON_S + 1)


def test_writers_do_not_notify_nobody(store: PostgreSQLStore, url: str) -> None:
    """While nobody listens nothing is notified, which would make commits wait for one another."""
    with outside(url) as listener:
        listener.execute("LISTEN agent_journal")  # without the lock that our followers hold
        for number in range(5):
            store.append([an_event(number)])
        assert list(listener.notifies(timeout=0.3)) == []


def test_server_away(store: PostgreSQLStore, url: str) -> None:
    """A follower whose connection breaks only waits, and listens again when it can."""
    _settle(store)
    with outside(url) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        )
    began = time.monotonic()
    store.wait(1)
    in_time(time.monotonic() - began, SOON_S)
    _settle(store)
    writer = open_store(url)
    Thread(target=lambda: (time.sleep(0.3), writer.append([an_event()]))).start()
    in_time(_waits(store), SOON_S)
    writer.close()


def test_closed_while_waiting(store: PostgreSQLStore) -> None:
    """A thread that waits returns when the store is closed."""
    _settle(store)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_waits, store)
        time.sleep(0.2)
        store.close()
        in_time(waiting.result(SOON_S), SOON_S)
