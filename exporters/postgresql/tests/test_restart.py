"""A server that dies in the middle of appends: nothing that was acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from exporters.postgresql.tests.others import outside
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_postgresql import open_store
from tests.real.fixtures import postgresql_of_its_own
from tests.real.servers import PostgreSQL

pytestmark = pytest.mark.real
RESTARTS = 12 if os.environ.get("AGENT_JOURNAL_SOAK") else 2
PATIENCE_S = 60


@pytest.fixture
def server() -> Iterator[PostgreSQL]:
    """A server of the test's own, which it may end."""
    yield from postgresql_of_its_own()


@pytest.mark.long_form
def test_restarts(server: PostgreSQL) -> None:
    """Two writers and a follower go on through restarts; every call that failed is made again, as the drain does."""
    url = server.database()
    store = open_store(url)
    store.init()
    over = Event()
    written: list[JournalEvent] = []
    refused: list[str] = []

    def insist(call, *arguments) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return call(*arguments)
            except StoreUnreachable as error:
                refused.append(str(error))
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def write(session: str) -> None:
        number = 0
        while not over.is_set():
            made = events(7, first=number, session_id=session)
            insist(store.append, made)
            message = context_events(1, first=number // 7, instance_id=f"{session}-i", session_id=session)
            insist(store.append_context, f"{session}-i", number // 7, message)
            written.extend([*made, *message])
            number += 7

    writers = [Thread(target=write, args=(f"s{number}",)) for number in range(2)]
    found: list[JournalEvent] = []
    follower = open_store(url)
    cursor: str | None = None
    for writer in writers:
        writer.start()
    for _ in range(RESTARTS):
        time.sleep(0.4)
        more, cursor = everything(follower, cursor)
        found += more
        server.stop()
        time.sleep(0.2)
        server.start()
        follower.close()
        follower = open_store(url)
    time.sleep(0.4)
    over.set()
    for writer in writers:
        writer.join(PATIENCE_S)
    more, cursor = everything(follower, cursor)
    found += more
    assert refused
    assert len(written) > 50
    assert sorted(event.key for event in found) == sorted(event.key for event in written)
    for number in range(2):
        numbers = [event.seq for event in store.read_context(f"s{number}-i")]
        assert numbers == list(range(len(numbers)))
    store.close()
    follower.close()


def test_transactions_that_a_crash_forgets(server: PostgreSQL) -> None:
    """Ids of transactions that were not on the disk are given out again; a cursor from before follows them too."""
    url = server.database()
    store = open_store(url)
    store.init()
    with outside(url) as operator:
        operator.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        operator.execute("SELECT pg_reload_conf()")
        store.append(events(2))
        for _ in range(40):
            operator.execute("BEGIN")
            operator.execute("SELECT pg_current_xact_id()")
            operator.execute("ROLLBACK")
    cursor, tip = store.follow(None).cursor, store.tip()
    server.stop()
    server.start()
    store.close()
    store = open_store(url)
    for number in range(2, 50):
        store.append([an_event(number)])
        if number == 2:
            assert everything(store, cursor)[0] == [an_event(2)]
    assert everything(store, cursor)[0] == everything(store, tip)[0] == events(48, first=2)
    store.close()
