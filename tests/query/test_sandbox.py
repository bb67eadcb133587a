"""SQL reads the journal and reaches nothing else: each way out is tried, and each way not to end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from otel_agent_journal.errors import QueryError, QueryFailed
from otel_agent_journal.query import query
from otel_agent_journal.query.engine import sandbox
from otel_agent_journal.store.memory import MemoryStore
from tests.query.conftest import DIALOG
from tests.query.journals import rows_of

secret = {"a": [1]}  # what a replacement scan of Python variables would find


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{place}/out.csv'",
        "COPY events TO '{place}/out.parquet'",
        "EXPORT DATABASE '{place}/out'",
        "IMPORT DATABASE '{place}/out'",
        "ATTACH '{place}/out.db'",
        "ATTACH ':memory:' AS more",
        "DETACH memory",
        "USE memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '10GB'",
        "SET enable_external_access = true",
        "RESET memory_limit",
        "PRAGMA threads = 4",
        "PRAGMA enable_profiling",
        "CALL pragma_version()",
        "CHECKPOINT",
        "CREATE TABLE kept (a INT)",
        "CREATE SECRET (TYPE s3)",
        "CREATE OR REPLACE VIEW events AS SELECT 1",
        "CREATE MACRO f(x) AS x",
        "DROP VIEW events",
        "INSERT INTO events VALUES (1)",
        "UPDATE events SET level = 'x'",
        "DELETE FROM events",
        "PREPARE p AS SELECT 1",
        "BEGIN",
        "COMMIT",
        "EXPLAIN ANALYZE SELECT 1",
        "SET VARIABLE a = 1",
    ],
)
def test_anything_but_reading_is_refused(sql: str, tmp_path: Path) -> None:
    """A statement that is no SELECT is refused by its kind, and nothing is made."""
    with pytest.raises(QueryError, match=r"refused|is an option here"):
        query(MemoryStore("memory://"), sql.format(place=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
        "SELECT * FROM read_csv('https://127.0.0.1:9/x.csv')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM secret",
        "SELECT getenv('HOME')",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{place}/out.csv''')",
        "SELECT * FROM query_table('/etc/passwd')",
        "SELECT * FROM pandas_scan(1)",
        "SELECT * FROM python_arrow_scan(1, 2, 3)",
        "SELECT load_extension('httpfs')",
        "SELECT * FROM sqlite_scan('{place}/x.db', 't')",
    ],
)
def test_functions_reach_nothing_outside(sql: str, tmp_path: Path) -> None:
    """A SELECT that names a file, an address, a variable or an extension finds none."""
    with pytest.raises(QueryError), query(MemoryStore("memory://"), sql.format(place=tmp_path)) as result:
        list(result)
    assert list(tmp_path.iterdir()) == []


def test_statements_do_not_hide_behind_one_another() -> None:
    """Several statements are refused, whatever they are, comments or not."""
    for sql in ("SELECT 1; SELECT 2", "SELECT 1; CREATE TABLE a (b INT)", "/* a */ SELECT 1; -- b\n DROP VIEW events"):
        with pytest.raises(QueryError, match="2 statements"):
            query(MemoryStore("memory://"), sql)
    for sql in ("", " ", "-- nothing", ";"):
        with pytest.raises(QueryError, match="no SQL"):
            query(MemoryStore("memory://"), sql)
    assert rows_of(MemoryStore("memory://"), "SELECT 1; -- and a comment") == [(1,)]


def test_the_configuration_is_locked() -> None:
    """Even past the check of statements nothing can be set, written or opened."""
    with query(MemoryStore("memory://"), "SELECT 1") as result:
        connection = result._connection
        for sql, why in (
            ("SET memory_limit = '9GB'", "locked"),
            ("SET enable_external_access = true", "locked"),
            ("SET lock_configuration = false", "locked"),
            ("CREATE TABLE kept (a INT)", "read-only"),
            ("ATTACH '/tmp/x.db'", "disabled by configuration"),
            ("LOAD httpfs", "disabled through configuration"),
        ):
            with pytest.raises(duckdb.Error, match=why):
                connection.execute(sql)
            connection.execute("ROLLBACK")
            connection.execute("BEGIN TRANSACTION READ ONLY")


def test_no_file_is_made_where_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit fails; it is not written to the working directory."""
    monkeypatch.chdir(tmp_path)
    sql = "SELECT * FROM range(20000000) t(n) ORDER BY hash(n)"
    with query(MemoryStore("memory://"), sql, memory_bytes=32 * 2**20) as result, pytest.raises(QueryFailed) as raised:
        list(result.batches())
    assert raised.value.limit == "memory"
    assert "more memory" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(10000000000) a, range(1000000) b",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
        "SELECT * FROM range(1000000000000)",
        "SELECT sum(hash(range)) FROM range(1000000000000)",
        "SELECT count(*) FROM events a, events b, events c, events d, events e, events f, events g, range(100000)",
    ],
)
def test_what_does_not_end_is_ended(sql: str, dialog: MemoryStore) -> None:
    """Cross joins, recursion and generated rows without end stop when their time is over."""
    began = time.monotonic()
    with query(dialog, sql, timeout_s=0.4, memory_bytes=1 << 30) as result, pytest.raises(QueryFailed) as raised:
        for _ in result.batches():
            pass
    assert raised.value.limit == "timeout"
    assert "within 0.4 s" in str(raised.value)
    assert time.monotonic() - began < 30


def test_the_time_of_a_reader_does_not_count(dialog: MemoryStore) -> None:
    """Who takes a break between two rows loses none."""
    with query(dialog, "SELECT event_id FROM events", timeout_s=1) as result:
        rows = iter(result)
        next(rows)
        time.sleep(1.2)
        assert len(list(rows)) == len(DIALOG) - 1


def test_no_thread_is_left() -> None:
    """What watches the time goes with the query."""
    before = threading.active_count()
    assert rows_of(MemoryStore("memory://"), "SELECT 1") == [(1,)]
    deadline = time.monotonic() + 60
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_sandbox_sees_no_extensions_and_no_secrets() -> None:
    """Neither the folder of the user's extensions nor that of the user's secrets is looked into."""
    connection = sandbox(2**26)
    with pytest.raises(duckdb.Error, match="disabled by configuration"):
        connection.execute("SELECT * FROM duckdb_extensions()")
    assert connection.execute("SELECT * FROM duckdb_secrets()").fetchall() == []
    connection.close()


@pytest.mark.parametrize("name", [":memory:", ":memory:.wal", "{place}/:memory:", "journal"])
def test_no_file_is_the_database_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the working directory that has the name DuckDB gives to its memory is as closed as any other."""
    monkeypatch.chdir(tmp_path)
    name = name.format(place=tmp_path)
    (tmp_path / name).write_text("kept")
    for sql in (f"SELECT content FROM read_text('{name}')", f"SELECT * FROM glob('{name}*')"):
        with pytest.raises(QueryError), query(MemoryStore("memory://"), sql) as result:
            list(result)


def test_settings_say_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No path is allowed, and neither the working directory nor the user's home is named."""
    monkeypatch.chdir(tmp_path)
    settings = dict(rows_of(MemoryStore("memory://"), "SELECT name, value FROM duckdb_settings()"))
    assert (settings["allowed_paths"], settings["allowed_directories"]) == ("[]", "[]")
    assert (settings["enable_external_access"], settings["secret_directory"]) == ("false", "")
    for place in (str(tmp_path), str(Path.home() / ".duckdb")):
        assert not [name for name, value in settings.items() if place in (value or "")]


CHILD = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()", "--store", "memory://"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what a process allocates")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT len(range(1000000000))",
        "SELECT length(repeat(repeat('x', 1000000), 3000))",
        "SELECT list_transform(range(100000000), lambda n: repeat('x', 1000))",
    ],
)
def test_a_function_is_bounded_with_its_process(sql: str, tmp_path: Path) -> None:
    """What one call makes, which DuckDB does not count, ends with an error of one line, not with the machine."""
    done = subprocess.run(
        [*CHILD, "query", sql, "--memory", "64MB", "--timeout", "20"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: the query "), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_function_that_takes_no_notice_is_ended_with_its_process(tmp_path: Path) -> None:
    """The interrupt is not seen inside one call; the command ends its process a moment later, and says so."""
    sql = "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))"
    began = time.monotonic()
    done = subprocess.run(
        [*CHILD, "query", sql, "--timeout", "1"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert time.monotonic() - began < 25
    assert done.returncode == 1
    assert done.stderr == (
        "error: the query did not end within 1 s, nor when it was interrupted; the process was ended\n"
    )
