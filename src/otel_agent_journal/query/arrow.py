"""A journal's table as an Arrow dataset, which DuckDB scans: it names the columns it wants, and streams batches.

The one module that makes Arrow data. A column of a dataset is named `table.column`, so that a plan says which table a
scan is of; a view gives it its own name. Imported only where a query runs: pyarrow is an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, cast

from otel_agent_journal.codec import valid_text
from otel_agent_journal.projections.cost import Price
from otel_agent_journal.query.tables import INT, JSON, REAL, TEXT, TEXTS, TIME, Column, Table

pa: Final[Any] = import_module("pyarrow")  # it carries no types
_Dataset: Any = import_module("pyarrow.dataset").Dataset

BATCH_ROWS: Final = 2_048  # DuckDB's own vector
FIRST_ROWS: Final = 32  # of a scan's first batch, twice as many in each that follows: who wants a few gets them early
BATCH_BYTES: Final = 4 * 1024 * 1024  # of JSON text in one batch, so that large details do not add up
_INT64: Final = range(-(2**63), 2**63)

_TYPES: Final[dict[str, Any]] = {
    TEXT: pa.string(),
    TEXTS: pa.list_(pa.string()),
    INT: pa.int64(),
    REAL: pa.float64(),
    TIME: pa.timestamp("ns"),
    JSON: pa.json_(),
}


def dataset_schema(table: Table) -> Any:
    """Return the columns of a table's dataset, as DuckDB sees them."""
    return pa.schema([(f"{table.name}.{column.name}", _TYPES[column.kind]) for column in table.columns])


class TableDataset(_Dataset):
    """One table, as DuckDB takes an Arrow dataset.

    Args:
        table: which one.
        batches: called for each scan with the columns that are looked at; yields record batches of these, named
            `table.column`.
    """

    # Made without pyarrow's own constructor, which wants a dataset of C++: DuckDB asks for schema and scanner alone.
    def __init__(self, table: Table, batches: Callable[[Sequence[Column]], Iterator[Any]]) -> None:
        self._batches = batches
        self._schema = dataset_schema(table)
        self._columns = {f"{table.name}.{column.name}": column for column in table.columns}

    @property
    def schema(self) -> Any:
        """The columns as DuckDB sees them."""
        return self._schema

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_options: Any) -> Scan:  # noqa: A002
        """Return a scan of some columns, with the filter that DuckDB leaves to us applied exactly."""
        names = list(self._schema.names if columns is None else columns)
        read = _with_those_of(filter, names, self._schema)
        return Scan(self._filtered(read, names, filter), pa.schema([self._schema.field(name) for name in names]))

    def _filtered(self, read: list[str], names: list[str], condition: Any) -> Iterator[Any]:
        for batch in self._batches([self._columns[name] for name in read]):
            kept = batch if condition is None else batch.filter(condition)
            yield kept.select(names)


def batches_of_rows(table: Table, columns: Sequence[Column], rows: Iterator[Any], price: Price) -> Iterator[Any]:
    """Yield record batches of some columns.

    Args:
        table: whose columns they are.
        columns: which.
        rows: what a column takes its values from.
        price: what calls are billed at.
    """
    whole = dataset_schema(table)
    schema = pa.schema([whole.field(f"{table.name}.{column.name}") for column in columns])
    for lists in _chunks(columns, rows, price):
        arrays = [array_of(column.kind, values) for column, values in zip(columns, lists, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class Scan:
    """What DuckDB takes a dataset's scanner for: it is read once."""

    def __init__(self, batches: Iterator[Any], schema: Any) -> None:
        self.projected_schema = schema
        self._batches = batches

    def to_reader(self) -> Any:
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._batches)


def _with_those_of(condition: Any, names: list[str], schema: Any) -> list[str]:
    """Return the columns to read: those wanted, and those that the filter looks at, which may be others."""
    if condition is None or _can_judge(condition, [schema.field(name) for name in names]):
        return names
    others = (field for field in schema if field.name not in names)
    return names + [
        one.name for one in others if not _can_judge(condition, [field for field in schema if field != one])
    ]


def _can_judge(condition: Any, fields: list[Any]) -> bool:
    """Tell whether a filter looks at none but these columns."""
    try:
        pa.schema(fields).empty_table().filter(condition)
    except pa.ArrowInvalid:  # it names a column that is not among these
        return False
    return True


def _chunks(columns: Sequence[Column], rows: Iterator[Any], price: Price) -> Iterator[list[list[Any]]]:
    """Yield the values of some rows, column by column."""
    taken = [_taken(column, price) for column in columns]
    large = [place for place, column in enumerate(columns) if column.kind == JSON]
    lists: list[list[Any]] = [[] for _ in columns]
    appends = [one.append for one in lists]
    count, size, most = 0, 0, FIRST_ROWS
    for row in rows:
        for append, value in zip(appends, taken, strict=True):
            append(value(row))
        count += 1
        for place in large:
            size += len(lists[place][-1] or "")
        if count >= most or size >= BATCH_BYTES:
            yield lists
            most = min(2 * most, BATCH_ROWS)
            for one in lists:
                one.clear()
            count = size = 0
    if count:
        yield lists


def _taken(column: Column, price: Price) -> Callable[[Any], Any]:
    """Return what takes a column from a row's source."""
    priced = column.priced
    return column.value if priced is None else lambda source: priced(source, price)


def array_of(kind: str, values: list[Any], *, as_text: bool = False) -> Any:
    """Return values as Arrow; of numbers beyond 64 bits, which SQL has no room for, NULL. `as_text`: JSON as text."""
    plain = pa.string() if kind == JSON else _TYPES[kind]
    try:
        array = pa.array(values, plain)
    except (OverflowError, UnicodeEncodeError, pa.ArrowException):
        array = pa.array([_fitting(value) for value in values], plain)
    return pa.ExtensionArray.from_storage(_TYPES[JSON], array) if kind == JSON and not as_text else array


def _fitting(value: Any) -> Any:
    match value:
        case str():
            return valid_text(value)
        case int():
            return value if value in _INT64 else None
        case list():
            return [valid_text(one) for one in cast("list[str]", value)]
        case _:
            return value
