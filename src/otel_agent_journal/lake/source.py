"""SQL over a lake: the tables of `query`, with the same names and types, read of the files that its manifest names.

The engine is that of `query`, with its sandbox: SQL reaches these tables and nothing else, and files are read through
pyarrow, on S3 too. What a query's bounds leave out is passed over by file, where a table's day says it, and by row
group, by its statistics; DuckDB's filters are applied exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.lake.files import Within, batches_of, conformed
from otel_agent_journal.lake.manifest import Lake, open_lake
from otel_agent_journal.lake.place import Place
from otel_agent_journal.lake.schema import NS_PER_DAY, TABLES, day_number, schema_of, twin_of
from otel_agent_journal.query.arrow import TableDataset, dataset_schema, pa
from otel_agent_journal.query.bounds import Bounds
from otel_agent_journal.query.reading import TableRead
from otel_agent_journal.query.sources import Watched
from otel_agent_journal.query.sql import DEFAULT_MEMORY_BYTES, DEFAULT_TIMEOUT_S
from otel_agent_journal.query.tables import JSON, TIME, Column, Table

if TYPE_CHECKING:
    from otel_agent_journal.query.engine import Query

pc: Final[Any] = import_module("pyarrow.compute")  # they carry no types

NAMES: Final = {table.name: name for name, table in TABLES.items()}  # of the lake by those of SQL
BATCH_ROWS: Final = 2_048  # DuckDB's own vector


class LakeSource:
    """The tables of a lake.

    Args:
        lake: which is there.
        moved: called for every batch that was read.
    """

    def __init__(self, lake: Lake, moved: Callable[[], None]) -> None:
        self.tables: dict[str, TableRead] = {}
        self._place = lake.place
        self._moved = moved
        self._files = [(file.table, file.day, file.path(part.name)) for part in lake.files() for file in part.files]

    def dataset(self, table: Table, watched: Watched) -> Any:
        """Return a table as a dataset that reads its files when it is scanned."""

        def batches(columns: Sequence[Column]) -> Iterator[Any]:
            return watched(self._batches(table, [column.name for column in columns]))

        return TableDataset(table, batches)

    def _batches(self, table: Table, names: Sequence[str]) -> Iterator[Any]:
        read = self.tables.setdefault(table.name, TableRead(table=table.name, bounds=Bounds()))
        read.scans += 1
        name, bounds = NAMES[table.name], read.bounds
        files = [(day, path) for one, day, path in self._files if one == name]
        read.of_files = len(files)
        kinds = {column.name: column.kind for column in table.columns}
        whole = schema_of(name)
        columns = list(dict.fromkeys(twin_of(one) if kinds[one] == TIME else one for one in names))
        if bounds.session_ids is not None:
            columns = list(dict.fromkeys([*columns, "session_id"]))
        wanted = pa.schema([whole.field(one) for one in columns])
        ids = None if bounds.session_ids is None else pa.array(sorted(bounds.session_ids), pa.string())
        for day, path in files:
            if not _may_be_on(table, day, bounds):
                continue
            read.files += 1
            for batch in self._of_file(path, columns, table, bounds):
                self._moved()
                found = conformed(batch, wanted)
                if ids is not None:
                    at = found.schema.get_field_index("session_id")
                    found = found.filter(pc.is_in(found.column(at), value_set=ids))
                read.rows += found.num_rows
                yield pa.RecordBatch.from_arrays(
                    [_as_in_sql(found, one, kinds[one]) for one in names],
                    schema=pa.schema([dataset_schema(table).field(f"{table.name}.{one}") for one in names]),
                )

    def _of_file(self, path: str, columns: Sequence[str], table: Table, bounds: Bounds) -> Iterator[Any]:
        within = None
        if bounds.since_ns is not None or bounds.until_ns is not None:
            within = Within(_time_columns(table), bounds.since_ns, bounds.until_ns)
        columns = columns or ["session_id"]  # rows are counted, too, of which nothing is looked at
        return batches_of(self._place, path, columns, ids=bounds.session_ids, within=within, rows=BATCH_ROWS)


def query_lake(
    place: Place,
    sql: str,
    *,
    sessions: Collection[str] | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    progress: Callable[[int, int], None] | None = None,
    stuck: Callable[[], None] | None = None,
) -> Query:
    """Return the result of one SELECT over a lake, as `query` returns that over a store: arguments and errors are its.

    Statuses, costs and what runs are as of the export.

    Raises:
        LakeError: there is no lake, or it cannot be read.
        QueryError: the SQL is malformed, names what is not there, or would do more than read.
    """
    from otel_agent_journal.query.engine import Query

    lake = open_lake(place)
    return Query(
        lambda moved: LakeSource(lake, moved),
        sql,
        sessions=sessions,
        memory_bytes=memory_bytes,
        timeout_s=timeout_s,
        progress=progress,
        stuck=stuck,
    )


def _may_be_on(table: Table, day: str, bounds: Bounds) -> bool:
    """Tell whether a day's file may have rows within bounds: what is on a later day began then, or happened."""
    first_ns = day_number(day) * NS_PER_DAY
    if bounds.until_ns is not None and first_ns > bounds.until_ns:
        return False
    # Of events the day is that of their one time; a step, a call or a session may go on for days.
    is_over = bounds.since_ns is not None and first_ns + NS_PER_DAY <= bounds.since_ns
    return not (is_over and table.name == "events")


def _time_columns(table: Table) -> list[str]:
    return sorted(name for name in table.times if name.endswith("_ns"))


def _as_in_sql(batch: Any, name: str, kind: str) -> Any:
    column = batch.column(batch.schema.get_field_index(twin_of(name) if kind == TIME else name))
    if kind == TIME:
        return column.cast(pa.timestamp("ns"))
    return pa.ExtensionArray.from_storage(pa.json_(), column) if kind == JSON else column
