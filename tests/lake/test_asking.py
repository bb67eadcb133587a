"""SQL over a lake says what SQL over the store says, and reads no more files than it needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.errors import LakeError, QueryError
from otel_agent_journal.lake.place import open_place
from otel_agent_journal.lake.source import query_lake
from otel_agent_journal.query import query
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from tests.docs.pages import ROOT, blocks
from tests.lake.lakes import NOW_NS, asked, export
from tests.query.test_stores import QUESTIONS


def cookbook() -> list[str]:
    """Return the SQL of every query in docs/query.md."""
    found: list[str] = []
    for block in blocks((ROOT / "docs" / "query.md").read_text()):
        if block.language == "bash":
            found += re.findall(r'agent-journal query "([^"]*)"', block.text)
            found += re.findall(r'^echo "(SELECT [^"]*)" > ', block.text, re.MULTILINE)
    return found


MORE = (
    "SELECT * FROM events",
    "SELECT * FROM steps",
    "SELECT * FROM sessions",
    "SELECT * FROM tools",
    "SELECT * FROM models",
    "SELECT session_id FROM sessions WHERE started_at <= '2026-01-01 03:00:00' AND updated_at >= '2026-01-01 01:30:00'",
    "SELECT count(*), min(timestamp), max(timestamp) FROM events WHERE timestamp >= '2026-01-02 00:00:00'",
    "SELECT session_id, name FROM tools WHERE ended_at >= '2026-01-02 00:00:00'",
    "SELECT name, count(*) FROM model_calls WHERE ended_at >= '2026-01-02 00:00:00' GROUP BY name",
    "SELECT * FROM tool_calls",
    "SELECT s.agent, count(*) FROM sessions s JOIN steps USING (session_id) WHERE s.status = 'ERROR' GROUP BY ALL",
)


def test_the_cookbook_is_found() -> None:
    """The queries that are compared are those of the page: more than a dozen."""
    assert len(cookbook()) >= 13
    assert all(sql.strip().startswith(("SELECT", "PIVOT")) for sql in cookbook())


@pytest.mark.parametrize("sql", [*cookbook(), *QUESTIONS, *MORE])
def test_a_lake_gives_the_same_answers(sql: str, store: MemoryStore, folder: Path) -> None:
    """Columns, types and rows are the same, of the store and of its lake."""
    export(store, folder)
    sql = sql.replace("ago(INTERVAL 1 day)", "TIMESTAMP_NS '2026-01-01 00:00:00'")  # the journal is not of today
    with query(store, sql, now_ns=NOW_NS) as told, query_lake(open_place(str(folder)), sql) as found:
        assert (found.columns, found.types) == (told.columns, told.types)
        want, got = list(told), list(found)
    assert _in_order(got) == _in_order(want)
    if "ORDER BY" in sql and "LIMIT" not in sql:
        assert len(got) == len(want)


def _in_order(rows: list[tuple[Any, ...]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("SELECT * FROM events WHERE timestamp >= '2026-01-03 00:00:00'", 1),
        ("SELECT * FROM events WHERE timestamp < '2026-01-01 12:00:00'", 1),
        ("SELECT * FROM steps WHERE ended_at <= '2026-01-01 12:00:00'", 1),
        ("SELECT * FROM events", 4),
    ],
)
def test_days_that_cannot_matter_are_not_read(sql: str, read: int, store: MemoryStore, folder: Path) -> None:
    """Files of days beyond a time that the query names are not opened."""
    export(store, folder)
    with query_lake(open_place(str(folder)), sql) as result:
        list(result)
        (one,) = result.read
    assert one.files == read


def test_row_groups_of_other_sessions_are_passed_over(store: MemoryStore, folder: Path) -> None:
    """Only rows of the sessions that are named come out of a file, as far as its statistics say."""
    export(store, folder)
    with query_lake(open_place(str(folder)), "SELECT count(*) FROM events", sessions=["s48"]) as result:
        assert list(result) == [(9,)]
        (one,) = result.read
    assert one.rows == 9


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_parquet('{folder}/events/v=1/*/*.parquet')",
        "SELECT * FROM '{folder}/_journal/lake.json'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '{folder}/x.parquet'",
    ],
)
def test_sql_reaches_no_file_not_even_the_lakes(sql: str, store: MemoryStore, folder: Path) -> None:
    """The sandbox is that of a store: what lies beside the tables, the lake's own files among it, is not reached."""
    export(store, folder)
    with pytest.raises(QueryError), query_lake(open_place(str(folder)), sql.format(folder=folder)) as result:
        list(result)


def test_what_is_no_lake_or_lacks_a_file_says_so(store: MemoryStore, folder: Path) -> None:
    """A folder without a manifest, and a lake of which a file is gone, are errors that say what to do."""
    with pytest.raises(LakeError, match="make one: agent-journal export --parquet"):
        asked(folder, "SELECT 1")
    export(store, folder)
    next(folder.rglob("sessions/v=1/*/*.parquet")).unlink()
    with pytest.raises(LakeError, match="cannot open sessions/"):
        asked(folder, "SELECT count(DISTINCT agent) FROM sessions")


def test_an_older_file_without_a_column_has_null_there(store: MemoryStore, folder: Path) -> None:
    """Columns that were added since a file was written are NULL in its rows."""
    import pyarrow.parquet as pq

    export(store, folder)
    for path in folder.rglob("events/v=1/*/*.parquet"):
        table = pq.ParquetFile(path).read()
        pq.write_table(table.drop_columns(["tool_name", "details"]), path)
    first = f"SELECT count(*), count(tool_name), count(details) FROM events WHERE timestamp_ns >= {EPOCH_2026_NS}"
    assert asked(folder, first)[0][1:] == (0, 0)
    assert asked(folder, first)[0][0] > 0
