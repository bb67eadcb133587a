"""What SQLite does for a call: it goes to what is asked for by an index, and never through the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from otel_agent_journal.store.protocol import Blob, Document, SessionFilter, of_session
from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite import SqliteStore
from otel_agent_journal.testing.builders import an_event, context_events

MANY = ("events", "blobs", "documents", "agent_instances")  # heads are listed along an index, up to a limit


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[SqliteStore, sqlite3.Connection, list[str]]]:
    """A store with many sessions, a connection beside it, and the statements that it runs from now on."""
    path = tmp_path / "journal.db"
    store = SqliteStore(path, synchronous="normal")
    for session in range(20):
        store.append([an_event(number, session_id=f"s{session}") for number in range(50)])
    store.append_context("i1", 0, context_events(50))
    ran: list[str] = []
    with store._file.writing() as connection:
        connection.set_trace_callback(ran.append)
    with closing(sqlite3.connect(path)) as beside:
        yield store, beside, ran
    store.close()


def scanned(connection: sqlite3.Connection, statements: list[str]) -> list[str]:
    """Return how tables that grow were gone through from end to end."""
    found: list[str] = []
    for statement in dict.fromkeys(statements):
        if statement.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            found += [
                f"{step[3]}: {statement}" for step in plan if step[3].startswith(tuple(f"SCAN {one}" for one in MANY))
            ]
    return found


def test_a_write_costs_what_is_written(traced: tuple[SqliteStore, sqlite3.Connection, list[str]]) -> None:
    """However many events there are: of sessions, of contexts, heads, documents and values kept apart."""
    store, beside, ran = traced
    store.append([an_event(number, session_id=f"new{number % 3}") for number in range(9)])
    store.append_context("i2", 0, context_events(3, instance_id="i2"))
    head = current(store, "new1")
    assert head is not None
    store.write_head(head)
    store.put_document(Document(scope=of_session("s1"), name="a", data=b"1"))
    store.put_blobs("s1", {"d" * 32: Blob(b"x")})
    assert len(ran) > 10
    assert scanned(beside, ran) == []


def test_a_read_costs_what_is_read(traced: tuple[SqliteStore, sqlite3.Connection, list[str]]) -> None:
    """A session, its tail, a context from either end, the latest sessions."""
    store, beside, ran = traced
    assert len(list(store.read("s3"))) == 50
    assert len(list(store.read_context("i1", 40))) == 10
    assert len(list(store.read_context("i1", limit=2, newest_first=True))) == 2
    store.context_tip("i1")
    store.head("s1")
    store.tip("s1")
    store.follow(None, session_id="s1")
    list(store.instances("s1"))
    store.get_document(of_session("s1"), "a")
    list(store.sessions(SessionFilter(limit=5)))
    assert len(ran) > 8
    assert scanned(beside, ran) == []
