"""One query: a DuckDB of its own in memory, locked down, with the journal's tables, and the rows that come of it.

Filters that DuckDB hands to a scan are applied there exactly. What they leave to be read of the store is found in the
query's plan beforehand (`bounds.py`), in the transaction in which the query then runs, so that `now()` is one moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import duckdb
import msgspec

from otel_agent_journal.errors import JournalError
from otel_agent_journal.query.arrow import pa
from otel_agent_journal.query.bounds import Bounds, bounds_by_table
from otel_agent_journal.query.complaints import at_run, at_start, only_reads, was_interrupted
from otel_agent_journal.query.conditions import Tree
from otel_agent_journal.query.latest import latest_of
from otel_agent_journal.query.limits import TimeLimit
from otel_agent_journal.query.reading import TableRead
from otel_agent_journal.query.sources import Source
from otel_agent_journal.query.tables import OTHER_NAMES, SESSIONS, TABLES
from otel_agent_journal.query.values import plain_columns

RESULT_ROWS: Final = 2_048
_EVERY: Final = 256  # events, or batches of a file, between two looks at the clock
_EXPLAIN: Final = "EXPLAIN (FORMAT json) "


class Query:
    """A query that is about to run: `columns`, `types`, and its rows, once. See `query`."""

    def __init__(
        self,
        source: Callable[[Callable[[], None]], Source],
        sql: str,
        *,
        sessions: Collection[str] | None,
        memory_bytes: int,
        timeout_s: float,
        progress: Callable[[int, int], None] | None,
        stuck: Callable[[], None] | None,
    ) -> None:
        self._failure: Exception | None = None
        self._progress = progress
        self._moves = 0
        self._connection = sandbox(memory_bytes)
        self._time = TimeLimit(timeout_s, self._connection.interrupt, stuck)
        try:
            self._sql = only_reads(self._connection, sql)
            self._source = source(self._moved)
            self._offer_tables()
            with self._time.running():
                within = Bounds() if sessions is None else Bounds(session_ids=frozenset(sessions))
                self._plan(within)
        except BaseException:
            self.close()
            raise

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the result's columns, in order; a name that comes again has a number behind it."""
        return self._columns

    @property
    def types(self) -> tuple[str, ...]:
        """DuckDB's names of the columns' types."""
        return self._types

    @property
    def read(self) -> tuple[TableRead, ...]:
        """What was read of the store so far, table by table, and within which bounds."""
        return tuple(self._source.tables.values())

    @property
    def plan(self) -> str:
        """DuckDB's plan for it, as text for people."""
        return self._plan_text

    def batches(self) -> Iterator[Any]:
        """Yield the rows as Arrow record batches, as they come; once.

        Raises:
            QueryFailed: it ran into a limit, or met a value that it cannot take.
            StoreError: the store could not be read.
        """
        with self._explained(at_run), self._time.running():
            reader = self._relation.to_arrow_reader(RESULT_ROWS)
        try:
            while True:
                with self._explained(at_run), self._time.running():
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch
        finally:
            reader.close()

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows as tuples of plain values, as they come; once. Raises as `batches`.

        JSON is decoded, times are RFC 3339 with nine digits, and what JSON cannot carry is text or None.
        """
        for batch in self.batches():
            yield from zip(*plain_columns(batch, self._types), strict=True)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self.rows()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and release what it holds. May be called twice."""
        self._connection.close()

    # --- before it runs -----------------------------------------------------------------------------------------

    def _offer_tables(self) -> None:
        for name, table in TABLES.items():
            self._connection.register(f"journal.{name}", self._source.dataset(table, self._watched))
            columns = ", ".join(f'"{name}.{column.name}" AS "{column.name}"' for column in table.columns)
            self._connection.execute(f'CREATE VIEW "{name}" AS SELECT {columns} FROM "journal.{name}"')  # noqa: S608
        for name, of in OTHER_NAMES.items():
            self._connection.execute(f'CREATE VIEW "{name}" AS FROM "{of}"')
        self._connection.execute("CREATE MACRO ago(span) AS (now()::TIMESTAMP - span)::TIMESTAMP_NS")
        self._connection.execute("SET lock_configuration = true")

    def _plan(self, within: Bounds) -> None:
        with self._explained(at_start):
            self._connection.execute("BEGIN TRANSACTION READ ONLY")
            plans: list[Tree] = json.loads(self._one(_EXPLAIN + self._sql)[1])
            self._plan_text: str = self._one("EXPLAIN " + self._sql)[1]
            found = bounds_by_table(plans, self._parsed)
            for name, bounds in found.items():
                self._source.tables[name] = TableRead(table=name, bounds=bounds.both(within))
            sessions = self._source.tables.get(SESSIONS.name)
            if sessions is not None and sessions.bounds.session_ids is None:  # in the order of a listing
                sessions.latest = latest_of(plans, self._tree(self._sql), self._parsed)
            self._relation = self._connection.sql(self._sql)
            self._columns = _distinct(self._relation.columns)
            self._types = tuple(str(kind) for kind in self._relation.types)

    def _one(self, sql: str, *values: Any) -> Any:
        return self._connection.execute(sql, list(values)).fetchall()[0]

    def _parsed(self, condition: str) -> Tree | None:
        """Return a filter of a plan as a tree, or None where it is not SQL again."""
        tree = self._tree("SELECT 1 WHERE " + condition)
        return None if tree is None else tree["node"]["where_clause"]

    def _tree(self, sql: str) -> Tree | None:
        tree = msgspec.json.decode(self._one("SELECT json_serialize_sql(?)", sql)[0])
        return None if tree.get("error") else tree["statements"][0]

    # --- while it runs ------------------------------------------------------------------------------------------

    def _watched(self, rows: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from rows
        except Exception as error:
            self._failure = error  # DuckDB makes an error of its own of it
            raise

    def _moved(self) -> None:
        self._moves += 1
        if self._moves % _EVERY:
            return
        self._time.check()
        if self._progress is not None:
            self._progress(sum(one.sessions for one in self.read), sum(one.events or one.rows for one in self.read))

    @contextmanager
    def _explained(self, explain: Callable[[Exception, str], JournalError]) -> Generator[None]:
        """Turn what DuckDB raises into an error of ours, or into the one of the store that it comes from."""
        try:
            yield
        except (duckdb.Error, pa.ArrowException, MemoryError, OSError, RuntimeError) as error:  # by the way it came
            if self._failure is not None:
                raise self._failure from None
            if self._time.over:
                raise self._time.error() from error
            if was_interrupted(error):
                raise KeyboardInterrupt from error
            raise explain(error, self._sql) from error


def sandbox(memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB in memory that reaches no file, no network, no extension and no Python variable."""
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",
        "temp_directory": "",  # what does not fit into memory fails, and fills no disk
        "memory_limit": f"{memory_bytes} bytes",
        "threads": "1",  # a store is read from one thread at a time
    }
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET secret_directory = ''")
    # Not as it connects: DuckDB would allow the files of the database itself, and take `:memory:` for one of them.
    connection.execute("SET enable_external_access = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET errors_as_json = true")
    connection.execute("SET enable_progress_bar = false")  # it would be drawn on stdout, between the rows
    connection.execute("SET streaming_buffer_size = '1MB'")  # rows on their way out: the first come early
    return connection


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Return the names with those that came before numbered: a row is an object in JSON."""
    known: dict[str, None] = {}
    for name in names:
        number, one = 1, name
        while one in known:
            one, number = f"{name}_{number}", number + 1
        known[one] = None
    return tuple(known)
