"""The view of agents' contexts on a real PostgreSQL, for people who join it with tables of their own."""

from __future__ import annotations

from contextlib import closing

import pytest

from exporters.postgresql.tests.others import outside
from otel_agent_journal import ContextService
from otel_agent_journal.testing.builders import an_event
from otel_agent_journal_postgresql import PostgreSQLStore, open_store
from tests.real.servers import PostgreSQL

pytestmark = pytest.mark.real

CALL = {"id": "call-7", "type": "function", "function": {"name": "find", "arguments": '{"order": 4711}'}}


@pytest.fixture
def talked(store: PostgreSQLStore, url: str) -> str:
    """The URL of a journal with a conversation that has a tool call, and a step beside it that is of no context."""
    context = ContextService(store, "i1", session_id="s1", name="support", parent_id="boss")
    context.append_message("user", "Where is it?")
    context.append_message("assistant", None, tool_calls=[CALL])
    context.append_message("tool", "in Ulm", tool_call_id="call-7")
    store.append([an_event(1, session_id="s1")])
    return url


def test_a_table_of_ones_own_is_joined(talked: str) -> None:
    """Tickets of a program's own beside what its agent was told, by instance and by tool call."""
    with outside(talked) as sql:
        sql.execute("CREATE TEMPORARY TABLE tickets (number integer, instance text, call text)")
        sql.execute("INSERT INTO tickets VALUES (1, 'i1', 'call-7')")
        rows = sql.execute(
            "SELECT sequence_number, event_type, content, tool_call_id, i.name, i.parent_id, i.session_id"
            " FROM tickets JOIN agent_instances i ON i.id = instance"
            " JOIN agent_context_events e ON e.instance_id = i.id ORDER BY sequence_number"
        ).fetchall()
        assert [row[1] for row in rows] == ["USER_MESSAGE", "ASSISTANT_MESSAGE", "TOOL_CALL", "TOOL_RESULT"]
        assert (rows[0][2], rows[2][2]) == ({"role": "user", "content": "Where is it?"}, CALL)
        assert [row[3] for row in rows] == [None, None, "call-7", "call-7"]
        assert {row[4:] for row in rows} == {("support", "boss", "s1")}
        found = sql.execute(
            "SELECT content ->> 'content', now() - created_at < interval '1 hour' FROM tickets"
            " JOIN agent_context_events ON tool_call_id = call WHERE event_type = 'TOOL_RESULT'"
        ).fetchall()
        assert found == [("in Ulm", True)]


@pytest.mark.parametrize(
    ("condition", "index"),
    [("instance_id = 'i1' ORDER BY sequence_number", "events_sequence"), ("tool_call_id = 'c'", "events_tool_call")],
)
def test_it_is_read_by_an_index(talked: str, condition: str, index: str) -> None:
    """Neither the events of an instance nor those of a tool call are searched for in all."""
    with outside(talked) as sql:
        sql.execute("SET enable_seqscan = off")
        sql.execute("SET enable_sort = off")
        plan = "\n".join(row[0] for row in sql.execute(f"EXPLAIN SELECT * FROM agent_context_events WHERE {condition}"))
    assert index in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "x" * 9_000])
def test_what_the_server_cannot_take_apart_is_there(store: PostgreSQLStore, url: str, text: str) -> None:
    """An id of a call with NUL, with half a character, or longer than an index takes costs neither event nor view."""
    context = ContextService(store, "i1", name=f"a\0{text}", parent_id=text)
    context.append_message("assistant", text, tool_calls=[{**CALL, "id": text}])
    context.append_message("tool", text, tool_call_id=text)
    assert len(context.get_messages()) == 2
    with outside(url) as sql:
        rows = sql.execute("SELECT content::text, tool_call_id FROM agent_context_events").fetchall()
    assert len(rows) == 3
    assert all(content for content, _ in rows)


def test_an_older_journal_has_names_too(postgresql_server: PostgreSQL) -> None:
    """Agents that were there before their names had a column are in it once the tables were brought up to date."""
    from exporters.postgresql.tests.test_preparing import _migrated

    url = postgresql_server.database()
    with closing(open_store(f"{url}?schema=now")) as now:
        now.init()
        ContextService(now, "i1", name="support", parent_id="boss").append_message("user", "Where is it?")
    _migrated(url, "6")
    columns = "session_id, timestamp_ns, event_id, type, level, instance_id, sequence_number, details, schema_version"
    with outside(url) as older:
        older.execute(f"INSERT INTO events ({columns}, number) SELECT {columns}, number FROM now.events")
        older.execute("INSERT INTO agent_instances VALUES ('i1', 'i1', 0)")
    with closing(open_store(url)) as store:
        store.init()
    with outside(url) as people:
        assert people.execute("SELECT id, name, parent_id FROM agent_instances").fetchall() == [
            ("i1", "support", "boss")
        ]
