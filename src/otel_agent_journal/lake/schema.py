"""The tables of a lake: those of `query`, column by column, in types that every engine reads. Pure but for Arrow.

A time is a TIMESTAMP of microseconds in UTC, which Spark, Trino, Athena and DuckDB all take for the same moment; its
twin in `_ns` is exact. JSON is text. Two rules hold: columns are only added, and a type never changes; `VERSION` moves
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from otel_agent_journal.query.arrow import pa
from otel_agent_journal.query.tables import (
    EVENTS,
    INT,
    JSON,
    MODELS,
    REAL,
    SESSIONS,
    STEPS,
    TEXT,
    TEXTS,
    TIME,
    TOOLS,
    Table,
)

VERSION: Final = 1
TABLES: Final[Mapping[str, Table]] = {
    "events": EVENTS,
    "steps": STEPS,
    "sessions": SESSIONS,
    "model_calls": MODELS,
    "tool_calls": TOOLS,
}
FOLDED: Final = frozenset(("steps", "model_calls", "tool_calls"))  # of what the steps of a session amount to

NS_PER_DAY: Final = 86_400 * 10**9
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_TYPES: Final[dict[str, Any]] = {
    TEXT: pa.string(),
    TEXTS: pa.list_(pa.field("element", pa.string())),
    INT: pa.int64(),
    REAL: pa.float64(),
    TIME: pa.timestamp("us", tz="UTC"),
    JSON: pa.string(),
}
_DAY_OF: Final = {"events": "timestamp_ns"}  # of the others when they began


def schema_of(name: str) -> Any:
    """Return the Arrow schema of a table's files."""
    return pa.schema([(column.name, _TYPES[column.kind]) for column in TABLES[name].columns])


def twin_of(column: str) -> str:
    """Return the column of nanoseconds that a column of times has beside it."""
    return "timestamp_ns" if column == "timestamp" else f"{column.removesuffix('_at')}_ns"


def day_column(name: str) -> str:
    """Return the column whose day, in UTC, says in which partition a row is."""
    return _DAY_OF.get(name, "started_ns")


def day_of(time_ns: int | None) -> int:
    """Return the day of a time, counted from 1970-01-01."""
    return (time_ns or 0) // NS_PER_DAY


def day_text(day: int) -> str:
    """Return a day as a partition is named for it."""
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()


def day_number(text: str) -> int:
    """Return the day that a partition is named for. Raises ValueError where it is none."""
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).toordinal() - _EPOCH_ORDINAL


def path_of(table: str, day: str, part: str) -> str:
    """Return where a part's file of a table and a day is, below the lake's root."""
    return f"{table}/v={VERSION}/dt={day}/{part}.parquet"
