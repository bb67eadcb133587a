"""The view of agents' contexts in a SQLite journal, for people who join it with tables of their own."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from otel_agent_journal import ContextService
from otel_agent_journal.codec import parse_timestamp
from otel_agent_journal.errors import StoreUnreachable, StoreUnusable
from otel_agent_journal.store.sqlite import SqliteStore, url_of
from otel_agent_journal.store.sqlite_tables import TABLES_VERSION
from otel_agent_journal.testing.builders import an_event, events

CALL = {"id": "call-7", "type": "function", "function": {"name": "find", "arguments": '{"order": 4711}'}}
# How a file of version 5 differs from one of today.
VERSION_5 = """
    DROP VIEW agent_context_events; DROP INDEX events_tool_call;
    ALTER TABLE agent_instances DROP COLUMN name; ALTER TABLE agent_instances DROP COLUMN parent_id;
    ALTER TABLE agent_instances RENAME COLUMN id TO instance_id; PRAGMA user_version = 5
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def talk(path: Path, instance: str = "i1") -> None:
    """A conversation with a tool call, and a step beside it that is of no context."""
    with closing(SqliteStore(path)) as store:
        context = ContextService(store, instance, session_id="s1", name="support", parent_id="boss")
        context.append_message("user", "Where is it?")
        context.append_message("assistant", None, tool_calls=[CALL])
        context.append_message("tool", "in Ulm", tool_call_id="call-7")
        context.set_state({"order": 4711})
        store.append([an_event(1, session_id="s1")])


def test_a_table_of_ones_own_is_joined(path: Path) -> None:
    """Tickets of a program's own beside what its agent was told, by instance and by tool call."""
    talk(path)
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("CREATE TABLE tickets (number INTEGER, instance TEXT, call TEXT)")
        sql.execute("INSERT INTO tickets VALUES (1, 'i1', 'call-7')")
        rows = sql.execute(
            "SELECT sequence_number, event_type, content, tool_call_id, i.name, i.parent_id, i.session_id"
            " FROM tickets JOIN agent_instances i ON i.id = instance"
            " JOIN agent_context_events e ON e.instance_id = i.id ORDER BY sequence_number"
        ).fetchall()
        assert [row[:2] for row in rows] == [
            (0, "USER_MESSAGE"),
            (1, "ASSISTANT_MESSAGE"),
            (2, "TOOL_CALL"),
            (3, "TOOL_RESULT"),
            (4, "STATE_CHANGED"),
        ]
        assert json.loads(rows[0][2]) == {"role": "user", "content": "Where is it?"}
        assert json.loads(rows[2][2]) == CALL
        assert json.loads(rows[4][2]) == {"set": {"order": 4711}}
        assert [row[3] for row in rows] == [None, None, "call-7", "call-7", None]
        assert {row[4:] for row in rows} == {("support", "boss", "s1")}
        results = sql.execute(
            "SELECT json_extract(content, '$.content'), id, created_at FROM tickets"
            " JOIN agent_context_events ON tool_call_id = call WHERE event_type = 'TOOL_RESULT'"
        ).fetchall()
    with closing(SqliteStore(path)) as store:
        event = [*store.read_context("i1")][3]
    ((content, event_id, created_at),) = results
    assert (content, event_id) == ("in Ulm", event.event_id)
    assert parse_timestamp(created_at) == event.timestamp_ns


@pytest.mark.parametrize(
    ("condition", "index"),
    [("instance_id = 'i1' ORDER BY sequence_number", "events_sequence"), ("tool_call_id = 'c'", "events_tool_call")],
)
def test_it_is_read_by_an_index(path: Path, condition: str, index: str) -> None:
    """Neither the events of an instance nor those of a tool call are searched for in all."""
    talk(path)
    with closing(sqlite3.connect(path)) as sql:
        plan = sql.execute(f"EXPLAIN QUERY PLAN SELECT * FROM agent_context_events WHERE {condition}").fetchall()
    assert f"SEARCH events USING INDEX {index}" in plan[0][3]
    assert len(plan) == 1


def test_what_sqlite_cannot_take_apart_is_there(path: Path) -> None:
    """JSON that is nested deeper than SQLite reads it may be written all the same, and is shown as it is."""
    talk(path)
    deep = f'{{"call": {{"id": {"[" * 5_000}{"]" * 5_000}}}}}'
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("UPDATE events SET details = ? WHERE type = 'TOOL_CALL'", (deep,))
        found = sql.execute(
            "SELECT content, tool_call_id FROM agent_context_events WHERE event_type = 'TOOL_CALL'"
        ).fetchall()
    assert found == [(deep, None)]


def test_an_older_file_is_brought_up_to_date(path: Path) -> None:
    """By the first who writes to it, with all that is in it; who only reads is told how it is done."""
    talk(path)
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_5)
    with closing(SqliteStore(path, create=False)) as reader:
        with pytest.raises(StoreUnreachable, match=r"is of version 5, .*agent-journal store init 'sqlite:///"):
            reader.tip()
        assert reader.init_plan() == ["bring its tables to version 6"]
    with closing(SqliteStore(path)) as store:
        assert store.init_plan() == ["bring its tables to version 6"]
        store.append(events(1))
        assert store.init_plan() == []
        assert store.info().schema_version == TABLES_VERSION
    talk(path)
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("SELECT id, name, parent_id FROM agent_instances").fetchall() == [("i1", "support", "boss")]
        # The second conversation begins behind the first, in the same state.
        assert sql.execute("SELECT count(*), count(tool_call_id) FROM agent_context_events").fetchone() == (9, 4)


def test_many_bring_it_up_to_date_at_once(path: Path) -> None:
    """Of several who open an older file at once one does it, and all go on."""
    talk(path)
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_5)
    stores = [SqliteStore(path, timeout_s=20) for _ in range(6)]
    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(lambda numbered: numbered[1].append([an_event(numbered[0], session_id="s2")]), enumerate(stores)))
    for store in stores:
        assert len(list(store.read("s2"))) == len(stores)
        store.close()


def test_what_cannot_be_brought_up_to_date(path: Path) -> None:
    """A file from before that is left as it is, and the message says its version."""
    talk(path)
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA user_version = 4")
    with closing(SqliteStore(path)) as store, pytest.raises(StoreUnusable, match="is of version 4, from before"):
        store.tip()
    assert url_of(path).endswith("journal.db")
