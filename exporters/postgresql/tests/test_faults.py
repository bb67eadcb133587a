"""What goes wrong with a server is said as it is, with what to do next; and the next call works."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any, Self

import psycopg
import pytest
from psycopg.abc import PQGen
from sqlalchemy import Connection

from exporters.postgresql.tests.others import appending, outside
from otel_agent_journal.errors import ConfigError, NewerSchema, StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from otel_agent_journal_postgresql.address import address_of
from otel_agent_journal_postgresql.appending import Batch, put
from otel_agent_journal_postgresql.failures import explained
from otel_agent_journal_postgresql.statements import APPEND
from scripts.ports import reserved_port
from tests.real.children import wait_status
from tests.real.servers import PostgreSQL

pytestmark = pytest.mark.real


def _role(url: str, *, grants: tuple[str, ...] = ()) -> tuple[str, str]:
    """Make a role that may do what is granted; return its name and the journal's URL for it."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    schema = url.partition("?schema=")[2]
    with outside(url) as operator:
        operator.execute(f"CREATE ROLE {name} LOGIN")
        operator.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        for grant in grants:
            operator.execute(f"GRANT {grant} TO {name}")
    return name, url.replace("postgres@", f"{name}@")


def _refused(url: str, match: str, kind: type[StoreError] = StoreUnreachable) -> None:
    store = open_store(url)
    with pytest.raises(kind, match=match) as refused:
        store.append(events(1))
    assert "s3cr" not in str(refused.value)
    assert store.url in str(refused.value) or "there is no journal" in str(refused.value)
    store.close()


def test_no_server() -> None:
    """Where nobody listens, the store cannot be reached; the password stays a secret."""
    port = reserved_port()
    _refused(f"postgresql://me:s3cr%40t@127.0.0.1:{port}/journal", r"cannot be reached; check that the server runs")


def test_no_such_host() -> None:
    """A host without an address cannot be reached either."""
    _refused("postgresql://me:s3cret@nowhere.invalid/journal", "cannot be reached")


@pytest.mark.parametrize("user", ["m#e:s3cr", "m?e:s3cr", "m/e:s3cr", "m@e:s3cr", "me:x?s3cr", "me:x?s3cr=y"])
def test_unescaped_user(user: str) -> None:
    """What should have been escaped before a host is refused, and no part of it is repeated."""
    with pytest.raises(ConfigError, match=r"store postgresql://\*\*\*@db/journal: .* written %2F, %3F, %23") as refused:
        open_store(f"postgresql://{user}@db/journal")
    assert "s3cr" not in str(refused.value)


def test_no_such_database(postgresql_server: PostgreSQL) -> None:
    """A database that is not there is named, with what to do."""
    _refused(postgresql_server.url + "_else", r"postgres_else .* does not exist; create it with createdb")


def test_no_such_role(postgresql_server: PostgreSQL) -> None:
    """A user whom the server does not know is refused, and where to look is said."""
    url = postgresql_server.url.replace("postgres@", "nobody:s3cret@")
    _refused(url, "refuses the user or the password; check the URL, PGPASSWORD")


def _until_asked_for_a_password(url: str) -> None:
    for _ in range(200):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return
        time.sleep(0.02)
    raise TimeoutError("the server did not read its rules again")


@pytest.fixture
def guarded(postgresql_server: PostgreSQL) -> Iterator[str]:
    """The name of a role whose password the server asks for."""
    name = f"guarded_{uuid.uuid4().hex[:12]}"
    rules = postgresql_server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    with psycopg.connect(postgresql_server.url, autocommit=True) as operator:
        operator.execute(f"CREATE ROLE {name} LOGIN PASSWORD 's3cret'")
        rules.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n{before}")
        operator.execute("SELECT pg_reload_conf()")
        _until_asked_for_a_password(postgresql_server.url.replace("postgres@", f"{name}@"))
        yield name
        rules.write_text(before)
        operator.execute("SELECT pg_reload_conf()")


def test_wrong_password(postgresql_server: PostgreSQL, guarded: str) -> None:
    """A wrong password, or none, is said to be that."""
    for user in (f"{guarded}:s3crut", guarded):
        _refused(postgresql_server.url.replace("postgres@", f"{user}@"), "refuses the user or the password")


def test_password_is_used(url: str, guarded: str) -> None:
    """The right password opens the store, and is in nothing that it says of itself."""
    store = open_store(url.replace("postgres@", f"{guarded}:s3cret@"))
    with pytest.raises(StoreError):  # it may connect, and was granted nothing else
        store.append(events(1))
    assert "s3cret" not in store.url + repr(store._address)
    assert f"{guarded}:***@" in store.url
    store.close()


def test_no_permission(store: PostgreSQLStore, url: str) -> None:
    """A user without rights to a table is told where the grants are."""
    _, theirs = _role(url, grants=("SELECT ON ALL TABLES IN SCHEMA " + url.partition("?schema=")[2],))
    reader = open_store(theirs)
    assert list(reader.read("s1")) == []
    with pytest.raises(StoreUnreachable, match="does not permit this to the user; see 'Roles'"):
        reader.append(events(1))
    reader.close()


@pytest.mark.parametrize(("theirs", "ours"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")])
def test_commits_reach_the_disk(url: str, theirs: str, ours: str) -> None:
    """A role whose commits do not wait for the disk waits for it here; one that waits for more still does."""
    name, address = _role(url)
    with outside(url) as operator:
        operator.execute(f"ALTER ROLE {name} SET synchronous_commit = {theirs}")
    store = open_store(address)

    def setting(connection: Connection) -> str:
        return connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()

    assert store._database.run(setting, prepared=False) == ours
    store.close()


def test_isolation(url: str) -> None:
    """Writers of one session whose role isolates transactions more wait for one another, and are not sent back."""
    name, address = _role(url, grants=("ALL ON ALL TABLES IN SCHEMA " + url.partition("?schema=")[2],))
    with outside(url) as operator:
        operator.execute(f"ALTER ROLE {name} SET default_transaction_isolation = 'serializable'")
    store = open_store(address)
    attempts: list[int] = []

    def write(connection: Connection) -> None:
        attempts.append(1)
        put(connection, APPEND, Batch(events(1, first=1)).parameters)

    with appending(url, events(1)) as slow, ThreadPoolExecutor(1) as pool:
        appended = pool.submit(store._database.run, write)
        time.sleep(0.3)
        slow.commit()
        appended.result(30)
    assert attempts == [1]
    assert everything(store, session_id="s1")[0] == events(2)
    store.close()


def test_no_tables(postgresql_server: PostgreSQL) -> None:
    """A database without a journal is left as it is, by writers and readers, and the command that makes one is said."""
    url = postgresql_server.database()
    for create in (True, False):
        store = open_store(url, create=create)
        with pytest.raises(StoreUnreachable, match=r"no journal in database test_.*agent-journal store init 'postgres"):
            store.append(events(1))
        with pytest.raises(StoreUnreachable, match="no journal"):
            store.follow(None)
        store.init_plan()
        store.close()
    with outside(url) as other:
        assert other.execute("SELECT count(*) FROM pg_class WHERE relname = 'events'").fetchone() == (0,)


def test_tables_come_later(postgresql_server: PostgreSQL) -> None:
    """A store that was opened before its tables were made works once they are."""
    url = postgresql_server.database()
    store, operator = open_store(url), open_store(url)
    with pytest.raises(StoreUnreachable):
        store.append(events(1))
    operator.init()
    store.append(events(1))
    assert list(store.read("s1")) == events(1)
    store.close()
    operator.close()


def test_tables_vanish(postgresql_server: PostgreSQL) -> None:
    """A table that is dropped while the store is open is missed, and the journal made anew goes on."""
    url = postgresql_server.database()
    store = open_store(url)
    store.init()
    store.append(events(1))
    with outside(url) as operator:
        operator.execute(
            "DROP TABLE events, arrivals, agent_journal_version, sessions, agent_instances, blobs, documents CASCADE"
        )
    with pytest.raises(StoreUnreachable, match="store init"):
        store.append(events(1))
    store.init()
    store.append(events(2))
    assert list(store.read("s1")) == events(2)
    store.close()


def test_other_programs_tables(postgresql_server: PostgreSQL) -> None:
    """Tables of another program by our names are left untouched, and a schema of the journal's own is offered."""
    url = postgresql_server.database()
    with outside(url) as other:
        other.execute("CREATE TABLE events (id int); INSERT INTO events VALUES (7)")
    store = open_store(url)
    for call in (lambda: store.append(events(1)), store.init, store.init_plan):
        with pytest.raises(StoreUnusable, match=r"another program in schema public: events; .*\?schema=NAME"):
            call()
    store.close()
    beside = open_store(url + "?schema=journal of mine")
    beside.init()
    beside.append(events(2))
    assert list(beside.read("s1")) == events(2)
    beside.close()
    with outside(url) as other:
        assert other.execute("SELECT * FROM events").fetchall() == [(7,)]


def test_newer_journal(postgresql_server: PostgreSQL) -> None:
    """A journal that a newer version made is neither read nor written nor prepared."""
    url = postgresql_server.database()
    store = open_store(url)
    store.init()
    with outside(url) as newer:
        newer.execute("UPDATE agent_journal_version SET version_num = '99'")
    store.close()
    store = open_store(url)
    for call in (lambda: store.append(events(1)), lambda: store.follow(None), store.init):
        with pytest.raises(NewerSchema, match="pip install --upgrade") as refused:
            call()
        assert refused.value.found == 99
    store.close()


def test_another_encoding(postgresql_server: PostgreSQL) -> None:
    """A database that cannot hold all text is refused."""
    with psycopg.connect(postgresql_server.url, autocommit=True) as operator:
        name = f"latin_{uuid.uuid4().hex}"
        operator.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    store = open_store(f"{postgresql_server.url.rpartition('/')[0]}/{name}")
    with pytest.raises(StoreUnusable, match="encoded in LATIN1"):
        store.init()
    store.close()


def test_read_only(store: PostgreSQLStore, url: str) -> None:
    """A server that only reads, as a replica does, is read and not written."""
    store.append(events(2))
    replica = open_store(url + "&options=-c%20default_transaction_read_only%3Don")
    assert list(replica.read("s1")) == events(2)
    assert len(replica.follow(None).events) == 2
    with pytest.raises(StoreUnreachable, match="is read-only, a replica perhaps"):
        replica.append(events(3))
    with pytest.raises(StoreUnreachable, match="is read-only"):
        replica.write_head(a_head())
    replica.close()


@pytest.mark.parametrize(
    ("state", "kind", "why"),
    [
        ("53100", StoreUnreachable, "the disk is full; free space"),
        ("53200", StoreUnreachable, "out of memory"),
        ("53300", StoreUnreachable, "no connection left"),
        ("57P03", StoreUnreachable, "shutting down or starting"),
        ("58030", StoreUnreachable, "check the disk"),
        ("40001", StoreUnreachable, "contended"),
        ("XX001", StoreUnusable, "is damaged"),
        ("0A000", StoreError, "SQLSTATE 0A000"),
    ],
)
def test_what_cannot_be_provoked(state: str, kind: type[StoreError], why: str) -> None:
    """What a server reports in trouble that a test cannot make is told apart by its SQLSTATE."""
    problem = psycopg.errors.lookup(state)("as the server says\n  it")
    problem.sqlstate = state
    error = explained(problem, address_of("postgresql://me:s3cret@db/journal"))
    assert type(error) is kind
    assert why in str(error)
    assert "as the server says it" in str(error)


def test_too_many_connections(postgresql_server: PostgreSQL, url: str) -> None:
    """A user without a connection left is told so; the store works when one comes free."""
    schema = url.partition("?schema=")[2]
    name, theirs = _role(url, grants=(f"ALL ON ALL TABLES IN SCHEMA {schema}",))
    with outside(url) as operator:
        operator.execute(f"ALTER ROLE {name} CONNECTION LIMIT 1")
    store = open_store(theirs)
    with psycopg.connect(theirs.partition("?")[0]), pytest.raises(StoreUnreachable, match="no connection left"):
        store.append(events(1))
    for _ in range(50):  # the server takes a moment to notice
        try:
            store.append(events(1))
            break
        except StoreUnreachable:
            time.sleep(0.05)
    assert list(store.read("s1")) == events(1)
    store.close()


def test_slow_statement(url: str, store: PostgreSQLStore) -> None:
    """A call that a lock holds up ends after the timeout, and is made again with success."""
    hasty = open_store(url + "&timeout=0.3")
    with outside(url) as other:
        other.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnreachable, match=r"did not answer in time; retry, or raise \?timeout"):
            hasty.append(events(1))
        other.execute("ROLLBACK")
    hasty.append(events(1))
    assert list(hasty.read("s1")) == events(1)
    hasty.close()


def test_silent_server() -> None:
    """A server, or what is before it, that takes a connection and says nothing is given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = open_store(f"postgresql://me@127.0.0.1:{port}/journal?connect_timeout=2")
        began = time.monotonic()
        with pytest.raises(StoreUnreachable):
            store.append(events(1))
        assert time.monotonic() - began < 20
        store.close()


def test_silence_in_the_middle(store: PostgreSQLStore, url: str) -> None:
    """A server that stops answering an established connection is given up too, and tried anew."""
    place, _, schema = url.partition("?")
    with _Relay(place) as relay:
        behind = open_store(f"{relay.url}?{schema}&timeout=0.2")
        behind.append(events(1))
        relay.silent = True
        with pytest.raises(StoreUnreachable):
            behind.append(events(2))
        relay.silent = False
        behind.append(events(3))
        assert list(behind.read("s1")) == events(3)
        behind.close()


class _Relay:
    """Passes bytes on to a server, and none of its answers while it is silent."""

    def __init__(self, place: str) -> None:
        authority, _, database = place.removeprefix("postgresql://postgres@").partition("/")
        host, _, port = authority.partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.silent = False
        self.url = f"postgresql://postgres@127.0.0.1:{self._listener.getsockname()[1]}/{database}"

    def __enter__(self) -> Self:
        self._accepting = Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            one.close()
        self._accepting.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
            Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if not (answers and self.silent):
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_a_reset_that_psycopg_does_not_read(
    store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that psycopg gives up in the middle of a call is closed: the call is made again, on another.

    poll() shows a reset as an error alone once in thousands of times. psycopg then raises, and libpq, which has not
    read it, still has the connection for one in use.
    """
    store.append(events(1))
    wait = psycopg.waiting.wait
    given_up: list[int] = []

    def once(gen: PQGen[object], fileno: int, *args: Any, **options: Any) -> object:
        if given_up:
            return wait(gen, fileno, *args, **options)
        next(gen)  # which sends the call
        given_up.append(fileno)
        raise psycopg.OperationalError("connection socket closed")

    monkeypatch.setattr(psycopg.waiting, "wait", once)
    store.append(events(1, first=1))
    assert given_up
    assert list(store.read("s1")) == events(2)
    assert not caplog.records


def test_broken_connections(store: PostgreSQLStore, url: str) -> None:
    """Connections that broke while nothing was asked of them are no error of the next call."""
    store.append(events(1))
    with outside(url) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'otel-agent-journal' AND pid <> pg_backend_pid()"
        )
    store.append(events(2))
    assert list(store.read("s1")) == events(2)


def test_many_threads(store: PostgreSQLStore) -> None:
    """One store serves more threads than it has connections."""

    def work(number: int) -> None:
        for turn in range(4):
            store.append(events(3, first=turn * 3, session_id=f"s{number}"))
            store.follow(None, limit=5)
        store.append_context(f"i{number}", 0, context_events(2, instance_id=f"i{number}", session_id=f"s{number}"))
        assert len(list(store.read(f"s{number}"))) == 14

    with ThreadPoolExecutor(24) as pool:
        for done in [pool.submit(work, number) for number in range(24)]:
            done.result()
    assert len(everything(store)[0]) == 24 * 14


def test_closed_meanwhile(store: PostgreSQLStore) -> None:
    """A store that is closed while a call is under way lets that end, and keeps no connection open behind it."""
    begun = Event()
    used = []

    def slow(connection: Connection) -> int:
        used.append(connection.connection.driver_connection)
        begun.set()
        return connection.exec_driver_sql("SELECT 7 FROM pg_sleep(0.3)").scalar_one()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(store._database.run, slow)
        begun.wait(10)
        store.close()
        assert done.result() == 7
    assert [connection.closed for connection in used] == [True]


def test_fork(store: PostgreSQLStore) -> None:
    """A child has connections of its own, and leaves the parent's as they are."""
    store.append(events(1, session_id="parent"))
    store.wait(0.1)
    store.wait(0.1)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            status = 1
            try:
                store.append(events(5, session_id=f"child-{number}"))
                store.wait(0.05)
                status = 0 if len(list(store.read(f"child-{number}"))) == 5 else 2
                store.close()
            finally:
                os._exit(status)
        children.append(child)
        store.append(events(5, first=1 + number * 5, session_id="parent"))
    for child in children:
        assert wait_status(child) == 0
    store.append(events(1, first=50, session_id="parent"))
    store.wait(0.05)
    assert len(list(store.read("parent"))) == 17
    assert len(everything(store)[0]) == 32


def test_deadlock(store: PostgreSQLStore, url: str) -> None:
    """A writer that the server sends back, for it and another waited for one another, tries again and succeeds."""
    first, second = an_event(session_id="s1"), an_event(session_id="s2")
    with outside(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN")
        other.execute("SET LOCAL deadlock_timeout = '30s'")  # so that the store's is the one that is sent back
        other.execute(APPEND, Batch([second]).parameters)
        appended = pool.submit(store.append, [first, second])
        time.sleep(0.4)  # the first is written, and the second waited for
        other.execute(APPEND, Batch([first]).parameters)
        other.execute("COMMIT")
        assert appended.result(30) == {}
        assert sorted(event.key for event in everything(store)[0]) == [first.key, second.key]


def test_number_beyond_64_bits(store: PostgreSQLStore) -> None:
    """A number that no column holds is refused by name, and the batch without it is written."""
    with pytest.raises(StoreError, match="a number beyond 64 bits outside its details"):
        store.append([an_event(0), an_event(1, duration_ns=2**63)])
    store.append([an_event(0)])
    assert list(store.read("s1")) == [an_event(0)]
