"""A replica is read and followed like its primary, and no late commit is missed there either."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from exporters.postgresql.tests.others import appending, outside
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.testing.builders import an_event, events
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from tests.real.servers import PostgreSQL

pytestmark = pytest.mark.real
PATIENCE_S = 20


class Replica(PostgreSQL):
    """A streaming replica of another server."""

    def copy_of(self, primary: PostgreSQL) -> None:
        """Make its cluster from the primary's; started, it goes on from there."""
        data = self.folder / "data"
        made = [str(self.program / "pg_basebackup"), "-D", str(data), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        address = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        subprocess.run([*self._as_postgres(), *made, *address], check=True, cwd="/")


@pytest.fixture
def replica(postgresql_server: PostgreSQL, store: PostgreSQLStore) -> Iterator[PostgreSQLStore]:
    """The store on a replica of the server, which has the primary's tables."""
    folder = postgresql_server.folder / f"replica-{time.monotonic_ns()}"
    folder.mkdir()
    folder.chmod(0o777)
    server = Replica(postgresql_server.program, folder)
    server.copy_of(postgresql_server)
    server.start()
    opened = open_store(store.url.replace(f":{postgresql_server.port}/", f":{server.port}/"))
    yield opened
    opened.close()
    server.stop()


def _until(found: Callable[[], list[JournalEvent]], expected: list[JournalEvent]) -> None:
    deadline, seen = time.monotonic() + PATIENCE_S, list[JournalEvent]()
    while len(seen) < len(expected) and time.monotonic() < deadline:
        seen += found()
        time.sleep(0.02)
    assert seen == expected


def test_replica(store: PostgreSQLStore, replica: PostgreSQLStore, url: str) -> None:
    """Events are followed when they have come over, those behind an open transaction when it has ended, none twice."""
    cursor: str | None = None

    def more() -> list[JournalEvent]:
        nonlocal cursor
        found, cursor = everything(replica, cursor, limit=3)
        return found

    store.append(events(5))
    _until(more, events(5))
    late_event = an_event(10, session_id="late")
    with appending(url, [late_event]) as late:
        store.append([an_event(20)])
        deadline = time.monotonic() + PATIENCE_S
        while len(list(replica.read("s1"))) < 6 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert more() == []
        assert everything(replica, session_id="s1")[0][5:] == [an_event(20)]  # of one session nothing is held up
        late.commit()
        store.append([an_event(30)])
        _until(more, [late_event, an_event(20), an_event(30)])
    assert more() == []
    with pytest.raises(StoreUnreachable, match="is read-only, a replica perhaps"):
        replica.append(events(1))
    replica.wait(0.3)


def test_replica_behind_a_cursor(store: PostgreSQLStore, replica: PostgreSQLStore) -> None:
    """A replica that is not as far as a cursor, or as the pages it is amid, is waited for; nothing is passed over."""
    store.append(events(3))
    _until(lambda: list(replica.follow(None).events), events(3))
    with outside(replica.url) as operator:
        operator.execute("SELECT pg_wal_replay_pause()")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if operator.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",):
                break
            time.sleep(0.02)
        store.append(events(5, first=3))
        page = store.follow(None, limit=2)
        for cursor, session_id in (
            *((cursor, session_id) for cursor in (page.cursor, store.tip()) for session_id in (None, "s1")),
            (store.tip("s1"), "s1"),
        ):
            with pytest.raises(StoreUnreachable, match=r"is ahead of this replica.*retry"):
                replica.follow(cursor, session_id=session_id)
        operator.execute("SELECT pg_wal_replay_resume()")
    found, deadline = list(page.events), time.monotonic() + PATIENCE_S
    while len(found) < 8 and time.monotonic() < deadline:
        try:
            found += everything(replica, page.cursor, limit=2)[0]
        except StoreUnreachable:
            time.sleep(0.02)
    assert found == events(8)
