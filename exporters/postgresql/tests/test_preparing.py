"""`init` makes the tables, brings older ones up to date with all that is in them, and may be run by anybody at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.dialects.postgresql.base import ischema_names

from exporters.postgresql.tests.others import outside
from otel_agent_journal.errors import StoreUnreachable, UnsupportedByStore
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.registry import open_store as open_by_url
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_postgresql import PostgreSQLStore, deleting, locks, open_store, preparing
from otel_agent_journal_postgresql.rows import EVENT_COLUMNS
from otel_agent_journal_postgresql.tables import TABLES_VERSION, JsonText, Xid8, metadata
from tests.real.servers import PostgreSQL

pytestmark = pytest.mark.real
PACKAGE = Path(__file__).parents[1]


def _migrated(url: str, revision: str) -> None:
    """Bring a database to a version, as an older package did."""
    from alembic import command
    from alembic.config import Config

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(preparing.MIGRATIONS))
        command.upgrade(config, revision)
    engine.dispose()


def test_from_nothing(postgresql_server: PostgreSQL) -> None:
    """The plan says what is made; afterwards it is empty, and the store works."""
    store = open_store(postgresql_server.database())
    assert store.init_plan() == [
        f"create table public.{name}"
        for name in ("agent_instances", "agent_journal_version", "arrivals", "blobs", "documents", "events", "sessions")
    ]
    store.init()
    assert store.init_plan() == []
    store.append(events(3))
    store.init()
    assert list(store.read("s1")) == events(3)
    assert store.info().schema_version == TABLES_VERSION
    store.close()


def test_schema_of_its_own(postgresql_server: PostgreSQL) -> None:
    """A schema that is named is made, and two of one database are two journals."""
    url = postgresql_server.database()
    one, two = open_store(f"{url}?schema=one"), open_store(f"{url}?schema=T%C3%BC%22o")
    assert one.init_plan()[:2] == ["create schema one", "create table one.agent_instances"]
    for store in (one, two):
        store.init()
        assert store.init_plan() == []
    one.append(events(2))
    two.append(events(1))
    assert (len(list(one.read("s1"))), len(list(two.read("s1")))) == (2, 1)
    one.close()
    two.close()


def test_from_an_older_version(postgresql_server: PostgreSQL) -> None:
    """Tables of an older version are not written to; once brought up to date all that was in them is there."""
    url = postgresql_server.database()
    _migrated(url, "1")
    made = [*events(20), an_event(30, details={"text": "\0"})]
    context = context_events(2, session_id="s2")
    now = open_store(f"{url}?schema=now")
    now.init()
    now.append(made[::-1])
    now.append_context("i1", 0, context)
    now.close()
    with outside(url) as older:
        older.execute(
            f"INSERT INTO events ({EVENT_COLUMNS}) SELECT {EVENT_COLUMNS} FROM now.events ORDER BY transaction, arrival"
        )
        older.execute("INSERT INTO agent_instances VALUES ('i1', 's2', 1)")
        older.execute(
            "INSERT INTO sessions (session_id, status, events, steps, errors, input_tokens, output_tokens,"
            " cache_read_tokens, cache_write_tokens, reasoning_tokens, started_ns, updated_ns, writers, open_writers,"
            " version) VALUES ('s1', 'COMPLETED', 21, 0, 0, 0, 0, 0, 0, 0, 1, 2, '{}', '[]', 7)"
        )
    store = open_store(url)
    with pytest.raises(StoreUnreachable, match=r"is of version 1, this package writes \d; .*store init"):
        store.append(events(1))
    assert store.init_plan() == [f"migrate the tables to version {version}" for version in range(2, TABLES_VERSION + 1)]
    store.init()
    assert list(store.read("s1")) == made
    head = SessionHead(session_id="s1", status="COMPLETED", events=21, started_ns=1, updated_ns=2, version=7)
    assert list(store.sessions()) == [head]
    assert store.write_head(msgspec.structs.replace(head, parts=("t1",))) is not None
    assert list(store.read_context("i1")) == context
    store.append_context("i1", 2, context_events(1, first=2, session_id="s2"))
    assert everything(store, session_id="s1", limit=4)[0] == made[::-1]
    assert len(everything(store, session_id="s2")[0]) == 3
    assert sorted(store.unsettled()) == sorted(store.session_ids()) == ["s1", "s2"]
    with outside(url) as people:
        assert people.execute("SELECT count(happened_at) FROM events").fetchone() == (24,)
    store.close()


def test_tables_are_as_migrated(postgresql_server: PostgreSQL) -> None:
    """What SQLAlchemy knows of the tables is what the migrations made."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    url = postgresql_server.database()
    store = open_store(url)
    store.init()
    store.close()
    ischema_names.update(xid8=Xid8, json=JsonText)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        options = {"version_table": "agent_journal_version", "compare_type": True, "include_name": _comparable}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    assert found == []


def _comparable(name: str | None, kind: str, parents: object) -> bool:
    """Alembic compares no index on an expression."""
    return name != "events_tool_call"


def test_without_what_came_later(postgresql_server: PostgreSQL) -> None:
    """PostgreSQL 13 and 14 have no max() and min() of transaction ids; nothing here needs them."""
    url = postgresql_server.database()
    with outside(url) as operator:
        operator.execute("SET allow_system_table_mods = on")
        later = "proname IN ('max', 'min') AND prorettype = 'xid8'::regtype"
        gone = operator.execute(f"DELETE FROM pg_proc WHERE {later}").rowcount
        assert gone == (2 if operator.info.server_version >= 15_00_00 else 0)
    store = open_store(url)
    store.init()
    assert store.init_plan() == []
    store.append(events(3))
    assert len(store.follow(None).events) == 3
    assert store.follow(store.tip()).events == ()
    store.close()


def _init(url: str) -> None:
    store = open_by_url(url)
    assert isinstance(store, PostgreSQLStore)
    for _ in range(3):
        store.init()
    store.append(events(1))
    store.close()


def test_many_at_once(postgresql_server: PostgreSQL) -> None:
    """Processes that prepare one database at once wait for one another, and all succeed."""
    url = f"{postgresql_server.database()}?schema=together"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_init, args=(url,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    store = open_store(url)
    assert list(store.read("s1")) == events(1)
    store.close()


def test_nobody_waits_behind_it(postgresql_server: PostgreSQL) -> None:
    """While others read, tables are not changed: who holds them is named, nobody else waits long; later it goes."""
    url = postgresql_server.database()
    _migrated(url, "2")
    store = open_store(url)
    longest = 0.0
    with outside(f"{url}?application_name=analyst") as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sessions")
        with ThreadPoolExecutor(1) as pool, outside(url) as another:
            asked = pool.submit(locks.insist, store._database, _prepare(store), patience_s=2.0)
            while not asked.done():
                began = time.monotonic()
                another.execute("SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM events)")
                longest = max(longest, time.monotonic() - began)
            holder = f"pid {reader.info.backend_pid} \\(postgres, application analyst, idle in transaction\\) since"
            with pytest.raises(StoreUnreachable, match=f"others hold .*{holder}"):
                asked.result()
        reader.execute("ROLLBACK")
    assert longest < 4 * len(metadata.tables) * locks.LOCK_WAIT_S
    assert len(store.init_plan()) == TABLES_VERSION - 2
    store.init()
    assert store.init_plan() == []
    store.close()


def _prepare(store: PostgreSQLStore) -> Callable[[Connection], None]:
    return lambda connection: preparing.prepare(connection, store._address)


def test_deleting_waits_for_a_lock_for_a_while(postgresql_server: PostgreSQL) -> None:
    """A session that somebody holds by hand is not deleted, and that is said in the time of one statement."""
    url = f"{postgresql_server.database()}?timeout=1"
    store = open_store(url)
    store.init()
    store.append(events(3))
    cursor = store.tip("s1")
    with outside(url.partition("?")[0]) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM arrivals FOR UPDATE")
        with pytest.raises(StoreUnreachable, match="locked by another transaction"):
            store.delete_session("s1", cursor, 0)
        holder.execute("ROLLBACK")
    assert len(list(store.read("s1"))) == 3
    assert store.delete_session("s1", cursor, 0)
    store.close()


def test_what_pruning_deletes_is_found_by_an_index(postgresql_server: PostgreSQL) -> None:
    """No table is scanned to delete a session, nor to list those of an agent."""
    url = postgresql_server.database()
    store = open_store(url)
    store.init()
    store.close()
    by_agent = "SELECT session_id FROM sessions WHERE agent = 'a' ORDER BY updated_ns DESC, session_id LIMIT 5"
    with outside(url) as people:
        people.execute("SET enable_seqscan = off")
        for sql in (deleting.DELETE % {"key": "'s1'", "scope": "'session/s1'"}, by_agent):
            plan = "\n".join(row[0] for row in people.execute(f"EXPLAIN {sql}"))
            assert "Seq Scan" not in plan
            assert plan.count("Index") >= 1
        assert "sessions_by_agent" in plan
        assert "Sort" not in plan


def test_grants(postgresql_server: PostgreSQL) -> None:
    """The README's grants are enough for a writer and a reader, and not for more."""
    url = postgresql_server.database()
    admin = open_store(url)
    admin.init()
    text = (PACKAGE / "README.md").read_text()
    grants = text.partition("## Roles")[2].partition("```sql\n")[2].partition("```")[0]
    with outside(url) as operator:
        for role in ("journal_writer", "journal_reader"):
            operator.execute(f"DROP ROLE IF EXISTS {role}")
        operator.execute(grants.replace("DATABASE journal", f"DATABASE {url.rpartition('/')[2]}"))
    writer = open_store(url.replace("postgres@", "journal_writer@"))
    reader = open_store(url.replace("postgres@", "journal_reader@"))
    assert writer.init_plan() == reader.init_plan() == []
    writer.append(events(3))
    writer.append_context("i1", 0, context_events(1))
    writer.append_context("i1", 1, context_events(1, first=1))
    head = writer.write_head(a_head())
    assert head is not None
    assert writer.write_head(head) is not None
    writer.put_blob("s1", "a", b"1")
    assert len(list(reader.read("s1"))) == len(reader.follow(None).events) == 5
    assert reader.get_blob("s1", "a") == b"1"
    assert len(list(reader.sessions())) == 1
    assert list(reader.unsettled()) == list(reader.session_ids()) == ["s1"]
    assert reader.tip("s1") is not None
    assert reader.info().events == 5
    reader.wait(0)
    for refused in (
        lambda: reader.append(events(1)),
        lambda: reader.write_head(a_head("s2")),
        lambda: reader.put_blob("s1", "b", b""),
        lambda: writer.delete_session("s1", writer.tip("s1"), 2),
    ):
        with pytest.raises(StoreUnreachable, match="does not permit"):
            refused()
    for store in (writer, reader, admin):
        store.close()
    with outside(url) as operator:
        operator.execute("DROP OWNED BY journal_writer, journal_reader; DROP ROLE journal_writer, journal_reader")


def test_policy(store: PostgreSQLStore) -> None:
    """Who asks for a policy is told where the grants are."""
    with pytest.raises(UnsupportedByStore, match="the grants of a reader are under 'Roles'"):
        store.iam_policy("reader")
